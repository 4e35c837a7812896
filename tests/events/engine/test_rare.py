"""The engine: what happens rarely, and then for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.engine.turns import Turns, event, hello, kinds
from tiny_listener.events.envelope import HOLDS, Envelope
from tiny_listener.events.messages import (
    Confirm,
    Deliver,
    Done,
    Failed,
    Held,
    Hello,
    Publish,
    Refuse,
    Result,
    Unroutable,
)  # fmt: skip
from tiny_listener.events.policy import RouteTerms
from tiny_listener.events.store.ops import ToDead


def test_an_event_for_which_there_is_never_room_holds_up_no_other() -> None:
    one = Turns(max_bytes=5000)
    refused, stored = kinds(one.turn(event(1, 6000), event(2)), Confirm, Refuse)
    assert isinstance(refused, Refuse)
    assert (refused.kind, stored) == ("too large", Confirm([2]))


@pytest.mark.parametrize("waited", [1.0, 119.0, 121.0, 599.0])
def test_a_request_that_asks_again_is_stored_once_however_long_it_waited(waited: float) -> None:
    first = Turns()
    first.turn(hello(), event(1, expires=600.0))
    second = Turns(first.store, waited)
    second.turn(hello(), event(1, expires=600.0), link=2)
    assert list(second.engine.state.entries) == [1]
    (deliver,) = [entry for entry in second.engine.state.entries.values() if entry.member is not None]
    assert Result(1, b"7", None) in second.turn(Done(deliver.seq, b"7"), link=2)
    assert second.engine.state.entries == {}


def test_each_deploy_has_its_own_minute() -> None:
    one = Turns()
    one.turn(hello(), event())
    for wait in (300.0, 300.0):
        one.turn(Unroutable(1))
        one.now += 1
        assert kinds(one.turn(), Deliver)
        one.turn(Failed(1, "error", "E", "", wait))
        one.now += wait
        assert kinds(one.turn(), Deliver)
    assert one.engine.letters.by_reason == {}
    for _ in range(61):
        one.turn(Unroutable(1))
        one.now += 1
        one.turn()
    assert one.engine.letters.by_reason == {"no route": 1}


@given(st.lists(st.booleans(), max_size=6))
def test_the_delays_of_what_was_not_stored_are_not_counted(stored: list[bool]) -> None:
    one = Turns()
    one.turn(hello())
    for n, is_stored in enumerate(stored):
        effects = one.take(Publish(n, Envelope(f"id {n}", "p", "p", b"", 0.0), 0.0))
        if not is_stored:
            one.engine.withdraw(effects, "full")
    counters = one.engine.state.counters.of("p")
    assert sum(counters.delays) == sum(stored) == counters.unsettled == counters.published.get("stored", 0)


def test_an_event_that_is_put_back_is_no_request_any_more() -> None:
    one = Turns()
    one.turn(hello(), event(expires=600.0, attributes={HOLDS: '["a"]', "own": "1"}))
    effects = one.take(Failed(1, "error", "E", ""))
    (letter,) = [op.letter for op in effects.ops if isinstance(op, ToDead)]
    one.engine.letters.redrive(letter, one.now)
    (deliver,) = kinds(one.turn(), Deliver)
    assert deliver.envelope.attributes == {"own": "1", "tlredrive": "1"}
    assert (deliver.attempt, deliver.wants_result) == (1, False)


@pytest.mark.parametrize("is_request", [False, True])
def test_a_key_waits_for_what_was_settled_first_after_a_restart(is_request: bool) -> None:
    terms = {"p": RouteTerms(ack_before=True)}
    expires = 600.0 if is_request else None
    first = Turns()
    (deliver,) = kinds(first.turn(Hello(0, 1, 10, terms), event(1, expires=expires), event(2)), Deliver)
    assert deliver.is_acked
    second = Turns(first.store)
    held = Held(deliver.seq, deliver.attempt, deliver.envelope)
    asked = [event(1, expires=expires)] if is_request else []
    assert not kinds(second.turn(Hello(0, 1, 10, terms, second.store.id, [held]), *asked), Deliver)
    told = second.turn(Done(deliver.seq, b"7"))
    assert [message.envelope.id for message in kinds(told, Deliver)] == ["id 2"]
    assert kinds(told, Result) == ([Result(1, b"7")] if is_request else [])
    assert second.engine.state.counters.of("p").settled == {"ok": 1}
    second.turn(Done(kinds(told, Deliver)[0].seq))
    assert (second.engine.state.entries, second.engine.state.size, len(second.engine.schedule.lanes)) == ({}, 0, 0)


def test_what_was_settled_first_and_is_late_is_not_started_again() -> None:
    terms = {"p": RouteTerms(ack_before=True)}
    first = Turns()
    (deliver,) = kinds(first.turn(Hello(0, 1, 10, terms), event(1), event(2)), Deliver)
    second = Turns(first.store)
    (other,) = kinds(second.turn(Hello(1, 2, 10, terms)), Deliver)  # the worker that has it was not expected
    held = Held(deliver.seq, deliver.attempt, deliver.envelope)
    assert not kinds(second.turn(Hello(0, 1, 10, terms, second.store.id, [held]), link=2), Deliver)
    assert not kinds(second.turn(Done(deliver.seq), link=2), Deliver)
    assert not kinds(second.turn(Done(other.seq)), Deliver)
    assert (second.engine.state.entries, second.engine.state.size) == ({}, 0)
