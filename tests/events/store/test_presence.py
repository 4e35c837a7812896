"""The files of the store are deleted, moved or replaced while they are open."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import timeit
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.events.store.samples import NOW, WINDOW, insert, seqs
from tests.events.workers import Worker, close
from tiny_listener.events.messages import Confirm, Deliver, Done, Refuse, Settled
from tiny_listener.events.questions import AskView, View
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings
from tiny_listener.events.store import presence as presences
from tiny_listener.events.store.ops import Delete, Start, StoreFailed
from tiny_listener.events.store.presence import Presence
from tiny_listener.events.store.sqlite import SQLiteStore


def delete(folder: Path) -> None:
    shutil.rmtree(folder)


def delete_the_database(folder: Path) -> None:
    (folder / "events.db").unlink()


def delete_the_wal(folder: Path) -> None:
    (folder / "events.db-wal").unlink()


def move(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))


def put_another_one_there(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.mkdir()
    SQLiteStore(folder, reserve=0).close()


def restore_a_backup(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("backup"))
    shutil.rmtree(folder)
    folder.with_name("backup").rename(folder)


WAYS = [delete, delete_the_database, delete_the_wal, move, put_another_one_there, restore_a_backup]
WORDS = "was deleted, moved or replaced while it was in use: put it back, or restart the server"


@pytest.mark.parametrize("way", WAYS)
def test_what_would_be_lost_is_refused_and_what_waits_is_handled(
    runner: asyncio.Runner, tmp_path: Path, way: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "store"

    async def main() -> None:
        service = EventService(EventSettings(str(folder)))
        service.start()
        worker = Worker(service)
        await worker.hello()
        for id in "abc":  # noqa: A001
            worker.publish(id)
        await worker.all(Confirm, 3)
        way(folder)
        for n in range(3):
            worker.publish(f"late {n}")
            assert WORDS in (await worker.all(Refuse, n + 1))[n].text
        for n in range(3):
            worker.send(Done((await worker.all(Deliver, n + 1))[n].seq))
        await worker.all(Settled)
        assert worker.ids == ["a", "b", "c"]
        view = await service.answer(AskView())
        assert isinstance(view, View)
        assert (view.waiting, WORDS in (view.failure or "")) == (0, True)
        await close(service, worker)

    with caplog.at_level(logging.INFO, "tiny_listener"):
        runner.run(main())
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    if way is put_another_one_there:
        other = SQLiteStore(folder)
        assert seqs(other) == []
        other.close()


def test_files_that_are_put_back_are_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    store = SQLiteStore(folder)
    store.load(NOW, WINDOW)
    store.commit([insert(1), insert(2)])
    move(folder)
    with pytest.raises(StoreFailed, match=WORDS):
        store.commit([insert(3)])
    store.commit([Start([1], NOW), Delete(1)])
    store.tidy(NOW)
    folder.with_name("moved").rename(folder)
    store.commit([insert(4)])
    store.close()
    again = SQLiteStore(folder)
    assert seqs(again) == [2, 4]
    again.close()


@given(st.lists(st.sampled_from(["away", "back", "other", "touch"]), max_size=8))
def test_it_is_there_if_it_is_the_same_file(tmp_path_factory: pytest.TempPathFactory, steps: list[str]) -> None:
    file = tmp_path_factory.mktemp("files") / "file"
    aside = file.with_name("aside")
    file.write_text("1")
    presence, is_ours = Presence(file), True
    for step in steps:
        if step == "away" and is_ours:
            file.rename(aside)
            is_ours = False
        elif step == "back" and not is_ours:
            aside.rename(file)
            is_ours = True
        elif step == "other" and not is_ours:
            file.write_text("2")
        elif step == "touch" and is_ours:
            file.write_text("3")
        assert (presence.lost() is None) == is_ours


def test_another_working_folder_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    presence = Presence(Path("file"))
    monkeypatch.chdir("/")
    assert presence.lost() is None


def test_what_may_not_be_looked_at_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    presence = Presence(tmp_path / "file")

    def refused(path: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(presences, "stat", refused)
    assert presence.lost() is None


def test_a_look_takes_little_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    presence = Presence(tmp_path / "file", tmp_path / "file")
    assert min(timeit.repeat(presence.lost, number=100, repeat=20)) / 100 < 100e-6
