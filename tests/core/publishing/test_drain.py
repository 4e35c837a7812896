"""The end of a listener: what is in flight finishes, the rest is kept, and no attempt is counted."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.core.publishing.running import App, running, until
from tiny_listener import Event, Publication, Retry
from tiny_listener.core.runtime import Host
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.link import Link
from tiny_listener.events.messages import Deliver, Done, Held, Hello, Returned, Settled, ToCarrier, Welcome
from tiny_listener.events.settings import EventSettings


class Gated(App):
    """Its handlers wait for a gate."""

    def __init__(self, *, is_open: bool = False) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()
        self.began: list[str] = []
        self.seen: list[tuple[str, int, bool]] = []

        @self.on_event("it {n}", retry=Retry(first=0.1))
        async def it(event: Event, n: str) -> None:
            self.began.append(n)
            await self.gate.wait()
            self.seen.append((n, event.attempt, event.redelivered))


def test_a_shutdown_waits_for_what_is_in_flight_and_keeps_the_rest(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        first = Gated()
        async with running(first, tmp_path):
            await first.publish_many([Publication(f"it {n}", key="k") for n in range(5)])
            await until(lambda: first.began == ["0"])
            stopping = asyncio.ensure_future(first.graceful_shutdown())
            await until(lambda: first.is_draining)
            late = first.publish("it 5", key="k")  # a handler may still publish
            await late
            assert not stopping.done()
            first.gate.set()
            await stopping
        assert first.seen == [("0", 1, False)]
        second = Gated(is_open=True)
        async with running(second, tmp_path):
            await until(lambda: len(second.seen) == 5)
        assert second.seen == [(str(n), 1, False) for n in range(1, 6)]

    runner.run(main())


def test_what_is_cancelled_at_the_end_comes_again_and_counts_no_attempt(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        for _ in range(3):
            app = Gated()
            async with running(app, tmp_path, graceful_timeout=0.01):
                if not _:
                    await app.publish_many([Publication(f"it {n}", key=n % 2) for n in range(4)])
                await until(lambda: len(app.began) == 2)  # noqa: B023
            assert sorted(app.began) == ["0", "1"]
            assert app.seen == []
        app = Gated(is_open=True)
        async with running(app, tmp_path):
            await until(lambda: len(app.seen) == 4)
        assert sorted(app.seen) == [("0", 1, True), ("1", 1, True), ("2", 1, False), ("3", 1, False)]

    runner.run(main())


def test_delays_and_retries_survive_a_restart(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        app = Gated()
        app.remove_on_event_hook("it")
        attempts: list[int] = []

        @app.on_event("it {n}", retry=Retry(first=3600))
        async def it(event: Event, n: str) -> None:
            attempts.append(event.attempt)
            raise ValueError(n)

        async with running(app, tmp_path):
            await app.publish("it 1", key="k")
            await app.publish("it 2", key="k")
            await app.publish("it 3", delay=3600)
            await until(lambda: app.service.engine.state.retrying)
        for _ in range(2):
            async with running(app, tmp_path):
                state = app.service.engine.state
                assert (len(state.retrying), len(state.delayed), state.number) == (1, 1, 3)
                (retrying,) = (state.entries[seq] for seq in state.retrying)
                assert app.service.engine.schedule.lanes["k"].current is retrying, "it holds its key"
                assert retrying.envelope.path == "it 1"
        assert attempts == [1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("random.uniform", lambda low, high: high)
        runner.run(main())


def test_memory_is_lost_at_the_end(runner: asyncio.Runner) -> None:
    async def main() -> None:
        app = Gated()
        async with running(app):
            await app.publish("it 1", delay=60)
            await app.publish("it 2", delay=60)
        async with running(app):
            await app.publish("it 3", delay=60)
            assert app.service.engine.state.number == 1

    runner.run(main())


def test_duplicates_are_known_after_a_restart(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        app = Gated(is_open=True)
        async with running(app, tmp_path):
            assert not (await app.publish("it 1", id="one")).duplicate
            await until(lambda: app.seen)
        async with running(app, tmp_path):
            assert (await app.publish("it 1", id="one")).duplicate
        assert len(app.seen) == 1

    runner.run(main())


def test_dead_letters_and_halted_keys_survive_a_restart(runner: asyncio.Runner, tmp_path: Path) -> None:
    async def main() -> None:
        app = App()
        seen: list[str] = []

        @app.on_event("it {n}", dead_letter="halt")
        async def it(n: str) -> None:
            seen.append(n)
            if n == "1":
                raise ValueError

        async with running(app, tmp_path):
            await app.publish("it 1", key="k")
            await app.publish("it 2", key="k")
            await until(lambda: app.service.engine.letters.halted)
        async with running(app, tmp_path):
            await app.publish("it 3", key="other")
            await until(lambda: "3" in seen)
            assert seen == ["1", "3"]
            assert app.service.engine.letters.halted == {"k": 1}
            assert app.service.engine.letters.by_reason == {"attempts": 1}

    runner.run(main())


class Played:
    """A provider whose carrier is the test.

    :ivar heard: what the listener sent
    """

    settings = EventSettings()

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.link: Link[Any, Any] = Link(ToCarrier, self.heard.extend, lambda: None)
        self.is_linked = False

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        if not self.is_linked:
            self.is_linked = True
            self.start = on_link
            self.connect()

    def connect(self) -> None:
        theirs, ours = socket.socketpair()
        self.link.open(theirs)
        self.link.send(Welcome("store", 1000))
        self.start(ours)

    def restart(self) -> None:
        self.heard.clear()
        self.link.close()
        self.link = Link(ToCarrier, self.heard.extend, lambda: None)
        self.connect()

    async def close(self) -> None:
        self.link.close()

    def has_heard(self, kind: type) -> bool:
        return any(isinstance(message, kind) for message in self.heard)


def test_what_is_on_its_way_when_the_drain_begins_is_not_started(runner: asyncio.Runner) -> None:
    async def main() -> None:
        app, carrier, ready = Gated(is_open=True), Played(), asyncio.Event()
        app.host = Host(carrier=carrier, on_ready=ready.set)
        life = asyncio.ensure_future(app.main())
        await ready.wait()
        await until(lambda: carrier.has_heard(Hello))
        carrier.link.send(Deliver(1, 1, redelivered=False, envelope=Envelope("1", "it 1", "it {n}", b"null", 1.0, "k")))
        await until(lambda: carrier.has_heard(Done))
        app.lifecycle.shutdown.append(partial(until, lambda: carrier.has_heard(Returned)))
        stopping = asyncio.ensure_future(app.graceful_shutdown())
        await until(lambda: app.is_draining)
        carrier.link.send(Deliver(2, 1, redelivered=False, envelope=Envelope("2", "it 2", "it {n}", b"null", 1.0, "k")))
        carrier.link.send(Settled(1))
        await stopping
        await life
        assert [message.seqs for message in carrier.heard if isinstance(message, Returned)] == [[2]]
        assert app.began == ["1"]

    runner.run(main())


def test_the_next_carrier_is_told_of_what_was_settled_first(runner: asyncio.Runner) -> None:
    async def main() -> None:
        app, carrier, ready = Gated(), Played(), asyncio.Event()
        app.host = Host(carrier=carrier, on_ready=ready.set)
        life = asyncio.ensure_future(app.main())
        await ready.wait()
        envelopes = [Envelope(str(n), f"it {n}", "it {n}", b"null", 1.0, "k") for n in (1, 2)]
        for n, is_acked in ((1, True), (2, False)):
            carrier.link.send(Deliver(n, 1, redelivered=False, envelope=envelopes[n - 1], is_acked=is_acked))
        await until(lambda: len(app.began) == 2)
        carrier.restart()
        await until(lambda: carrier.has_heard(Hello))
        assert carrier.heard[0].holds == [Held(1, 1, envelopes[0]), Held(2, 1)]
        app.gate.set()
        await until(lambda: len(app.seen) == 2)
        carrier.link.send(Settled(2))
        await app.graceful_shutdown()
        await life

    runner.run(main())
