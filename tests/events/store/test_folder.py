"""Where the store is on the disk, which folders are refused, and who holds the lock."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tiny_listener.errors import CarrierError
from tiny_listener.events.store import folder as module
from tiny_listener.events.store.folder import NETWORK, Mount, default_folder, mount_of, open_folder

MOUNTINFO = r"""
23 28 0:21 / /proc rw,nosuid,nodev - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 28 0:40 / /mnt/home rw shared:7 master:2 - nfs4 server:/home rw,vers=4.2
32 31 254:2 / /mnt/home/local rw - xfs /dev/vdb rw
33 28 0:41 / /mnt/with\040blank\134slash rw - cifs //server/share rw
34 28 254:3 / /srv rw - ext4 /dev/vdc rw
35 34 0:42 / /srv rw - fuse.sshfs me@host:/ rw
a line that is none
36 28 - short
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/var/lib/x", Mount("/", "ext4")),
        ("/", Mount("/", "ext4")),
        ("/proc/self", Mount("/proc", "proc")),
        ("/mnt/home", Mount("/mnt/home", "nfs4")),
        ("/mnt/home/me/events", Mount("/mnt/home", "nfs4")),
        ("/mnt/homes", Mount("/", "ext4")),
        ("/mnt/home/local/x", Mount("/mnt/home/local", "xfs")),
        ("/mnt/with blank\\slash/x", Mount("/mnt/with blank\\slash", "cifs")),
        ("/srv/x", Mount("/srv", "fuse.sshfs")),
    ],
)
def test_the_mount_of_a_path(path: str, expected: Mount) -> None:
    assert mount_of(path, MOUNTINFO) == expected


def test_a_path_without_a_mount() -> None:
    assert mount_of("/x", "") is None


def test_local_types_are_no_network() -> None:
    assert not NETWORK & {"ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "fuse.fuse-overlayfs", "apfs", "fuseblk"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/shop", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/var/lib/shop/events"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a/events"),
        ({"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x"}, "/x/tiny-listener/shop"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/tiny-listener/shop"),
        ({"HOME": "/h"}, "/h/.local/state/tiny-listener/shop"),
    ],
)
def test_default_folder(environ: dict[str, str], expected: str) -> None:
    assert default_folder("shop", environ) == Path(expected)


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("shop.main:app", "shop.main-app"),
        ("../../etc", "etc"),
        ("a/b\nü c", "a-b-c"),
        ("..", "app"),
        ("", "app"),
        ("x" * 300, "x" * 100),
    ],
)
def test_the_name_of_an_application_becomes_one_folder(app: str, expected: str) -> None:
    assert default_folder(app, {"XDG_STATE_HOME": "/x"}) == Path("/x/tiny-listener") / expected


def test_without_home_it_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/of/the/user")
    assert default_folder("a", {}) == Path("/of/the/user/.local/state/tiny-listener/a")


def test_a_user_without_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(self: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", no_home)
    with pytest.raises(CarrierError, match="--events sqlite:DIR"):
        default_folder("a", {})


def reason(path: Path, **terms: int) -> str:
    with pytest.raises(CarrierError) as caught:
        open_folder(path, **terms)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_it_is_created_for_its_user_alone(tmp_path: Path) -> None:
    with open_folder(tmp_path / "a" / "b") as folder:
        assert folder.path == (tmp_path / "a" / "b").resolve()
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert (folder.path / "lock").read_text() == f"{os.getpid()}\n"


def test_it_is_found_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with open_folder(str(tmp_path / "link")) as folder:
        assert folder.path == (tmp_path / "real").resolve()
        assert "is used by process" in reason(tmp_path / "real")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} is no folder" in reason(tmp_path / "file")
    assert "is no folder" in reason(tmp_path / "file" / "below")


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert str(tmp_path / "a") in reason(tmp_path / "a")


@pytest.fixture
def as_nobody() -> Iterator[Callable[[], None]]:
    """Root may write everywhere; the kernel asks for the rights of the effective user."""
    user = os.geteuid()

    def become() -> None:
        if user == 0:
            os.seteuid(65534)

    yield become
    os.seteuid(user)


def test_a_folder_that_cannot_be_created_is_refused(tmp_path: Path, as_nobody: Callable[[], None]) -> None:
    _open_to_others(tmp_path)
    tmp_path.chmod(0o555)
    as_nobody()
    text = reason(tmp_path / "events")
    assert "cannot be created: Permission denied; create it so that user " in text


def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path, as_nobody: Callable[[], None]) -> None:
    _open_to_others(tmp_path)
    tmp_path.chmod(0o555)
    as_nobody()
    assert "is not writable (Permission denied: " in reason(tmp_path)


def _open_to_others(path: Path) -> None:
    for parent in (path, *path.parents):
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "lock").symlink_to("other")
    assert "is not writable" in reason(tmp_path)
    assert (tmp_path / "other").read_text() == "precious"


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 0 0:1 / {tmp_path.resolve()} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(module, "MOUNTS", mounts)
    text = reason(tmp_path / "events")
    assert f"is on a network file system (nfs4, mounted on {tmp_path.resolve()})" in text
    assert "choose a folder on a local disk" in text
    assert not (tmp_path / "events" / "lock").exists()


def test_where_the_system_does_not_tell_its_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOUNTS", tmp_path / "missing")
    open_folder(tmp_path / "events").close()


def test_a_full_disk_is_refused(tmp_path: Path) -> None:
    text = reason(tmp_path, least_room=2**62)
    assert "MiB free, and the store of events needs at least 4398046511104.0 MiB: free some" in text


def test_where_the_system_does_not_tell_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(path: Path) -> os.statvfs_result:
        raise OSError(errno.ENOSYS, "not implemented")

    monkeypatch.setattr(os, "statvfs", unknown)
    open_folder(tmp_path).close()


@pytest.mark.parametrize(("number", "word"), [(errno.ENOLCK, "locked"), (errno.ENOSPC, "written")])
def test_a_lock_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, word: str) -> None:
    def fail(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    assert f"lock cannot be {word} ({os.strerror(number)})" in reason(tmp_path)


HOLD = """
import sys
from tiny_listener.events.store.folder import open_folder
folder = open_folder(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield process
        process.kill()


def test_a_folder_that_another_process_holds_is_refused(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    text = reason(tmp_path)
    assert text == (
        f"{tmp_path.resolve()} is used by process {holder.pid}: only one server at a time can use a store of events; "
        "stop that one, or choose another folder"
    )
    assert (tmp_path / "lock").read_text() == f"{holder.pid}\n"


def test_a_lock_ends_with_its_process(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with open_folder(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_holder_that_has_not_written_its_number(tmp_path: Path) -> None:
    with open_folder(tmp_path):
        (tmp_path / "lock").write_text("")
        assert "is used by another process: " in reason(tmp_path)


def test_a_closed_folder_is_free_even_if_a_child_has_inherited_it(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    inherited = os.dup(folder._fd)  # as a child of fork has it: the same open file description
    folder.close()
    folder.close()
    open_folder(tmp_path).close()
    os.close(inherited)


def test_a_child_that_outlives_its_parent_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A worker process of an application goes on for a moment after its server was killed."""
    program = (
        "import os, sys, time; from tiny_listener.events.store.folder import open_folder\n"
        f"folder = open_folder({str(tmp_path)!r})\n"
        "if os.fork() == 0: print(os.getpid(), flush=True); time.sleep(60)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert "is used by" in reason(tmp_path)
        parent.kill()
        parent.wait()
        try:
            open_folder(tmp_path).close()
        finally:
            os.kill(child, signal.SIGKILL)
