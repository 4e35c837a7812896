"""Room that is kept for a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tiny_listener.events.store.reserve import BLOCK, Reserve

SIZE = 1024 * 1024


def taken(path: Path) -> int:
    return path.stat().st_blocks * BLOCK


def test_it_takes_room_and_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path, SIZE)
    assert not reserve.is_held
    assert reserve.hold()
    assert reserve.hold()
    assert taken(path) >= SIZE
    assert reserve.release()
    assert not path.exists()
    assert not reserve.is_held
    assert not reserve.release()
    assert reserve.hold()


def test_the_room_of_an_earlier_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reserve"
    assert Reserve(path, SIZE).hold()
    monkeypatch.setattr(os, "posix_fallocate", None)
    assert Reserve(path, SIZE).hold()


def test_where_the_system_cannot_allocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate")
    path = tmp_path / "reserve"
    assert Reserve(path, SIZE + 1).hold()
    assert path.stat().st_size == SIZE + 1
    assert taken(path) > SIZE


def test_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path, 2**60)
    assert not reserve.hold()
    assert not reserve.is_held
    assert not path.exists()


def test_none(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", 0)
    assert reserve.hold()
    assert not reserve.release()
    assert reserve.is_held
    assert not list(tmp_path.iterdir())
