"""The store in memory: what differs from the store on the disk."""

from __future__ import annotations

import logging

import pytest

from tests.events.store.samples import NOW, contents, envelope, insert, to_dead, update
from tiny_listener.events.store.memory import LETTER_SIZE, MemoryStore
from tiny_listener.events.store.ops import Contents, Delete, DropDead, SetHalted, Start


def numbers(store: MemoryStore) -> list[int]:
    return [letter.number for letter in store.dead_letters(limit=100)]


def test_the_oldest_letters_are_dropped_and_the_log_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(max_dead=3)
    with caplog.at_level(logging.WARNING, "tiny_listener"):
        store.commit([to_dead(number, None) for number in (1, 2, 3)])
        assert not caplog.records
        store.commit([to_dead(number, None) for number in (4, 5)])
    assert numbers(store) == [3, 4, 5]
    assert contents(store).next_dead == 6
    (record,) = caplog.records
    assert "keeps 3 dead letters" in record.getMessage()


def test_a_letter_that_a_key_waits_for_is_kept() -> None:
    store = MemoryStore(max_dead=2)
    store.commit([to_dead(1, None), SetHalted("a", 1), to_dead(2, None), to_dead(3, None)])
    assert numbers(store) == [1, 3]
    store.commit([SetHalted("b", 3), to_dead(4, None)])
    assert numbers(store) == [1, 3]
    store.commit([SetHalted("c", 4), to_dead(5, None), SetHalted("d", 5), DropDead(1), to_dead(6, None)])
    assert len(numbers(store)) == 2


def test_a_letter_is_dropped_even_if_keys_wait_for_all() -> None:
    store = MemoryStore(max_dead=1)
    store.commit([SetHalted("a", 1), to_dead(1, None), SetHalted("b", 2), to_dead(2, None)])
    assert numbers(store) == [2]


def test_size_is_that_of_events_and_letters() -> None:
    store = MemoryStore()
    assert store.size(0) == 0
    store.commit([to_dead(1, None)])
    assert store.size(1000) == 1000 + LETTER_SIZE + len(envelope(1).data)


def test_unsettled_events_are_left_to_the_engine() -> None:
    store = MemoryStore()
    store.commit([insert(1), Start([1], NOW), update(1), Delete(1), insert(2)])
    assert contents(store) == Contents()


def test_something_else_is_no_operation() -> None:
    with pytest.raises(TypeError, match="no operation"):
        MemoryStore().commit(["x"])  # type: ignore[list-item]


def test_another_store_has_another_id() -> None:
    first, second = MemoryStore(), MemoryStore()
    assert first.id != second.id
    first.close()
    second.close()
