"""Imports without a temporary folder."""

from __future__ import annotations

import tempfile

import pytest
from tiny_listener_supervisor.system.temporary import needless_folder


def test_where_there_is_no_folder_one_is_named_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_get_default_tempdir", none)
    with needless_folder():
        assert tempfile.gettempdir() == "/"
    with pytest.raises(FileNotFoundError):
        tempfile.gettempdir()


def test_a_folder_that_is_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/some/folder")
    with needless_folder():
        assert tempfile.gettempdir() == "/some/folder"
    assert tempfile.gettempdir() == "/some/folder"
