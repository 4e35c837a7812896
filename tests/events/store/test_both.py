"""What the store on the disk does, and the one that keeps all in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.events.store import kept
from tests.events.store.samples import NOW, WINDOW, contents, envelope, event, insert, letter, seqs, to_dead, update
from tiny_listener.events.store import sqlite
from tiny_listener.events.store.ops import (
    Contents,
    Count,
    Delete,
    DropDead,
    Insert,
    Op,
    SetHalted,
    Start,
    Store,
    StoredEvent,
)
from tiny_listener.events.store.sqlite import SQLiteStore


@pytest.fixture(params=["sqlite", "kept"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = SQLiteStore(tmp_path) if request.param == "sqlite" else kept.KeptStore()
    yield opened
    opened.close()


def test_a_new_store_is_empty(store: Store) -> None:
    assert contents(store) == Contents()
    assert store.dead_letters() == []
    assert len(store.id) == 16
    assert store.id != kept.KeptStore().id


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    whole = envelope(1, data=b"\x00\xff", key="k", serial=False, cid="c", due=NOW + 1.5, expires=NOW + 2)
    store.commit([Insert(1, whole, NOW)])
    assert contents(store).events == [StoredEvent(1, whole)]
    assert contents(store).seen == [("id-1", NOW)]


def test_events_come_in_the_order_of_storage(store: Store) -> None:
    store.commit([insert(1), insert(2)])
    store.commit([insert(3), Delete(1), insert(4)])
    assert seqs(store) == [2, 3, 4]


def test_a_number_is_never_used_again(store: Store) -> None:
    store.commit([insert(1), insert(2), Delete(2)])
    assert contents(store).next_seq == 3
    store.commit([Delete(1)])
    assert contents(store).next_seq == 3
    assert contents(store, now=NOW + 2 * WINDOW).next_seq == 3
    assert contents(store).next_seq == 3


def test_what_is_inserted_and_deleted_at_once_leaves_its_id(store: Store) -> None:
    store.commit([insert(1), Start([1], NOW), update(1), Delete(1)])
    assert contents(store).events == []
    assert contents(store).seen == [("id-1", NOW)]


def test_a_start_counts(store: Store) -> None:
    store.commit([insert(1), insert(2)])
    store.commit([Start([1], NOW + 1), Start([1], NOW + 2)])
    assert event(store, 1) == StoredEvent(1, envelope(1), attempts=2, first_started=NOW + 1, is_started=True)
    assert event(store, 2) == StoredEvent(2, envelope(2))


UPDATED = StoredEvent(
    1, envelope(1), attempts=1, crashes=1, suspect=True, due=NOW + 9, error=("KeyError", "'x'"), first_started=NOW
)
STARTED_AGAIN = msgspec.structs.replace(UPDATED, attempts=2, is_started=True)


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ([Start([1], NOW), update(1)], UPDATED),
        ([update(1), Start([1], NOW + 5)], STARTED_AGAIN),
        ([Start([1], NOW), update(1), Start([1], NOW + 5)], STARTED_AGAIN),
        ([Start([1], NOW), update(1), Start([1], NOW + 5), update(1)], UPDATED),
        ([update(1, first_started=None), Start([1], NOW)], STARTED_AGAIN),
    ],
)
def test_an_update_replaces_earlier_starts(store: Store, ops: list[Op], expected: StoredEvent, at_once: bool) -> None:
    if at_once:
        store.commit([insert(1), *ops])
    else:
        for op in [insert(1), *ops]:
            store.commit([op])
    assert event(store, 1) == expected
    store.tidy(NOW)
    assert event(store, 1) == expected


def test_what_is_not_stored_any_more_is_left_alone(store: Store) -> None:
    store.commit([insert(1), Delete(1)])
    store.commit([Start([1], NOW), update(1), Delete(1), DropDead(7), SetHalted("k", None)])
    assert contents(store) == Contents(next_seq=2, seen=[("id-1", NOW)])


def test_dead_letters(store: Store) -> None:
    store.commit([insert(seq) for seq in (1, 2, 3)])
    store.commit([to_dead(1, 1), to_dead(2, 2, reason="crashed")])
    store.commit([to_dead(3, 3), to_dead(4, None)])
    assert contents(store).events == []
    assert contents(store).dead == {"attempts": 3, "crashed": 1}
    assert store.dead_letters()[0] == letter(1)

    def numbers(**terms: object) -> list[int]:
        return [one.number for one in store.dead_letters(**terms)]  # type: ignore[arg-type]

    assert numbers() == [1, 2, 3, 4]
    assert numbers(reason="attempts") == [1, 3, 4]
    assert numbers(after=1, limit=2) == [2, 3]
    assert numbers(reason="attempts", after=1, limit=1) == [3]
    assert numbers(id="id-1") == [1, 4]
    assert numbers(id="id-1", reason="crashed") == []
    assert numbers(limit=0) == []


def test_a_dropped_letter_keeps_its_number(store: Store) -> None:
    store.commit([to_dead(1, None), to_dead(2, None), DropDead(2)])
    store.commit([DropDead(1)])
    assert contents(store).dead == {}
    assert store.dead_letters() == []
    assert contents(store).next_dead == 3


def test_keys_wait_for_letters(store: Store) -> None:
    store.commit([to_dead(1, None), SetHalted("a", 1), SetHalted("b", 1)])
    store.commit([SetHalted("b", 2), SetHalted("a", None), SetHalted("c", 3), SetHalted("c", None)])
    assert contents(store).halted == {"b": 2}


def test_counters_have_their_last_values(store: Store) -> None:
    store.commit([Count("/a", b"1"), Count("/b", b"1"), Count("/a", b"2")])
    store.commit([Count("/b", b"\x00")])
    assert contents(store).counts == {"/a": b"2", "/b": b"\x00"}


def test_ids_are_seen_within_the_window(store: Store) -> None:
    store.commit([insert(1, at=NOW), insert(2, at=NOW + 1)])
    store.commit([insert(3, at=NOW + 2)])
    assert contents(store, now=NOW + WINDOW + 1).seen == [("id-2", NOW + 1), ("id-3", NOW + 2)]
    assert contents(store, now=NOW + WINDOW + 3).seen == []
    assert contents(store, now=NOW).seen == []


def test_an_id_that_comes_again_has_its_later_time(store: Store) -> None:
    store.commit([Insert(1, envelope(1), NOW), Insert(2, envelope(2), NOW + 1)])
    store.commit([Insert(3, envelope(1), NOW + 2)])
    assert contents(store).seen == [("id-2", NOW + 1), ("id-1", NOW + 2)]


def test_tidy_deletes_old_ids(store: Store) -> None:
    contents(store)
    store.commit([insert(1, at=NOW)])
    store.tidy(NOW + WINDOW)
    assert contents(store).seen == [("id-1", NOW)]
    store.tidy(NOW + WINDOW + 1)
    assert contents(store).seen == []
    assert contents(store).next_seq == 2


def test_a_busy_store_deletes_old_ids_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PRUNE_EVERY", 2)
    monkeypatch.setattr(kept, "PRUNE_EVERY", 2)
    contents(store)
    store.commit([insert(1, at=NOW)])
    store.commit([insert(2, at=NOW + WINDOW + 1)])
    assert [name for name, _ in contents(store).seen] == ["id-2"]


def test_without_a_window_no_id_is_old(store: Store) -> None:
    store.commit([insert(1, at=NOW)])
    store.tidy(NOW + 2 * WINDOW)
    assert contents(store).seen == [("id-1", NOW)]


def test_size_grows(store: Store) -> None:
    before = store.size(0)
    store.commit([*(insert(seq, data=b"x" * 10_000) for seq in range(1, 11)), to_dead(1, None)])
    assert store.size(0) - before >= 100_000


def test_what_is_loaded_is_a_copy(store: Store) -> None:
    store.commit([insert(1)])
    loaded = contents(store)
    loaded.events[0].attempts = 9
    loaded.counts["x"] = b""
    assert event(store, 1).attempts == 0
    assert contents(store).counts == {}


def test_something_else_is_no_operation(store: Store) -> None:
    with pytest.raises(TypeError, match="no operation"):
        store.commit(["x"])  # type: ignore[list-item]
    store.commit([insert(1)])
    assert seqs(store) == [1]


def test_an_empty_transaction(store: Store) -> None:
    store.commit([])
    store.commit([Start([], NOW), update(5)])
    assert contents(store) == Contents()
