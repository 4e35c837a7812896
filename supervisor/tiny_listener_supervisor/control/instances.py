"""The control sockets of this user's servers: one for each server, named by its pid, in a folder of the user."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from tiny_listener.errors import CannotLoad

__all__ = ["control_folder", "living", "own_socket"]


def control_folder(environ: Mapping[str, str], uid: int) -> Path:
    """Return the folder. It may not exist."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "tiny-listener"
    return Path(f"/tmp/tiny-listener-{uid}")  # noqa: S108 - its owner and mode are checked


def why_not_trusted(folder: Path, uid: int) -> str | None:
    """Return one line that says why a folder cannot be trusted; None: only the user has access.

    :raises FileNotFoundError: it does not exist
    """
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder; remove it"
    if status.st_uid != uid:
        return f"{folder} belongs to user {status.st_uid}, not to {uid}; it has to be yours"
    if status.st_mode & 0o077:
        return f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):o}); chmod it to 700"
    return None


def own_socket(environ: Mapping[str, str], uid: int, pid: int, *, sweep: bool = True) -> Path:
    """Return the path for a server's socket. Create its folder if necessary; remove the sockets of dead servers.

    :param sweep: whether to remove those; not if another user could replace the folder
    :raises CannotLoad: others have access to the folder
    :raises OSError: it cannot be created
    """
    folder = control_folder(environ, uid)
    with contextlib.suppress(FileExistsError):  # checked below, whatever it is
        folder.mkdir(mode=0o700)
    if (fault := why_not_trusted(folder, uid)) is not None:
        raise CannotLoad(fault)
    if sweep:
        _sweep(folder)
    return folder / f"{pid}.sock"


def living(environ: Mapping[str, str], uid: int) -> dict[int, Path]:
    """Return the sockets of this user's running servers, by pid. Remove the sockets of dead servers.

    :raises CannotLoad: others have access to the folder
    """
    folder = control_folder(environ, uid)
    try:
        fault = why_not_trusted(folder, uid)
    except FileNotFoundError:
        return {}
    if fault is not None:
        raise CannotLoad(fault)
    return _sweep(folder)


def _sweep(folder: Path) -> dict[int, Path]:
    found = {}
    for path in sorted(folder.glob("*.sock")):
        if not path.stem.isascii() or not path.stem.isdecimal():
            continue
        pid = int(path.stem)
        if _answers(path):
            found[pid] = path
        elif not _exists(pid):  # a process that exists may be about to listen
            path.unlink(missing_ok=True)
    return found


def _answers(path: Path) -> bool:
    """Whether a process listens there. In a container with a shared /tmp the pid alone would prove nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - a full queue is EAGAIN, not a wait
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's process: the pid was reused
        return False
    return pid > 0
