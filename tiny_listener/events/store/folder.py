"""The folder of the store on the disk: where it is by default, whether it can be used, and its lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from ...errors import CarrierError
from ...process.after_fork import separate_socket

__all__ = ["LEAST_ROOM", "NETWORK", "Folder", "Mount", "default_folder", "mount_of", "open_folder"]

LOCK: Final = "lock"
"""The name of the locked file in the folder."""
LEAST_ROOM: Final = 16 * 1024 * 1024
"""Bytes that must be free in the file system when the folder is opened."""
NETWORK: Final = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "fuse.afpfs",
        "fuse.beegfs",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.cifs",
        "fuse.curlftpfs",
        "fuse.davfs",
        "fuse.davfs2",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.mfs",
        "fuse.moosefs",
        "fuse.nfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
    }
)
"""Types of file systems that several machines can share, as in /proc/self/mountinfo. The processes that use a database
in WAL mode share memory, which such a file system does not have, and its locks may not hold between machines."""

MOUNTS: Final = Path("/proc/self/mountinfo")


class Mount(NamedTuple):
    """A mounted file system.

    :ivar point: the folder that it is mounted on
    :ivar type: such as `ext4`
    """

    point: str
    type: str


class Folder:
    """The locked folder of a store.

    The lock is one of flock(2): it ends with its process, however that dies, unless a child keeps the file descriptor,
    which it inherits by fork. So children are disconnected from it. Open the folder after the fork of the process that
    uses it.

    :ivar path: of the folder, absolute
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path: Final = path
        self._fd = fd

    def fileno(self) -> int:
        """Return the file descriptor of the lock; -1: it is released."""
        return self._fd

    def close(self) -> None:
        """Release the lock, even if a child has inherited it. The file stays: to delete it would release the lock of
        the process that has just opened it.
        """
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def default_folder(app: str, environ: Mapping[str, str]) -> Path:
    """Return the folder of an application's events where none is configured.

    It is `events` in the first folder of `$STATE_DIRECTORY` (systemd's `StateDirectory=`), else
    `tiny-listener/APP` in `$XDG_STATE_HOME`, else in `~/.local/state`.

    :param app: the name of the application, such as `shop.main:app`; other characters than letters of ASCII, digits,
        `.`, `_` and `-` are replaced by `-`
    :param environ: `os.environ`
    :raises CarrierError: there is no such folder, because the user has no home
    """
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state) / "events"
    base = environ.get("XDG_STATE_HOME", "")
    if not Path(base).is_absolute():  # XDG: a relative path is invalid, and to be ignored
        home = environ.get("HOME", "") or _home()
        base = f"{home}/.local/state"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", app)[:100].strip(".-") or "app"
    return Path(base) / "tiny-listener" / name


def _home() -> str:
    try:
        return str(Path("~").expanduser())
    except RuntimeError:
        raise CarrierError(
            "There is no folder for the store of events: STATE_DIRECTORY, XDG_STATE_HOME and HOME are not set, and "
            "this user has no home; choose a folder (--events sqlite:DIR)"
        ) from None


def open_folder(path: Path | str, *, least_room: int = LEAST_ROOM) -> Folder:
    """Create the folder if it is missing, check that a database can be used in it, and lock it.

    :param path: its parents are created as well
    :param least_room: bytes that must be free
    :raises CarrierError: it cannot be used, or another process holds it; the text says why, and what would be right
    """
    path = _created(Path(path))
    mount = mount_of(str(path), _mounts())
    if mount is not None and mount.type in NETWORK:
        raise CarrierError(
            f"{path} is on a network file system ({mount.type}, mounted on {mount.point}), where SQLite may damage its "
            "database: choose a folder on a local disk"
        )
    _check_room(path, least_room)
    folder = Folder(path, _lock(path))
    separate_socket(folder)
    return folder


def _created(path: Path) -> Path:
    """Return the path of the folder, absolute and without symbolic links."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.resolve(strict=True)
    except (FileExistsError, NotADirectoryError) as exc:
        raise CarrierError(
            f"{path} cannot be the folder of the store of events: {exc.filename or path} is no folder; "
            "move it away, or choose another folder"
        ) from None
    except (OSError, RuntimeError) as exc:  # RuntimeError: a loop of symbolic links
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise CarrierError(
            f"The folder {path} for the store of events cannot be created: {reason}; create it so that "
            f"{_user()} can write to it, or choose another one"
        ) from None


def _user() -> str:
    return f"user {os.geteuid()}"


def _mounts() -> str:
    """Return the mounts of this process; empty where the system does not tell them."""
    try:
        return MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return ""


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """Return the mount that a path is on. Pure.

    :param path: absolute, without symbolic links
    :param mountinfo: the text of /proc/self/mountinfo, see proc_pid_mountinfo(5)
    :return: None: no mount has it
    """
    found = None
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        names = fields.split(" ")
        if not separator or len(names) < 5:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), names[4])
        # Of two mounts on the same point, the later one hides the earlier one.
        if _is_in(path, point) and (found is None or len(point) >= len(found.point)):
            found = Mount(point, rest.split(" ")[0])
    return found


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _check_room(path: Path, least_room: int) -> None:
    try:
        status = os.statvfs(path)
    except OSError:
        return  # the lock, which follows, tells what is wrong
    free = status.f_bavail * status.f_frsize
    if free < least_room:
        raise CarrierError(
            f"The file system of {path} has {free / 2**20:.1f} MiB free, and the store of events needs at least "
            f"{least_room / 2**20:.1f} MiB: free some, or choose another folder"
        )


def _lock(path: Path) -> int:
    """Return the file descriptor that holds the lock."""
    file = path / LOCK
    try:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise CarrierError(
            f"{path} is not writable ({exc.strerror}: {file}): give it to {_user()}, or choose another folder"
        ) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = _holder(fd)
        os.close(fd)
        raise CarrierError(
            f"{path} is used by {holder}: only one server at a time can use a store of events; stop that one, "
            "or choose another folder"
        ) from None
    except OSError as exc:
        os.close(fd)
        raise CarrierError(
            f"{file} cannot be {'written' if exc.errno == errno.ENOSPC else 'locked'} ({exc.strerror}): "
            "choose a folder on a local disk with room"
        ) from None
    return fd


def _holder(fd: int) -> str:
    """Return who holds the lock, in words. It may not have written its number yet."""
    with contextlib.suppress(OSError):
        text = os.pread(fd, 32, 0).strip()
        if text.isdigit():
            return f"process {int(text)}"
    return "another process"
