"""Events of one key, some of which let later ones pass while they wait for a retry, and a carrier that restarts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.events.engine.turns import Turns, event, hello, kinds
from tiny_listener.events.messages import Deliver, Done, Failed, Held, Hello


class Key:
    """One key. The even events block it while they wait for a retry, the odd ones let others pass."""

    def __init__(self) -> None:
        self.one = Turns()
        self.in_flight: Deliver | None = None
        self.blocking: set[int] = set()
        self.starts: list[int] = []
        self.number = 0
        self.link = 1
        self.turn(hello())

    def turn(self, *messages: object) -> None:
        for deliver in kinds(self.one.turn(*messages, link=self.link), Deliver):
            assert self.in_flight is None, "two at a time"
            seq = deliver.seq
            assert not any(other < seq for other in self.blocking), f"{seq} has passed one of {self.blocking}"
            self.blocking.discard(seq)
            self.starts.append(seq)
            self.in_flight = deliver

    def publish(self) -> None:
        self.number += 1
        self.turn(event(self.number))

    def fail(self, wait: float) -> None:
        if (deliver := self.in_flight) is None:
            return
        self.in_flight = None
        passing = deliver.seq % 2 == 1
        if not passing:
            self.blocking.add(deliver.seq)
        self.turn(Failed(deliver.seq, "error", "E", "", wait, "attempts", passing))

    def done(self) -> None:
        deliver, self.in_flight = self.in_flight, None
        if deliver is not None:
            self.turn(Done(deliver.seq))

    def wait(self, seconds: float) -> None:
        self.one.now += seconds
        self.turn()

    def restart(self, *, loses_worker: bool) -> None:
        self.one = Turns(self.one.store, self.one.now)
        self.link += 1
        holds = []
        if loses_worker:
            self.in_flight = None
        elif self.in_flight is not None:
            holds = [Held(self.in_flight.seq, self.in_flight.attempt)]
        self.turn(Hello(0, 1, 10, {}, self.one.store.id, holds))


STEPS = st.one_of(
    st.just(("publish",)),
    st.just(("done",)),
    st.tuples(st.just("fail"), st.sampled_from([1.0, 10.0])),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 5.0])),
    st.tuples(st.just("restart"), st.booleans()),
)


@settings(max_examples=300)
@given(st.lists(STEPS, max_size=40))
@example([("publish",), ("publish",), ("publish",), ("fail", 10.0), ("fail", 10.0), ("restart", False)])
@example([("publish",), ("publish",), ("publish",), ("fail", 1.0), ("fail", 10.0), ("wait", 5.0), ("restart", True)])
def test_nothing_passes_an_event_that_blocks_its_key(steps: list[tuple[Any, ...]]) -> None:
    key = Key()
    for step, *args in steps:
        match step, *args:
            case "fail", wait:
                key.fail(wait)
            case "wait", seconds:
                key.wait(seconds)
            case "restart", loses_worker:
                key.restart(loses_worker=loses_worker)
            case _:
                getattr(key, step)()
    for _ in range(200):  # all of them end
        key.done()
        key.wait(1.0)
    assert not key.one.engine.state.entries
    assert set(key.starts) == set(range(1, key.number + 1))


@pytest.mark.parametrize("is_later_started", [False, True])
def test_who_holds_a_key_after_a_restart(is_later_started: bool) -> None:
    key = Key()
    key.publish()
    key.fail(10.0)  # it lets others pass
    if is_later_started:
        key.publish()
    key.restart(loses_worker=True)
    key.publish()
    assert key.starts == ([1, 2, 2] if is_later_started else [1]), "what was passed is known from what has passed it"
