"""The file that tells other programs which process to signal."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from types import TracebackType

from tiny_listener.errors import CannotLoad
from tiny_listener.net.addresses import ListenError
from tiny_listener.process.last_resort import on_forced_exit

from .proc import process_numbers
from .rights import Rights

__all__ = ["PidFile"]

CLOCK_SLACK = 2.0
"""Seconds by which file times and process times may differ; the kernel takes them from different clocks."""


class PidFile:
    """Keeps the process id in a file while a `with` block runs. A file that a dead process left is replaced.

    :param rights: the rights with which it is written and removed
    :raises CannotLoad: it names a running process, or cannot be written
    """

    def __init__(self, path: str, rights: Rights | None = None) -> None:
        self._path = Path(path)
        self._rights = rights or Rights()

    def __enter__(self) -> None:
        try:
            self._rights.call(str(self._path), partial(self._write, os.getpid()))
        except ListenError as exc:  # one line from a deputy
            raise CannotLoad(str(exc.strerror)) from None
        except OSError as exc:
            raise CannotLoad(f"cannot write the pid file {self._path}: {exc.strerror}") from None
        self._take_back = on_forced_exit(self._remove)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_back()
        self._remove()

    def _write(self, pid: int) -> None:
        if self._path.exists() and not self._path.is_file():
            raise CannotLoad(f"cannot write the pid file {self._path}: it is not a regular file; choose another path")
        other = self._holder()
        if other is not None and other != pid:
            raise CannotLoad(f"{self._path} names process {other}, which is still running; stop it first")
        new = self._path.with_name(f"{self._path.name}.{pid}")
        try:
            new.unlink(missing_ok=True)
            # Only the owner may write to it; anyone else could choose which process root signals.
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
                file.write(f"{pid}\n")
            new.rename(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()  # the disk may be full, and the file incomplete
            raise

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # somebody removed it already
            self._rights.call(str(self._path), partial(self._remove_ours, str(os.getpid())))

    def _remove_ours(self, pid: str) -> None:
        if self._path.read_text().strip() == pid:
            self._path.unlink()

    def _holder(self) -> int | None:
        try:
            written = self._path.stat().st_mtime
            pid = int(self._path.read_text())
            os.kill(pid, 0)
        except PermissionError:
            pass
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        # Pids are reused, in a container soon: a process that started after the file was written did not write it.
        numbers = process_numbers(pid)
        return None if numbers is not None and numbers.started > written + CLOCK_SLACK else pid
