"""The store on the disk: what survives, what is refused, and how it stays small."""

from __future__ import annotations

import itertools
import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.events.store.samples import NOW, WINDOW, contents, event, insert, letter, seqs, to_dead, update
from tests.server import ROOT
from tiny_listener.errors import CarrierError
from tiny_listener.events.store import sqlite
from tiny_listener.events.store.ops import Count, Delete, Op, SetHalted, Start, StoreFailed
from tiny_listener.events.store.schema import FILE, connect
from tiny_listener.events.store.sqlite import SQLiteStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path)
    contents(opened)
    yield opened
    opened.close()


def count(store: SQLiteStore, table: str) -> int:
    return int(store._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def reason(folder: Path, *, partitions: int = 64) -> str:
    with pytest.raises(CarrierError) as caught, closing(SQLiteStore(folder, partitions=partitions)) as store:
        store.load(NOW, WINDOW)
    text = str(caught.value)
    assert "\n" not in text
    return text


def execute(folder: Path, *statements: str) -> None:
    """Change a closed database as another program would."""
    db = sqlite3.connect(folder / FILE, isolation_level=None)
    for statement in statements:
        db.execute(statement)
    db.close()


def test_all_survives_a_restart(tmp_path: Path) -> None:
    first = SQLiteStore(tmp_path)
    first.commit([insert(1), insert(2), insert(3), Start([1, 2], NOW)])
    first.commit([update(2), to_dead(1, 3), SetHalted("k", 1), Count("/a", b"7"), insert(4), Delete(4)])
    before = contents(first)
    first.close()
    second = SQLiteStore(tmp_path)
    assert contents(second) == before
    assert [one.is_started for one in before.events] == [True, False]
    assert (before.next_seq, before.next_dead) == (5, 2)
    assert second.id == first.id
    assert second.dead_letters() == [letter(1, seq=3)]
    second.close()


def test_an_update_after_a_restart_replaces_earlier_starts(tmp_path: Path) -> None:
    for op in (insert(1), Start([1], NOW), update(1, attempts=3), Start([1], NOW), update(1, attempts=4)):
        store = SQLiteStore(tmp_path)
        contents(store)
        store.commit([op])
        store.close()
    store = SQLiteStore(tmp_path)
    assert (event(store, 1).attempts, event(store, 1).is_started) == (4, False)
    store.close()


def test_where_there_is_no_wal() -> None:
    with pytest.raises(CarrierError, match=r"cannot share memory, which SQLite needs for its WAL \(mode 'memory'\)"):
        connect(Path(":memory:"), "normal", 64)


@pytest.mark.parametrize(("sync", "value"), [("normal", 1), ("full", 2)])
def test_modes(tmp_path: Path, sync: str, value: int) -> None:
    store = SQLiteStore(tmp_path, sync=sync)  # type: ignore[arg-type]
    pragmas = {"journal_mode": "wal", "synchronous": value, "wal_autocheckpoint": 0, "user_version": 1}
    for name, expected in pragmas.items():
        assert store._db.execute(f"PRAGMA {name}").fetchone()[0] == expected
    store.close()


def test_another_thread_may_commit(store: SQLiteStore) -> None:
    thread = threading.Thread(target=store.commit, args=([insert(1)],))
    thread.start()
    thread.join()
    assert seqs(store) == [1]


def test_what_ends_within_its_transaction_is_not_written(store: SQLiteStore) -> None:
    store.commit([insert(1), Start([1], NOW), update(1), Delete(1)])
    store.commit([insert(2), Start([2], NOW), to_dead(1, 2)])
    assert (count(store, "events"), count(store, "starts"), count(store, "seen")) == (0, 0, 2)


def test_starts_are_folded_when_little_else_happens(store: SQLiteStore) -> None:
    store.commit([insert(seq) for seq in (1, 2, 3)])
    store.commit([Start([1, 2, 3], NOW), Start([1], NOW + 1)])
    store.commit([update(2), Delete(3)])
    before = contents(store)
    store.tidy(NOW)
    assert count(store, "starts") == 0
    assert contents(store) == before
    assert [(one.attempts, one.is_started) for one in before.events] == [(2, True), (1, False)]
    store.commit([Start([2], NOW + 2)])
    assert (event(store, 2).attempts, event(store, 2).first_started) == (2, NOW)


def test_starts_are_folded_by_a_busy_store(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "FOLD_ROWS", 3)
    store.commit([insert(1)])
    for number in range(1, 10):
        store.commit([Start([1], NOW)])
        assert count(store, "starts") == number % 3
        assert event(store, 1).attempts == number


def test_the_wal_is_copied_when_little_else_happens(store: SQLiteStore, tmp_path: Path) -> None:
    store.commit([insert(1, data=b"x" * 200_000)])
    assert (tmp_path / FILE).stat().st_size < 200_000
    store.tidy(NOW)
    assert (tmp_path / FILE).stat().st_size > 200_000
    assert not store._is_dirty


def test_the_wal_of_a_busy_store_is_truncated(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_LIMIT", 100_000)
    store._truncate_above = 100_000
    sizes = []
    for seq in range(1, 200):
        store.commit([insert(seq, data=b"x" * 2_000), Delete(seq - 1)])
        sizes.append(store._wal_size())
    a_commit = 40_000
    assert 100_000 < max(sizes) < 100_000 + sqlite.WAL_LOOK * a_commit
    assert min(sizes[20:]) < 100_000


def test_tidy_truncates_a_large_wal(store: SQLiteStore) -> None:
    store.commit([insert(1, data=b"x" * 200_000)])
    store._truncate_above = 100_000
    store.tidy(NOW)
    assert store._wal_size() == 0
    assert store._truncate_above == sqlite.WAL_LIMIT


def test_a_reader_does_not_stop_commits(store: SQLiteStore, tmp_path: Path) -> None:
    store.commit([insert(1, data=b"x" * 200_000)])
    reader = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
    store.commit([insert(2, data=b"x" * 200_000)])
    store._truncate_above = 100_000
    store.tidy(NOW)
    assert store._wal_size() > 400_000
    assert store._truncate_above > sqlite.WAL_LIMIT  # not at each commit from now on
    store.commit([insert(3)])
    reader.close()
    store._truncate_above = 100_000
    store.tidy(NOW)
    assert store._wal_size() == 0
    assert seqs(store) == [1, 2, 3]


def test_a_locked_database_fails_a_commit(store: SQLiteStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store.commit([insert(1), Start([1], NOW)])
    store._db.execute("PRAGMA busy_timeout = 0")
    writer = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed, match="another process has locked the database"):
        store.commit([insert(2)])
    with caplog.at_level(logging.WARNING, "tiny_listener"):
        store.tidy(NOW)
        store.tidy(NOW)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "The store of events cannot fold its journal, and grows",
        "The store of events cannot delete old ids, and grows",
    ]
    writer.close()
    store.commit([insert(2)])
    store.tidy(NOW)
    assert seqs(store) == [1, 2]
    assert event(store, 1).attempts == 1


def test_nothing_of_a_failed_transaction_is_visible(store: SQLiteStore, tmp_path: Path) -> None:
    store.commit([insert(1), insert(2), to_dead(1, None)])
    before = contents(store)
    ops: list[Op] = [insert(3), Start([1], NOW), update(2), Delete(1), Count("/a", b"1"), SetHalted("k", 1)]
    with pytest.raises(StoreFailed, match="UNIQUE"):
        store.commit([*ops, to_dead(1, 2)])
    assert contents(store) == before
    store.tidy(NOW)
    assert contents(store) == before
    store.commit(ops)
    assert seqs(store) == [2, 3]


@pytest.mark.parametrize("value", [2**70, "\ud800", object()])
def test_a_value_that_cannot_be_encoded(store: SQLiteStore, value: object) -> None:
    store.commit([insert(1)])
    bad = insert(2)
    bad.envelope.params = {"x": value}  # type: ignore[dict-item]
    with pytest.raises(StoreFailed, match=r"^a value cannot be stored: .+$"):
        store.commit([Delete(1), bad])
    assert seqs(store) == [1]


def test_a_closed_store_fails(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(StoreFailed, match="closed"):
        store.commit([insert(1)])
    with pytest.raises(CarrierError, match="closed"):
        store.dead_letters()


def test_size_of_a_store_whose_files_are_gone(store: SQLiteStore, tmp_path: Path) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    assert store.size(0) == 0


@pytest.mark.parametrize("version", [2, 77, -1])
def test_another_schema_is_refused(tmp_path: Path, version: int) -> None:
    SQLiteStore(tmp_path).close()
    execute(tmp_path, "PRAGMA journal_mode = DELETE", f"PRAGMA user_version = {version}")
    before = (tmp_path / FILE).read_bytes()
    assert f"has version {version} of the schema, and this version of tiny-listener reads version 1" in reason(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    execute(tmp_path, "CREATE TABLE users (name TEXT)")
    before = (tmp_path / FILE).read_bytes()
    assert "is a database of another program" in reason(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


@pytest.mark.parametrize("content", [b"x" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert f"{tmp_path / FILE} is no SQLite database, or is damaged" in reason(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    store.commit([insert(seq, data=b"x" * 1000) for seq in range(1, 50)])
    root = store._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()[0]
    store.close()
    with (tmp_path / FILE).open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert "cannot be read: the database is damaged" in reason(tmp_path)


def test_an_event_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    SQLiteStore(tmp_path).close()
    execute(tmp_path, "INSERT INTO events (seq, envelope) VALUES (1, x'c1')")
    assert "has an event that this version of tiny-listener cannot read" in reason(tmp_path)


def test_a_letter_that_cannot_be_read_is_refused(tmp_path: Path, store: SQLiteStore) -> None:
    execute(tmp_path, "INSERT INTO dead VALUES (1, 'x', 'attempts', x'c1')")
    with pytest.raises(CarrierError, match=r"The dead letters in .* cannot be read"):
        store.dead_letters()


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    assert "the database cannot be opened (SQLITE_CANTOPEN)" in reason(tmp_path / "missing")


def test_a_folder_without_shared_memory(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}-shm").mkdir()
    assert str(tmp_path / FILE) in reason(tmp_path)


def test_another_number_of_partitions_waits_for_the_events(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path, partitions=64)
    store.commit([insert(1), insert(2)])
    store.close()
    text = "has 64 partitions and 2 waiting events, and cannot be changed to 32 partitions: set 64, or"
    assert text in reason(tmp_path, partitions=32)

    store = SQLiteStore(tmp_path, partitions=64)
    store.commit([Delete(1), Delete(2)])
    store.close()
    SQLiteStore(tmp_path, partitions=32).close()
    store = SQLiteStore(tmp_path, partitions=32)
    store.commit([insert(3)])
    store.close()
    assert "has 32 partitions and 1 waiting events" in reason(tmp_path, partitions=64)


def test_a_creation_that_is_cut_off_starts_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tiny_listener.events.store import schema

    with monkeypatch.context() as patch:
        patch.setattr(schema, "TABLES", (*schema.TABLES, "CREATE nonsense"))
        assert "syntax error" in reason(tmp_path)
    store = SQLiteStore(tmp_path)
    assert contents(store).next_seq == 1
    store.close()


def test_the_hot_path_reads_nothing(store: SQLiteStore) -> None:
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    for seq in itertools.islice(itertools.count(1), 50):
        store.commit([insert(seq), Start([seq], NOW), Delete(seq - 1)])
    store._db.set_trace_callback(None)
    assert statements.count("COMMIT") == 50
    assert not [text for text in statements if text.startswith("SELECT")]


COMMIT = """
import sys
from tests.events.store.samples import NOW, WINDOW, insert
from tiny_listener.events.store.ops import Delete, Start
from tiny_listener.events.store.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
store.load(NOW, WINDOW)
for seq in range(1, 1_000_000):
    store.commit([insert(seq), Start([seq], NOW), *([] if seq % 10 else [Delete(seq - 1)])])
    print(seq, flush=True)
    if seq % 50 == 0:
        store.tidy(NOW)
"""


def test_what_was_committed_survives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", COMMIT, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(500)]
        process.kill()
        lines += process.stdout.readlines()
        confirmed = max(int(line) for line in lines if line.endswith(b"\n"))
    store = SQLiteStore(tmp_path)
    loaded = contents(store)
    assert loaded.next_seq in (confirmed + 1, confirmed + 2)
    assert {one.seq for one in loaded.events if one.seq <= confirmed} == {
        seq for seq in range(1, confirmed + 1) if (seq + 1) % 10 or seq + 1 >= loaded.next_seq
    }
    assert all(one.is_started and one.attempts == 1 for one in loaded.events)
    store.close()
