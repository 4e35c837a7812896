"""Sources: opened, run, drained and aborted by their listener; and the order of it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from tiny_listener import Event, Listener, ListenerError, Source
from tiny_listener.core import lifecycle
from tiny_listener.core.lifecycle import State
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener, HTTPSettings, HTTPSource


class Recorded(Source):
    """A source that writes down what is asked of it."""

    def __init__(self, name: str, seen: list[str], *, stuck: bool = False) -> None:
        self.name = name
        self.seen = seen
        self.stuck = stuck

    async def open(self, listener: Listener[Any]) -> None:
        self.seen.append(f"open {self.name}")

    def drain(self) -> None:
        self.seen.append(f"drain {self.name}")

    async def wait_drained(self) -> None:
        self.seen.append(f"wait {self.name}")
        if self.stuck:
            await asyncio.Event().wait()

    def abort(self) -> list[str]:
        self.seen.append(f"abort {self.name}")
        return [f"a message of {self.name}"] if self.stuck else []


class Ends(Listener):
    """Ends as soon as it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    async def listen(self) -> None:
        self.seen.append("listen")
        self.ending = asyncio.ensure_future(self.end())

    async def end(self) -> None:
        while self.lifecycle.state is not State.READY:
            await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)


def test_sources_are_opened_drained_and_waited_for_in_order() -> None:
    app = Ends()
    app.startup(_noting(app.seen, "startup"))
    app.shutdown(_noting(app.seen, "shutdown"))
    for name in ("one", "two"):
        app.add_source(Recorded(name, app.seen))
    for _ in range(2):  # each life opens them again
        app.seen.clear()
        app.run()
        assert app.seen == [
            "startup", "open one", "open two", "listen", "drain one", "drain two", "wait one", "wait two", "shutdown",
        ]  # fmt: skip


def _noting(seen: list[str], what: str) -> Any:
    async def note() -> None:
        seen.append(what)

    return note


def test_a_listener_with_a_source_needs_no_listen() -> None:
    class Clock(Source):
        async def open(self, listener: Listener[Any]) -> None:
            listener.trigger_event("tick")

    app = Listener()
    app.add_source(Clock())

    @app.on_event("tick")
    async def tick() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    app.run()


def test_a_source_must_define_open() -> None:
    class Bare(Source):
        pass

    app = Listener()
    app.add_source(Bare())
    with pytest.raises(NotImplementedError, match="Bare must define `async def open"):
        app.run()


def test_what_a_source_does_not_finish_is_aborted_and_named(caplog: pytest.LogCaptureFixture) -> None:
    app = Ends()
    app.host.graceful_timeout = 0.05
    app.add_source(Recorded("quick", app.seen))
    app.add_source(Recorded("stuck", app.seen, stuck=True))
    app.run()
    assert app.seen[-2:] == ["abort quick", "abort stuck"]
    assert "Cancelled after the graceful timeout of 0.05 s: a message of stuck" in caplog.text


def test_a_source_that_cannot_be_opened_ends_the_listener_by_name() -> None:
    class Away(Source):
        name = "orders"

        async def open(self, listener: Listener[Any]) -> None:
            raise ConnectionRefusedError("no broker at 127.0.0.1:5672")

    app = Ends()
    app.add_source(Recorded("first", app.seen))
    app.add_source(Away())
    app.add_source(Recorded("last", app.seen))
    with pytest.raises(ConnectionRefusedError, match="no broker") as raised:
        app.run()
    assert raised.value.__notes__ == ["The source 'orders' could not be opened."]
    assert app.seen == ["open first", "drain first", "wait first"]  # the last one was never opened


def test_a_listener_is_ready_when_its_sources_are_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "READY_AFTER", 0.01)
    seen: list[str] = []

    class Slow(Recorded):
        async def open(self, listener: Listener[Any]) -> None:
            await asyncio.sleep(5 * lifecycle.READY_AFTER)
            await super().open(listener)

    app = Ends()
    app.attach(Host(on_ready=lambda: seen.append("ready")))
    app.seen = seen
    app.add_source(Slow("slow", seen))
    app.run()
    assert seen.index("open slow") < seen.index("ready")


def test_a_stop_while_a_source_opens_cancels_it() -> None:
    cancelled: list[str] = []

    class Never(Source):
        async def open(self, listener: Listener[Any]) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append("open")
                raise

        def drain(self) -> None:
            cancelled.append("drain")

    app = Listener()
    app.add_source(Never())
    app.run()
    assert cancelled == ["open"]  # what was never open is not drained


def test_a_source_whose_events_outlast_its_wait_is_asked_again() -> None:
    class Late(Recorded):
        looks = 0

        @property
        def in_flight(self) -> int:
            self.looks += 1
            return int(self.looks < 5)

    app = Ends()
    source = Late("late", app.seen)
    app.add_source(source)
    app.run()
    assert source.looks >= 5
    assert app.seen.count("wait late") >= 2


@pytest.mark.parametrize("error", [RuntimeError("own"), SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("what", ["in_flight", "open_connections", "drain", "wait_drained", "abort"])
def test_a_source_that_fails_in_the_drain_harms_no_other(
    what: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Recorded):
        def _fail(self, *_: object) -> Any:
            raise error

        async def _fail_later(self) -> None:
            raise error

    async def handler() -> None:
        app.seen.append("handler")
        await asyncio.sleep(0.01)
        app.seen.append("handled")

    failing = {"in_flight": property(Fails._fail), "open_connections": property(Fails._fail)}
    setattr(Fails, what, failing.get(what, Fails._fail_later if what == "wait_drained" else Fails._fail))
    app = Ends()
    app.host.graceful_timeout = 0.1
    app.add_source(Fails("failing", app.seen))
    app.add_source(Recorded("other", app.seen, stuck=what == "abort"))
    app.on_event("event")(handler)
    app.shutdown(_noting(app.seen, "shutdown"))
    app.startup(_looking_at(app))
    app.run()
    assert {"handled", "drain other", "wait other", "shutdown"} <= set(app.seen)
    named = f"{what}()" if what in ("drain", "wait_drained", "abort") else "in_flight or open_connections"
    assert caplog.text.count(f"{named} of the source 'failing' failed") == 1


def _looking_at(app: Ends) -> Any:
    async def look() -> None:
        app.looking = [asyncio.ensure_future(_look(app))]  # type: ignore[attr-defined]

    return look


async def _look(app: Ends) -> None:
    """Trigger an event, and ask for the counts as a heartbeat does."""
    while app.lifecycle.state is not State.READY:
        await asyncio.sleep(0)
    app.trigger_event("event")
    for _ in range(3):
        assert app.lifecycle.connections == 0
        assert app.lifecycle.in_progress >= 1


def test_a_source_that_is_stuck_holds_no_other_up() -> None:
    app = Ends()
    app.host.graceful_timeout = 0.05
    app.add_source(Recorded("stuck", app.seen, stuck=True))
    app.add_source(Recorded("other", app.seen))
    app.run()
    assert "wait other" in app.seen


def test_a_source_whose_run_is_cancelled_by_another_ends_the_listener() -> None:
    class Cancelled(Recorded):
        async def run(self) -> None:
            raise asyncio.CancelledError

    class Waits(Listener):
        async def listen(self) -> None:
            await asyncio.Event().wait()

    app = Waits()
    app.add_source(Cancelled("one", []))
    with pytest.raises(ListenerError, match="run\\(\\) of the source 'one' was cancelled, and not by its listener"):
        app.run()


def test_a_source_that_opens_during_the_drain_is_drained_at_once(runner: asyncio.Runner) -> None:
    app = Ends()

    async def main() -> None:
        app.lifecycle.draining.begin()
        await app.open_source(Recorded("late", app.seen))

    runner.run(main())
    assert app.seen == ["open late", "drain late"]


def test_a_source_runs_until_the_drain_has_ended() -> None:
    seen: list[str] = []

    class Runs(Recorded):
        async def run(self) -> None:
            seen.append("runs")
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("run ended")

    app = Ends()
    app.seen = seen
    app.shutdown(_noting(seen, "shutdown"))
    app.add_source(Runs("one", seen))
    app.run()
    assert seen == ["open one", "listen", "runs", "drain one", "wait one", "run ended", "shutdown"]


def test_events_that_were_dispatched_at_once_end_before_a_source_closes() -> None:
    seen: list[str] = []
    app = Ends()

    class Acknowledges(Recorded):
        async def open(self, listener: Listener[Any]) -> None:
            self.app = listener

        def drain(self) -> None:
            self.app.dispatch_now("slow", on_end=lambda event: seen.append(f"acknowledge {event.result}"))

    @app.on_event("slow")
    async def slow() -> str:
        await asyncio.sleep(0.01)
        return "slow"

    app.add_source(Acknowledges("one", seen))
    app.run()
    assert seen == ["acknowledge slow", "wait one"]


def test_a_source_that_fails_while_it_runs_ends_the_listener() -> None:
    seen: list[str] = []

    class Fails(Recorded):
        async def run(self) -> None:
            raise ConnectionResetError("the broker is gone")

    class Waits(Listener):
        async def listen(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("listen ended")

    app = Waits()
    app.add_source(Fails("one", seen))
    with pytest.raises(ConnectionResetError, match="the broker is gone"):
        app.run()
    assert seen == ["open one", "listen ended", "drain one", "wait one"]


def test_a_source_that_is_added_too_late_is_an_error_that_says_what_to_write() -> None:
    class Late(Listener):
        async def listen(self) -> None:
            self.add_source(Recorded("late", []))

    with pytest.raises(ListenerError, match=r"add_source\('late'\) comes too late.*use `await listener.open_source"):
        Late().run()


def test_two_addresses_with_settings_of_their_own_have_the_same_routes_and_hooks() -> None:
    app = HTTPListener(port=0)
    second = HTTPSource(HTTPSettings(port=0, max_body=3))
    app.add_source(second)
    bodies: list[str] = []

    @app.before_event
    async def note(event: Event) -> None:
        bodies.append(event.route.path)

    @app.post("/")
    async def home() -> str:
        return "home"

    async def ask(source: HTTPSource, body: bytes) -> bytes:
        listening: Any = source.listening
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body)
        )
        answer = await reader.read()
        writer.close()
        return answer

    answers: list[bytes] = []

    async def client() -> None:
        try:
            for source in (app.http, second):
                answers.extend([await ask(source, b"abc"), await ask(source, b"abcd")])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    running: list[asyncio.Future[None]] = []
    app.attach(Host(on_ready=lambda: running.append(asyncio.ensure_future(client()))))
    app.run()
    running[0].result()
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"200", b"413"]
    assert len(bodies) == 3
    assert running[0].done()
