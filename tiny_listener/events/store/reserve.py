"""Room on the disk that is kept for the time when the disk is full."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

__all__ = ["RESERVE", "Reserve"]

RESERVE: Final = 8 * 1024 * 1024
"""Bytes by default: to copy the WAL to the database, and to settle the events in flight."""
BLOCK: Final = 512
"""Bytes of a block as stat(2) counts them."""
PIECE: Final = b"\0" * 65536


class Reserve:
    """A file that takes room, and gives it back when the disk is full.

    :param path: of the file
    :param size: bytes; 0: there is no reserve, and it always counts as held
    :ivar is_held: whether the file takes its room now
    """

    def __init__(self, path: Path, size: int = RESERVE) -> None:
        self._path = path
        self._size = size
        self.is_held = self._size == 0

    def hold(self) -> bool:
        """Take the room, unless it is taken. Return whether it is.

        As much again must be free: otherwise it would be taken again at once from a disk that is full.
        """
        if not self.is_held:
            try:
                self._allocate()
            except OSError:
                self.release()  # what was allocated until the disk was full
            else:
                self.is_held = True
        return self.is_held

    def release(self) -> bool:
        """Give the room back. Return whether there was any."""
        was_held = self.is_held
        if self._size:
            self.is_held = False
            with contextlib.suppress(OSError):
                self._path.unlink()
        return was_held and self._size > 0

    def _allocate(self) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(fd).st_blocks * BLOCK >= self._size:
                return
            status = os.fstatvfs(fd)
            if status.f_bavail * status.f_frsize < 2 * self._size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, self._size)
            else:
                self._write_zeros(fd)
        finally:
            os.close(fd)

    def _write_zeros(self, fd: int) -> None:
        """Allocate where the system has no call for it, as on macOS."""
        for offset in range(0, self._size, len(PIECE)):
            os.pwrite(fd, PIECE[: self._size - offset], offset)
