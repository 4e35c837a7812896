"""The folder of control sockets: whose it must be, and what is removed from it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_listener_supervisor.admin.status import state_in_a_word
from tiny_listener_supervisor.control.instances import control_folder, living, own_socket, why_not_trusted
from tiny_listener_supervisor.control.server import may_command

from tiny_listener.errors import CannotLoad

UID = os.geteuid()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment whose runtime folder is the test's."""
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def gone() -> int:
    """Return the pid of a process that is dead."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_where_the_folder_is(tmp_path: Path) -> None:
    assert control_folder({"XDG_RUNTIME_DIR": str(tmp_path)}, 7) == tmp_path / "tiny-listener"
    for value in ("", "relative", str(tmp_path / "missing")):
        assert control_folder({"XDG_RUNTIME_DIR": value}, 7) == Path("/tmp/tiny-listener-7")
    assert control_folder({}, 7) == Path("/tmp/tiny-listener-7")


def test_the_folder_is_made_for_its_user_alone(environ: dict[str, str], tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        assert own_socket(environ, UID, 12) == tmp_path / "tiny-listener" / "12.sock"
    finally:
        os.umask(before)
    assert (tmp_path / "tiny-listener").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_trusted(environ: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "tiny-listener"
    assert living(environ, UID) == {}
    folder.mkdir(0o700)
    assert why_not_trusted(folder, UID) is None
    words = f"{folder} belongs to user {UID}, not to {UID + 1}; it has to be yours"
    assert why_not_trusted(folder, UID + 1) == words
    for mode in (0o710, 0o701, 0o770):
        folder.chmod(mode)
        with pytest.raises(CannotLoad, match=f"is open to others \\(mode {mode:o}\\); chmod it to 700"):
            own_socket(environ, UID, 1)
        with pytest.raises(CannotLoad):
            living(environ, UID)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotLoad, match="is not a folder; remove it"):
        own_socket(environ, UID, 1)


def test_only_what_is_surely_dead_is_removed(environ: dict[str, str], tmp_path: Path) -> None:
    folder = own_socket(environ, UID, 1).parent
    dead = gone()
    names = [f"{dead}.sock", f"{os.getpid()}.sock", "other.sock", "note"]
    for name in names:
        (folder / name).touch()
    assert living(environ, UID) == {}  # this process lives, but does not listen there, or not yet
    assert sorted(path.name for path in folder.iterdir()) == sorted(names[1:])
    with socket.socket(socket.AF_UNIX) as listening:  # of a server whose pid means nothing here
        listening.bind(str(folder / f"{dead}.sock"))
        listening.listen(0)
        assert living(environ, UID) == {dead: folder / f"{dead}.sock"}
        assert set(living(environ, UID)) == {dead}  # its queue is full of the look before
    assert living(environ, UID) == {}
    assert not (folder / f"{dead}.sock").exists()


def test_who_may_command() -> None:
    assert may_command(1000, 1000)
    assert may_command(0, 1000)
    assert not may_command(1000, 0)
    assert not may_command(1001, 1000)


def test_the_state_of_a_server() -> None:
    assert state_in_a_word(ready=True, was_ready=True, stopping=False) == "ready"
    assert state_in_a_word(ready=False, was_ready=True, stopping=False) == "degraded"
    assert state_in_a_word(ready=False, was_ready=False, stopping=False) == "starting"
    assert state_in_a_word(ready=False, was_ready=True, stopping=True) == "stopping"
