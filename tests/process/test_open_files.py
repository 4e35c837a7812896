"""Which file descriptors are open."""

from __future__ import annotations

import os

import pytest

from tiny_listener.process import open_files as descriptors
from tiny_listener.process.open_files import open_descriptors


@pytest.mark.parametrize("folders", [("/proc/self/fd",), ("/nowhere", "/proc/self/fd"), (), ("/nowhere",)])
def test_all_that_are_open_are_found(folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "FOLDERS", folders)
    first, second = os.pipe()
    far = os.dup2(first, 900, inheritable=False)
    found = open_descriptors()
    assert found == sorted(found)
    assert {first, second, far} <= set(found)
    for fd in (first, second, far):
        os.close(fd)
    assert not {first, second, far} & set(open_descriptors())
    assert all(os.fstat(fd) for fd in open_descriptors())
