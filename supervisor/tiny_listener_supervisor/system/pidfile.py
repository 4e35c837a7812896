"""The file that tells others which process to signal."""

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
"""Seconds by which the times of files and of processes may differ; the kernel counts them by different clocks."""


class PidFile:
    """Holds the process id in a file while a `with` block runs; one that a dead process left is replaced.

    :param rights: those with which it is written and removed
    :raises CannotLoad: a living process holds it, or it cannot be written
    """

    def __init__(self, path: str, rights: Rights | None = None) -> None:
        self._path = Path(path)
        self._rights = rights or Rights()

    def __enter__(self) -> None:
        try:
            self._rights.call(str(self._path), partial(self._write, os.getpid()))
        except ListenError as exc:  # one line of a process that did it for us
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
            raise CannotLoad(f"cannot write the pid file {self._path}: that is no file; choose another path")
        other = self._holder()
        if other is not None and other != pid:
            raise CannotLoad(f"{self._path} says that process {other} runs this already; stop it first")
        new = self._path.with_name(f"{self._path.name}.{pid}")
        try:
            new.unlink(missing_ok=True)
            # Nobody but the owner may write to it, or could choose whom root signals.
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as file:
                file.write(f"{pid}\n")
            new.rename(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()  # half of it may be there: the disk is full
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
        # A number is given anew, soon so in a container: who began after the file was written did not write it.
        numbers = process_numbers(pid)
        return None if numbers is not None and numbers.started > written + CLOCK_SLACK else pid
