"""Where the control sockets of this user's servers are: one for each, named by its pid, in a folder of the user's."""

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
    """Return the folder; it may not be there."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "tiny-listener"
    return Path(f"/tmp/tiny-listener-{uid}")  # noqa: S108 - its owner and mode are checked


def why_not_trusted(folder: Path, uid: int) -> str | None:
    """Say what is wrong with a folder, in a line; None: it is the user's alone.

    :raises FileNotFoundError: there is none
    """
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is no folder; remove it"
    if status.st_uid != uid:
        return f"{folder} belongs to user {status.st_uid}, not to {uid}; it has to be yours"
    if status.st_mode & 0o077:
        return f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):o}); chmod it to 700"
    return None


def own_socket(environ: Mapping[str, str], uid: int, pid: int, *, sweep: bool = True) -> Path:
    """Return the path for a server's socket, in a folder that is made if need be; dead servers' files are removed.

    :param sweep: whether these are removed: not where another user may exchange the folder
    :raises CannotLoad: the folder is not the user's alone
    :raises OSError: it cannot be made
    """
    folder = control_folder(environ, uid)
    with contextlib.suppress(FileExistsError):  # whatever it is, it is looked at
        folder.mkdir(mode=0o700)
    if (fault := why_not_trusted(folder, uid)) is not None:
        raise CannotLoad(fault)
    if sweep:
        _sweep(folder)
    return folder / f"{pid}.sock"


def living(environ: Mapping[str, str], uid: int) -> dict[int, Path]:
    """Return the sockets of this user's servers that live, by pid; dead servers' files are removed.

    :raises CannotLoad: the folder is not the user's alone
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
        elif not _exists(pid):  # one that does may be about to listen
            path.unlink(missing_ok=True)
    return found


def _answers(path: Path) -> bool:
    """Whether somebody listens; of a server in a container with the same /tmp the pid would say nothing."""
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
    except PermissionError:  # another user's: the number was given anew
        return False
    return pid > 0
