"""What becomes of an event whose handler fails: retries, final failures, dead letters, halted keys."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from tests.core.publishing.running import App
from tiny_listener import Event, Reject, Retry, RetryLater
from tiny_listener.testing import EventClient


class Failing(App):
    """Has one route, whose handler raises what `errors` has next, and then nothing."""

    def __init__(self, *errors: BaseException | None, **options: Any) -> None:
        super().__init__()
        self.errors = list(errors)
        self.attempts: list[int] = []
        self.told: list[str] = []

        @self.on_event("it {n}", **options)
        async def it(event: Event, n: str) -> str:
            self.attempts.append(event.attempt)
            error = self.errors.pop(0) if self.errors else None
            if error is not None:
                raise error
            return n

        @self.on_error(Exception)
        async def gave_up(event: Event) -> None:
            self.told.append(f"{event.attempt} {type(event.error).__name__} {event.outcome}")


def reasons(events: EventClient) -> list[tuple[str, int]]:
    return [(letter.reason, letter.attempts) for letter in events.dead]


def test_without_a_policy_the_first_failure_is_the_last() -> None:
    app = Failing(ValueError("no"))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        assert reasons(events) == [("attempts", 1)]
        assert (events.dead[0].error, events.dead[0].text) == ("ValueError", "no")
    assert app.told == ["1 ValueError error"]


def test_attempts_are_counted_and_error_handlers_wait_for_the_last() -> None:
    app = Failing(*[ValueError(str(n)) for n in range(9)], retry=Retry(max_attempts=3, first=1, factor=10))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(0.99)
        assert app.attempts == [1]
        events.advance(0.01)
        assert app.attempts == [1, 2]
        assert app.told == []
        events.advance(9.9)
        assert app.attempts == [1, 2]
        events.advance(1)
        assert app.attempts == [1, 2, 3]
        # The error handler has handled it; the letter comes nevertheless.
        assert reasons(events) == [("attempts", 3)]
        assert events.dead[0].text == "2"
    assert app.told == ["3 ValueError error"]


def test_a_retry_that_succeeds_tells_no_error_handler() -> None:
    app = Failing(ValueError(), KeyError(), retry=Retry(max_attempts=3))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(10)
        assert [event.outcome for event in events.settled] == ["ok"]
    assert (app.attempts, app.told) == ([1, 2, 3], [])


def test_waits_never_exceed_the_most() -> None:
    app = Failing(*[ValueError() for _ in range(6)], retry=Retry(max_attempts=6, first=1, factor=100, most=5))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(1 + 4 * 5)
        assert reasons(events) == [("attempts", 6)]


def test_only_some_exceptions_are_tried_again() -> None:
    app = Failing(KeyError(), IndexError(), ValueError(), retry=Retry(on=(LookupError, OSError)))
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(10)
        assert reasons(events) == [("attempts", 3)]
        assert events.dead[0].error == "ValueError"
    assert app.told == ["3 ValueError error"]


@pytest.mark.parametrize("options", [{}, {"retry": Retry(max_attempts=5, first=1000)}], ids=["alone", "with a policy"])
def test_a_handler_says_when_to_try_again(options: dict[str, Any]) -> None:
    app = Failing(*[RetryLater(60) for _ in range(5)], **options)
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(59)
        assert app.attempts == [1]
        events.advance(1)
        assert app.attempts == [1, 2]
        events.advance(180)
        assert reasons(events) == [("attempts", 5)]
        assert events.dead[0].text == "try again in 60 s"


def test_a_handler_rejects_an_event() -> None:
    app = Failing(Reject("negative total"), retry=Retry())
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        assert reasons(events) == [("rejected", 1)]
        assert (events.dead[0].error, events.dead[0].text) == ("Reject", "negative total")
    assert app.told == ["1 Reject rejected"]


def test_the_text_of_an_error_is_bounded_and_harmless(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "tiny_listener")  # pytest's processes cannot send each other such a text

    class Silent(Exception):  # noqa: N818
        def __str__(self) -> str:
            raise ValueError

    app = Failing(ValueError("\ud800é" * 9999), Silent())
    with EventClient(app) as events:
        events.publish("it 1")
        events.publish("it 2")
        events.run()
        first, second = events.dead
    assert first.text.startswith("\\ud800é")
    assert len(first.text) == 4096
    assert "cannot be had" in second.text


def test_a_timeout_is_a_failure() -> None:
    app = App()
    attempts = []

    @app.on_event("it", timeout=0.01, retry=Retry(max_attempts=2))
    async def it(event: Event) -> None:
        attempts.append(event.attempt)
        await asyncio.Event().wait()

    with EventClient(app) as events:
        events.publish("it")
        events.run()
        events.advance(1)
        assert [(letter.reason, letter.error, letter.attempts) for letter in events.dead] == [
            ("attempts", "TimeoutError", 2)
        ]
    assert attempts == [1, 2]


def test_a_handler_that_cancels_itself_is_tried_again() -> None:
    app = Failing(asyncio.CancelledError(), retry=Retry())
    with EventClient(app) as events:
        events.publish("it 1")
        events.run()
        events.advance(1)
        assert [(event.outcome, event.attempts) for event in events.settled] == [("ok", 2)]


def test_an_exit_fails_the_event_and_not_the_process() -> None:
    app = Failing(SystemExit(3), retry=Retry())
    with EventClient(app) as events:
        events.publish("it 1")
        events.publish("it 2")
        events.run()
        assert reasons(events) == [("attempts", 1)]
        assert [event.outcome for event in events.settled] == ["dead", "ok"]


@pytest.mark.parametrize("error", [ValueError(), RetryLater(60)])
def test_at_most_once_is_never_tried_again(error: Exception) -> None:
    app = Failing(error, ack="before", retry=Retry())
    with EventClient(app) as events:
        events.publish("it 1")
        events.publish("it 2")
        events.run()
        events.advance(1000)
        assert reasons(events) == [("attempts", 1)]
        assert [(event.outcome, event.attempts) for event in events.settled] == [("dead", 1), ("ok", 1)]
    assert app.attempts == [1, 1]
    assert app.told == [f"1 {type(error).__name__} error"]


def stuck_at(*attempts: int, **options: Any) -> tuple[App, list[tuple[str, int]]]:
    """Return an application whose events `a...` never end at some attempts."""
    app = App()
    seen: list[tuple[str, int]] = []

    @app.on_event("it {n}", **options)
    async def it(event: Event, n: str) -> None:
        seen.append((n, event.attempt))
        if n.startswith("a") and event.attempt in attempts:
            await asyncio.Event().wait()

    return app, seen


def test_at_most_once_does_not_come_again_after_a_crash() -> None:
    app, seen = stuck_at(1, ack="before")
    with EventClient(app) as events:
        events.publish("it a")
        events.run()
        assert events.crash_worker() == 1
        events.run()
        assert reasons(events) == [("crashed", 1)]
    assert seen == [("a", 1)]


def test_what_was_in_flight_at_a_crash_comes_again_in_the_order_of_its_key() -> None:
    app, seen = stuck_at(1)
    with EventClient(app) as events:
        for n in ("a1", "b1", "b2"):
            events.publish(f"it {n}", key="k")
        events.run()
        assert seen == [("a1", 1)]
        events.crash_worker()
        events.run()
        assert seen == [("a1", 1), ("a1", 2), ("b1", 1), ("b2", 1)]
        assert all(event.outcome == "ok" for event in events.settled)


def test_an_event_that_kills_three_workers_is_given_up_and_its_neighbours_are_not() -> None:
    app, seen = stuck_at(*range(1, 9))
    with EventClient(app) as events:
        for n in ("a1", "b1", "b2"):
            events.publish(f"it {n}", key=n[0])
        events.run()
        for crash in range(1, 4):
            assert events.dead == []
            assert events.crash_worker() == 1
            events.run()
            assert len([one for one in seen if one[0] == "a1"]) == min(crash + 1, 3)
        assert reasons(events) == [("crashed", 3)]
    assert [one for one in seen if one[0] != "a1"] == [("b1", 1), ("b2", 1)]


def test_suspects_run_one_at_a_time() -> None:
    app, seen = stuck_at(1, 2)
    with EventClient(app) as events:
        events.publish("it a1")
        events.publish("it a2", key="k")
        events.run()
        assert len(seen) == 2
        assert events.crash_worker() == 2
        events.publish("it b")
        events.run()
        assert len(seen) == 3, "one suspect, and nothing else"
        events.crash_worker()
        events.run()


@pytest.mark.parametrize("way", ["skip", "redrive", "discard"])
def test_a_halted_key_waits_for_an_operator(way: str) -> None:
    app = Failing(ValueError(), dead_letter="halt")
    seen: list[str] = []
    app.hooks.add_watcher(_Seen(seen))
    with EventClient(app) as events:
        bad = events.publish("it 1", key="k")
        events.publish("it 2", key="k")
        events.publish("it 3", key="other")
        events.run()
        events.advance(10_000)
        assert seen == ["1", "3"]
        assert events.halted == ["k"]
        assert [event.path for event in events.waiting] == ["it 2"]
        if way == "skip":
            events.skip("k")
        elif way == "redrive":
            assert events.redrive(bad.id) == 1
        else:
            events.discard(bad.id)
        events.run()
        assert events.halted == []
        assert len(events.dead) == (1 if way == "skip" else 0)
    assert seen == ["1", "3", "1", "2"] if way == "redrive" else ["1", "3", "2"]


class _Seen:
    """Writes down the parameter of each event that begins."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen

    def began(self, event: Event[Any]) -> None:
        self.seen.append(event.params["n"])

    def ended(self, event: Event[Any]) -> None: ...


def test_a_failing_key_holds_up_its_own_events_only() -> None:
    app = Failing(ValueError(), retry=Retry(first=100))
    with EventClient(app) as events:
        events.publish("it 1", key="k")
        events.publish("it 2", key="k")
        events.publish("it 3", key="j")
        events.publish("it 4")
        events.run()
        assert [event.path for event in events.settled] == ["it 3", "it 4"]
        events.advance(100)
        assert len(events.settled) == 4


def test_later_events_pass_one_that_waits_if_the_route_says_so() -> None:
    app = Failing(ValueError(), retry=Retry(first=100, blocking=False))
    with EventClient(app) as events:
        events.publish("it 1", key="k")
        events.publish("it 2", key="k")
        events.run()
        assert [event.path for event in events.settled] == ["it 2"]
        events.advance(100)
        assert len(events.settled) == 2


def test_an_event_without_a_route_waits_for_a_deploy() -> None:
    app = Failing()
    with EventClient(app) as events:
        events.publish("it 1")
        events.publish("it 2")
        app.remove_on_event_hook("it")
        events.run()
        events.advance(59)
        assert events.dead == []
        events.advance(1)
        assert [letter.reason for letter in events.dead] == ["no route", "no route"]

    @app.on_event("it {n}", name="it")
    async def again(n: str) -> None: ...

    with EventClient(app) as events:
        events.publish("it 1")
        route = app.get_route("it")
        app.remove_on_event_hook("it")
        events.run()
        events.advance(30)
        app.add_on_event_hook(route.fn, "it {n}")
        events.advance(1)
        assert [event.outcome for event in events.settled] == ["ok"]


def test_redriven_events_say_so_and_begin_again() -> None:
    app = Failing(ValueError(), ValueError(), ValueError())
    marks: list[dict[str, str]] = []

    @app.before_event
    async def look(event: Event) -> None:
        marks.append(event.attributes)

    with EventClient(app) as events:
        stored = events.publish("it 1", attributes={"a": "b"})
        for _ in range(3):
            events.run()
            assert events.redrive(reason="attempts") == 1
        events.run()
        assert [(event.id, event.outcome) for event in events.settled] == [(stored.id, "ok")]
    assert app.attempts == [1, 1, 1, 1]
    assert marks == [{"a": "b"}, *({"a": "b", "tlredrive": str(n)} for n in (1, 2, 3))]


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_a_context_that_cannot_be_made_fails_its_own_event_only(kind: type[BaseException]) -> None:
    app = App()
    make = app.new_ctx

    def new_ctx(cid: str | None = None, *args: Any) -> Any:
        if cid == "bad":
            raise kind
        return make(cid, *args)

    app.new_ctx = new_ctx  # type: ignore[assignment, method-assign]

    @app.on_event("it")
    async def it() -> None: ...

    with EventClient(app) as events:
        events.publish("it", cid="bad", id="first")
        events.publish("it", id="second")
        events.publish("it", key="k", id="third")
        events.run()
        assert [(letter.id, letter.error) for letter in events.dead] == [("first", kind.__name__)]
        assert [event.outcome for event in events.settled] == ["dead", "ok", "ok"]
