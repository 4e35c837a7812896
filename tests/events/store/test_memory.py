"""The store in memory: what differs from the store on the disk."""

from __future__ import annotations

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.store.samples import NOW, WINDOW, contents, envelope, insert, to_dead, update
from tiny_listener.events.engine import Engine
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Deliver, Done, Failed, Hello, Publish
from tiny_listener.events.policy import Reason, RouteTerms
from tiny_listener.events.settings import Limits
from tiny_listener.events.store.memory import LETTER_SIZE, MAX_DEAD, MemoryStore
from tiny_listener.events.store.ops import Contents, Delete, Start


class Letters:
    """An engine with a store that keeps few letters. Each event has its key and halts it, or has none."""

    def __init__(self, max_dead: int) -> None:
        self.store = MemoryStore(max_dead=max_dead)
        self.engine = Engine(self.store.load(0.0, WINDOW), Limits(), 0.0)
        self.published = 0
        self.turn(Hello(0, 1, 10, {"plain": RouteTerms(), "halts": RouteTerms(halt=True)}))

    def turn(self, *messages: object) -> list[Deliver]:
        self.engine.hear(1, messages, 0.0)
        effects = self.engine.take(0.0)
        self.store.commit(effects.ops)
        return [one for one in effects.sends[1] if isinstance(one, Deliver)]

    def die(self, key: str | None = None, reason: Reason = "attempts") -> None:
        """Give up one event more; it halts its key."""
        self.published += 1
        number = self.published
        event = Envelope(f"id-{number}", "p", "plain" if key is None else "halts", b"", 0.0, key)
        for deliver in self.turn(Publish(number, event, 0.0)):
            self.turn(Failed(deliver.seq, "error", "E", "", None, reason))

    @property
    def numbers(self) -> list[int]:
        return [letter.number for letter in self.store.dead_letters(limit=100)]

    @property
    def counted(self) -> Counter[str]:
        return +Counter(self.engine.letters.by_reason)


def test_the_oldest_letters_are_dropped_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Letters(3)
    with caplog.at_level(logging.WARNING, "tiny_listener"):
        for _ in range(3):
            one.die()
        assert not caplog.records
        for _ in range(2):
            one.die()
    assert one.numbers == [3, 4, 5]
    assert one.counted == {"attempts": 3}
    assert contents(one.store).next_dead == 6
    (record,) = caplog.records
    assert "keeps 3 dead letters" in record.getMessage()


def test_a_letter_that_a_key_waits_for_is_the_last_to_go() -> None:
    one = Letters(2)
    one.die("a")
    one.die()
    one.die()
    assert one.numbers == [1, 3]
    one.die("b")
    assert one.numbers == [1, 4]
    one.die("c")  # keys wait for all
    assert one.numbers == [4, 5]
    assert one.engine.letters.halted == {"a": 1, "b": 4, "c": 5}
    assert one.engine.letters.skip("b")
    one.die()
    assert one.numbers == [5, 6]


STEPS = st.tuples(
    st.sampled_from(["die", "die", "die", "skip", "redrive", "discard"]),
    st.sampled_from([None, "a", "b", "c"]),
    st.sampled_from(["attempts", "rejected"]),
)


@given(st.integers(1, 4), st.lists(STEPS, max_size=40))
def test_what_is_counted_is_what_is_kept(max_dead: int, steps: list[tuple[str, str | None, Reason]]) -> None:
    one = Letters(max_dead)
    for step, key, reason in steps:
        letters = one.engine.letters
        kept = one.store.dead_letters()
        if step == "die":
            one.die(key, reason)
        elif step == "skip":
            letters.skip(key or "")
        elif kept and step == "discard":
            letters.discard(kept[-1])
        elif kept:
            letters.redrive(kept[0], 0.0)
        for deliver in one.turn():  # of keys that go on
            one.turn(Done(deliver.seq))
        assert one.counted == Counter(letter.reason for letter in one.store.dead_letters())
        assert len(one.numbers) <= max_dead


def test_size_is_that_of_events_and_letters() -> None:
    store = MemoryStore()
    assert store.size(0) == 0
    store.commit([to_dead(1, None)])
    assert store.size(1000) == 1000 + LETTER_SIZE + len(envelope(1).data)


def test_unsettled_events_are_left_to_the_engine() -> None:
    store = MemoryStore()
    store.commit([insert(1), Start([1], NOW), update(1), Delete(1), insert(2)])
    assert contents(store) == Contents(max_dead=MAX_DEAD)


def test_something_else_is_no_operation() -> None:
    with pytest.raises(TypeError, match="no operation"):
        MemoryStore().commit(["x"])  # type: ignore[list-item]


def test_another_store_has_another_id() -> None:
    first, second = MemoryStore(), MemoryStore()
    assert first.id != second.id
    first.close()
    second.close()
