"""A disk without room, and one that fails: nothing of the transaction is stored, and a later one may be."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.events.store.samples import NOW, WINDOW, contents, insert, seqs, to_dead, update
from tiny_listener.events.store.ops import Delete, Start, StoreFailed
from tiny_listener.events.store.sqlite import SQLiteStore

ROOM = 4 * 1024 * 1024
RESERVE = 1024 * 1024


class Disk:
    """A small disk: a real one where this process may mount, otherwise a limit of SQLite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(folder)]
        self.is_real = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
        self._ballast = folder / "ballast"

    def fill(self, store: SQLiteStore) -> None:
        if self.is_real:
            with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 4096)
        else:
            self._limit(store, self._pages(store))
            release = store._reserve.release

            def give_room() -> bool:
                self._limit(store, self._pages(store) + RESERVE // 4096)
                return release()

            store._reserve.release = give_room  # type: ignore[method-assign]

    def empty(self, store: SQLiteStore) -> None:
        if self.is_real:
            self._ballast.unlink()
        else:
            self._limit(store, 1_000_000)
            store._reserve.release = lambda: False  # type: ignore[method-assign]

    @staticmethod
    def _limit(store: SQLiteStore, pages: int) -> None:
        store._db.execute(f"PRAGMA max_page_count = {pages}")

    @staticmethod
    def _pages(store: SQLiteStore) -> int:
        return int(store._db.execute("PRAGMA page_count").fetchone()[0])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    if disk.is_real:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_full_disk(disk: Disk) -> None:
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    contents(store)
    store.commit([insert(1), insert(2)])
    before = contents(store)
    disk.fill(store)
    for _ in range(3):
        with pytest.raises(StoreFailed, match=r"^the disk is full$"):
            store.commit([Start([1], NOW), Delete(2), to_dead(1, None), insert(3, data=b"x" * 2 * ROOM)])
        assert contents(store) == before
    disk.empty(store)
    store.commit([Start([1], NOW), Delete(2), insert(3, data=b"x" * 100_000)])
    assert seqs(store) == [1, 3]
    store.close()
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    assert seqs(store) == [1, 3]
    store.close()


def test_events_are_settled_on_a_full_disk(disk: Disk) -> None:
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    contents(store)
    for seq in range(1, 51):
        store.commit([insert(seq, data=b"x" * 2000)])
    store.tidy(NOW)
    disk.fill(store)
    failed = None
    for seq in range(51, 200):
        try:
            store.commit([insert(seq, data=b"x" * 2000)])
        except StoreFailed as exc:
            failed = exc
            break
    assert str(failed) == "the disk is full"
    for seq in range(1, 51):
        with contextlib.suppress(StoreFailed):  # publishers try again and again
            store.commit([insert(1000 + seq, data=b"x" * 2000)])
        store.commit([Start([seq], NOW)])
        store.tidy(NOW)
        store.commit([update(seq)])
        store.commit([to_dead(seq, seq) if seq % 2 else Delete(seq)])
        store.tidy(NOW)
    if disk.is_real:
        assert not [seq for seq in seqs(store) if seq > 1000]
    assert not [seq for seq in seqs(store) if seq <= 50]
    disk.empty(store)
    store.commit([insert(2000)])
    assert 2000 in seqs(store)
    store.close()


def test_what_was_stored_before_moves_on_a_full_disk(disk: Disk) -> None:
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    contents(store)
    for seq in range(1, 51):
        store.commit([insert(seq, data=b"x" * 2000)])
    disk.fill(store)
    with contextlib.suppress(StoreFailed):
        for seq in range(51, 2000):
            store.commit([insert(seq, data=b"x" * 2000)])
    left = [seq for seq in seqs(store) if seq > 50]
    for seq in range(1, 51):  # delayed events fall due, or dead letters are put back
        moved = msgspec.structs.replace(insert(5000 + seq, data=b"x" * 2000), is_new=False)
        store.commit([Delete(seq), moved])
        store.tidy(NOW)
    assert seqs(store) == [*left, *range(5001, 5051)]
    store.close()


def test_what_inserts_nothing_is_written_at_once_with_the_reserve(disk: Disk) -> None:
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    contents(store)
    store.commit([insert(1)])
    disk.fill(store)
    assert store._reserve.is_held
    store.commit([to_dead(number, number) for number in range(1, 100)])
    assert not store._reserve.is_held
    assert contents(store).dead == {"attempts": 99}
    assert seqs(store) == []
    store.tidy(NOW)
    assert store._reserve.is_held is not disk.is_real  # from a disk that is full, it would be taken at once
    disk.empty(store)
    store.tidy(NOW)
    assert store._reserve.is_held
    store.close()


@pytest.fixture
def no_file_grows(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Set the largest size of a file: a write beyond it fails, as on a disk that fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_fails(tmp_path: Path, no_file_grows: Callable[[int], None]) -> None:
    store = SQLiteStore(tmp_path)
    contents(store)
    store.commit([insert(1)])
    before = contents(store)
    no_file_grows(store._wal_size())
    with pytest.raises(StoreFailed, match=r"^the disk cannot be read or written \(SQLITE_IOERR_WRITE\)$"):
        store.commit([Start([1], NOW), insert(2)])
    assert contents(store) == before
    no_file_grows(resource.RLIM_INFINITY)
    store.commit([insert(2)])
    assert seqs(store) == [1, 2]
    store.close()


def test_events_are_settled_while_no_file_may_grow(tmp_path: Path, no_file_grows: Callable[[int], None]) -> None:
    """As with a quota (EDQUOT), or a limit of the process (EFBIG)."""
    store = SQLiteStore(tmp_path, reserve=RESERVE)
    contents(store)
    for seq in range(1, 51):
        store.commit([insert(seq, data=b"x" * 2000)])
    no_file_grows(store._wal_size())
    for seq in range(1, 51):
        with contextlib.suppress(StoreFailed):
            store.commit([insert(1000 + seq, data=b"x" * 2000)])
        store.commit([Start([seq], NOW)])
        store.commit([to_dead(seq, seq) if seq % 2 else Delete(seq)])
        store.tidy(NOW)
    no_file_grows(resource.RLIM_INFINITY)
    assert not [seq for seq in seqs(store) if seq <= 50]
    store.commit([insert(2000)])
    assert 2000 in seqs(store)
    store.close()


def test_a_full_disk_does_not_prevent_loading(disk: Disk) -> None:
    store = SQLiteStore(disk.folder, reserve=RESERVE)
    contents(store)
    store.commit([insert(1, at=NOW - WINDOW)])
    disk.fill(store)
    loaded = contents(store, now=NOW + 1)
    assert (len(loaded.events), loaded.seen, loaded.next_seq) == (1, [], 2)
    store.tidy(NOW + 1)
    disk.empty(store)
    store.close()
