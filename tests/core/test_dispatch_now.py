"""`dispatch_now`: an event ends as one of `trigger_event` does, and its first step runs at once."""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import Any

import pytest

from tiny_listener import Event, EventNotFound, Listener, ListenerError, Param
from tiny_listener.core.observer import NULL_OBSERVER, Outcome
from tiny_listener.core.runtime import Host

HANDLERS = [
    "returns", "awaits", "raises", "awaits-raises", "raises-exit", "raises-own", "is-answered", "awaits-is-answered",
    "cancels", "takes-long", "recurses",
]  # fmt: skip
current: ContextVar[str] = ContextVar("current", default="none")


class Own(BaseException):
    """No Exception."""


class Counting:
    """Keeps the outcomes, and how often nothing was found."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.missed = 0

    def event_done(self, seconds: float, outcome: Outcome) -> None:
        assert seconds >= 0
        self.outcomes.append(outcome)

    def route_added(self, route: Any) -> Any:
        return self

    def not_found(self) -> None:
        self.missed += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(NULL_OBSERVER, name)


async def act(what: str) -> str:
    """Do what a handler may do."""
    if what.startswith("awaits"):
        await asyncio.sleep(0)
    match what.removeprefix("awaits-"):
        case "raises":
            raise ValueError("wrong")
        case "raises-exit":
            raise SystemExit(3)
        case "raises-own":
            raise Own("own")
        case "is-answered":
            raise LookupError("answered")
        case "cancels":
            raise asyncio.CancelledError
        case "takes-long":
            await asyncio.sleep(3600)
        case "recurses":
            await act(what)  # RecursionError
    return what


def application(*, hooks: bool) -> tuple[Listener, list[str]]:
    app, seen = Listener(), []

    @app.on_event("do {what}")
    async def do(what: Param, event: Event) -> Any:
        seen.append(f"handler {what}")
        assert event.data == {"number": 1}
        return await act(what)

    if hooks:

        @app.before_event
        async def before(event: Event) -> None:
            seen.append(f"before {event.params}")

        @app.after_event
        async def after(event: Event) -> None:
            seen.append(f"after {event.result}")

        @app.on_error(LookupError)
        async def on_error(event: Event) -> str:
            return f"answered {type(event.error).__name__}"

    observer: Any = Counting()
    app.attach(Host(observer=observer))
    return app, seen


def end_of(event: Event) -> tuple[object, ...]:
    error = type(event.error).__name__
    return event.result, error, event.outcome, event.is_done, event.params, event.route.name


async def _triggered(app: Listener, what: str) -> tuple[object, ...]:
    task = app.trigger_event(f"do {what}", timeout=0.01, data={"number": 1})
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()
    return end_of(task.event)


async def _dispatched(app: Listener, what: str) -> tuple[object, ...]:
    ended: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    loop = asyncio.get_running_loop()
    loop.call_soon(
        lambda: app.dispatch_now(f"do {what}", {"number": 1}, timeout=0.01, on_end=ended.set_result),
    )
    return end_of(await ended)


@pytest.mark.parametrize("hooks", [False, True])
@pytest.mark.parametrize("what", HANDLERS)
def test_an_event_ends_as_a_triggered_one_does(runner: asyncio.Runner, what: str, *, hooks: bool) -> None:
    def run(way: Any) -> object:
        app, seen = application(hooks=hooks)

        async def main() -> tuple[object, ...]:
            ends: list[object] = []

            async def listen() -> None:
                # The first makes the tasks in whose name the others run.
                ends.extend([await way(app, what) for _ in range(3)])
                assert app.lifecycle.in_progress == 0
                await app.graceful_shutdown()

            await app.live(listen)
            return tuple(ends)

        ends = runner.run(main())
        observer: Any = app.host.observer
        return ends, seen, observer.outcomes, app.hooks.dispatched

    assert run(_dispatched) == run(_triggered)


def in_life(runner: asyncio.Runner, app: Listener, body: Any) -> None:
    """Run a coroutine function while the listener lives; it is cancelled if it does not end with it."""
    failure: list[BaseException] = []

    async def listen() -> None:
        await warm(app)
        try:
            await body()
        except BaseException as exc:
            failure.append(exc)
        await app.graceful_shutdown()

    runner.run(app.live(listen))
    if failure:
        raise failure[0]


async def warm(app: Listener) -> None:
    """Let a task wait in the pool."""
    pool = app.event_pool.tasks
    assert pool is not None
    while pool.probe is not None or not pool.idle:
        await asyncio.sleep(0)


async def outside(call: Any) -> Any:
    """Call a function as a transport does: in no task."""
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: future.set_result(call()))
    return await future


def test_its_first_step_runs_at_once_outside_of_a_task(runner: asyncio.Runner) -> None:
    app, seen = application(hooks=True)

    async def body() -> None:
        def call() -> Event:
            event = app.dispatch_now("do returns", {"number": 1})
            assert event.is_done
            assert seen == ["before {'what': 'returns'}", "handler returns", "after returns"]
            return event

        assert (await outside(call)).result == "returns"

    in_life(runner, app, body)


def test_a_task_may_call_it_and_wait(runner: asyncio.Runner) -> None:
    app, seen = application(hooks=False)

    async def body() -> None:
        event = app.dispatch_now("do returns", {"number": 1})
        assert seen == []
        await event.wait_until_done()
        assert event.result == "returns"

    in_life(runner, app, body)


def test_an_error_that_nobody_takes_is_logged_once_with_its_route(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = application(hooks=False)

    async def body() -> None:
        for what in ("raises", "awaits-raises", "raises-exit", "cancels"):
            event = await outside(lambda what=what: app.dispatch_now(f"do {what}", {"number": 1}))
            await event.wait_until_done()

    with caplog.at_level(logging.WARNING):
        in_life(runner, app, body)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ValueError, ValueError, SystemExit]
    assert all("Event 'do {what}' failed in" in record.getMessage() for record in caplog.records)


def test_what_follows_an_event_harms_nobody_when_it_fails(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = application(hooks=False)

    def fails(event: Event) -> None:
        raise Own(event.result)

    async def body() -> None:
        event = await outside(lambda: app.dispatch_now("do returns", {"number": 1}, on_end=fails))
        assert (event.result, event.outcome) == ("returns", "ok")

    in_life(runner, app, body)
    assert "The on_end callback of 'do {what}' failed" in caplog.text


def test_what_has_suspended_is_in_flight_and_a_drain_waits_for_it(runner: asyncio.Runner) -> None:
    app = Listener()
    release = asyncio.Event()
    ended: list[object] = []

    @app.on_event("wait")
    async def wait() -> str:
        await release.wait()
        app.trigger_event("next")
        return "waited"

    @app.on_event("next")
    async def follows() -> None:
        await asyncio.sleep(0)
        app.dispatch_now("last")

    @app.on_event("last")
    async def last() -> None:
        await asyncio.sleep(0)
        ended.append("last")

    async def body() -> None:
        await outside(lambda: app.dispatch_now("wait", on_end=lambda event: ended.append(event.result)))
        assert app.lifecycle.in_progress == 1
        asyncio.get_running_loop().call_later(0.01, release.set)

    in_life(runner, app, body)
    assert ended == ["waited", "last"]
    assert app.lifecycle.in_progress == 0


def test_what_does_not_end_within_the_graceful_timeout_is_cancelled_and_named(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = application(hooks=False)
    app.host.graceful_timeout = 0.05
    ended: list[Event] = []

    async def body() -> None:
        await outside(lambda: app.dispatch_now("do takes-long", {"number": 1}, on_end=ended.append))

    in_life(runner, app, body)
    assert [event.outcome for event in ended] == ["cancelled"]
    assert "Cancelled after the graceful timeout of 0.05 s: event 'do {what}'" in caplog.text


def test_context_variables_are_those_of_startup_and_no_other_events(runner: asyncio.Runner) -> None:
    app = Listener()
    seen: list[str] = []

    @app.startup
    async def begin() -> None:
        current.set("startup")

    @app.on_event("set {to}")
    async def change(to: Param) -> None:
        seen.append(current.get())
        current.set(to)
        await asyncio.sleep(0)
        assert current.get() == to

    async def body() -> None:
        for to in ("one", "two", "three"):
            event = await outside(lambda to=to: app.dispatch_now(f"set {to}"))
            await event.wait_until_done()

    in_life(runner, app, body)
    assert seen == ["startup"] * 3


def test_an_id_makes_events_share_a_context(runner: asyncio.Runner) -> None:
    app, _ = application(hooks=False)

    async def body() -> None:
        first, second = [app.dispatch_now("do returns", {"number": 1}, cid="one") for _ in range(2)]
        assert first.ctx is second.ctx is app.get_ctx("one")
        await second.wait_until_done()

    in_life(runner, app, body)


def test_a_text_that_no_pattern_matches_is_raised_and_counted(runner: asyncio.Runner) -> None:
    app, _ = application(hooks=False)

    async def body() -> None:
        with pytest.raises(EventNotFound, match="nothing of the kind"):
            app.dispatch_now("nothing of the kind")

    in_life(runner, app, body)
    observer: Any = app.host.observer
    assert observer.missed == 1


def test_a_listener_must_run(runner: asyncio.Runner) -> None:
    app, _ = application(hooks=False)

    async def main() -> None:
        with pytest.raises(ListenerError, match="needs a running listener"):
            app.dispatch_now("do returns", {"number": 1})

    runner.run(main())
    in_life(runner, app, main_of_nothing)
    runner.run(main())  # nor does it after its end


async def main_of_nothing() -> None:
    """Nothing to do."""
