"""A full store, a store that does not confirm, and a carrier that cannot be started."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.core.publishing.running import App, running, until
from tiny_listener import CarrierError, EventsOverloaded, EventTooLarge, ListenerError, NotStored, Publication
from tiny_listener.core.publishing import client as clients
from tiny_listener.core.publishing.embedded import EmbeddedCarrier
from tiny_listener.core.publishing.publisher import Publisher
from tiny_listener.core.runtime import Host
from tiny_listener.events.settings import EventSettings, Limits


class Gated(App):
    """Its handlers wait for a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.seen: list[str] = []

        @self.on_event("it {n}")
        async def it(n: str) -> None:
            await self.gate.wait()
            self.seen.append(n)


def test_a_full_store_lets_publishers_wait(runner: asyncio.Runner) -> None:
    app = Gated()

    async def main() -> None:
        async with running(app, max_events=2):
            await app.publish_many([Publication("it 1", key="k"), Publication("it 2", key="k")])
            with pytest.raises(EventsOverloaded, match=r"'it 3' is not stored: 2 events are waiting .*--events-max 2"):
                await app.publish("it 3", key="k", timeout=0.01)
            waiting = [app.publish(f"it {n}", key="k") for n in (4, 5, 6)]
            with pytest.raises(ExceptionGroup) as caught:
                await app.publish_many([Publication("it 7"), Publication("it 8")], timeout=0.01)
            assert len(caught.value.exceptions) == 2
            assert not any(future.done() for future in waiting)
            app.gate.set()
            await asyncio.gather(*waiting)
            await until(lambda: len(app.seen) == 5)

    runner.run(main())
    assert app.seen == ["1", "2", "4", "5", "6"]


def test_a_store_is_full_by_bytes_too(runner: asyncio.Runner) -> None:
    app = Gated()

    async def main() -> None:
        async with running(app, max_bytes=2000):
            await app.publish("it 1", b"x" * 1500)
            with pytest.raises(EventsOverloaded, match="--events-max-bytes 2000"):
                await app.publish("it 2", b"x" * 500, timeout=0.01)
            await app.publish("it 3")
            app.gate.set()
            await until(lambda: len(app.seen) == 2)
            await app.publish("it 4", b"x" * 1500)

    runner.run(main())


def test_the_carrier_refuses_what_is_too_large_for_it(runner: asyncio.Runner) -> None:
    app = Gated()

    async def main() -> None:
        async with running(app, max_event=1000):
            await app.publish("it 2", b"x" * 500)
            # Its settings are those of the carrier, unless it was restarted with others.
            app.host.carrier.settings = EventSettings(limits=Limits(max_event=9999))  # type: ignore[union-attr, misc]
            with pytest.raises(EventTooLarge, match="not stored: 2204 bytes, and at most 1000 are allowed"):
                await app.publish("it 1", b"x" * 2000)
            app.gate.set()

    runner.run(main())
    assert app.seen == ["2"]


class Silent:
    """A provider whose carrier never answers.

    :ivar links: the carrier's ends
    """

    settings = EventSettings()

    def __init__(self, *, connects: bool) -> None:
        self.links: list[socket.socket] = []
        self.connects = connects

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        if self.connects and not self.links:
            theirs, ours = socket.socketpair()
            self.links.append(theirs)
            on_link(ours)

    async def close(self) -> None:
        for link in self.links:
            link.close()


async def opened(app: App, provider: Any) -> Publisher:
    """Let an application publish by way of a provider."""
    publisher = Publisher(app, provider)
    await app.event_pool.open(app)
    await publisher.consumer.open(app)
    app.publisher = publisher
    return publisher


@pytest.mark.parametrize("connects", [False, True])
def test_an_event_that_is_not_confirmed(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, connects: bool
) -> None:
    monkeypatch.setattr(clients, "LOOK", 0.01)
    app = Gated()

    async def main() -> None:
        publisher = await opened(app, Silent(connects=connects))
        long = app.publish("it 1")
        with pytest.raises(NotStored, match=r"not known to be stored in time: there is no link.*the same id="):
            await app.publish("it 2", timeout=0.01)
        with pytest.raises(TimeoutError, match="not handled within"):
            await app.request("it 3", timeout=0.01)
        assert not long.done()
        long.cancel()
        await publisher.close()
        app.event_pool.close()

    runner.run(main())


def test_too_many_that_nobody_awaits(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "WAITING", 10)
    app = Gated()

    async def main() -> None:
        publisher = await opened(app, Silent(connects=False))
        waiting = [app.publish(f"it {n}") for n in range(10)]
        with pytest.raises(EventsOverloaded, match=r"10 events of this worker wait .*await publish\(\)"):
            await app.publish("it 10")
        for future in waiting:
            future.cancel()
        await publisher.close()
        app.event_pool.close()

    runner.run(main())


def test_few_events_are_sent_and_not_confirmed(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "UNCONFIRMED", 3)
    app = Gated()
    app.gate.set()

    async def main() -> None:
        async with running(app):
            await app.publish_many([Publication(f"it {n}", key="k") for n in range(50)])
            await until(lambda: len(app.seen) == 50)

    runner.run(main())
    assert app.seen == [str(n) for n in range(50)]


def test_a_folder_that_cannot_be_used(runner: asyncio.Runner, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")

    async def main() -> None:
        app = Gated()
        async with running(app, file):
            with pytest.raises(CarrierError, match="file"):
                app.publish("it 1")

        app = Gated()
        app.add_on_event_hook(_nothing, "other", dead_letter="halt")
        with pytest.raises(CarrierError, match="file"):
            async with running(app, file):
                pass

    async def _nothing() -> None: ...

    runner.run(main())


def test_the_second_server_of_a_folder_is_refused(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        one = Gated()
        one.gate.set()
        async with running(one, tmp_path):
            await one.publish("it 1")
            two = EmbeddedCarrier(EventSettings(str(tmp_path)))
            with pytest.raises(CarrierError, match="only one server at a time can use a store"):
                two.want(lambda _: None, starts=True)

    runner.run(main())


def test_what_does_not_publish_has_no_carrier(runner: asyncio.Runner, tmp_path: Path) -> None:
    app = Gated()
    folder = tmp_path / "events"

    async def main() -> None:
        async with running(app, folder):
            pass
        with pytest.raises(ListenerError, match="running listener"):
            app.publish("it 1")

    runner.run(main())
    assert not folder.exists()
    assert Host().carrier is None
