"""stdin, stdout and stderr, some of which may be closed when the command starts (`<&-`, `2>&-`).

The next file or socket that a process opens gets the lowest free descriptor. A client's connection with number 2 would
receive what libraries, children or the C runtime write to stderr. So /dev/null replaces closed descriptors before
anything else is opened.
"""

from __future__ import annotations

import os
import sys

__all__ = ["closed_at_the_start", "open_what_is_closed"]

NAMES = ("stdin", "stdout", "stderr")
_closed: list[str] = []


def open_what_is_closed() -> None:
    """Open /dev/null, or if it does not exist the root folder, in place of closed stdin, stdout and stderr."""
    for fd, name in enumerate(NAMES):
        try:
            os.fstat(fd)
        except OSError:
            _closed.append(name)
            _occupy(fd)
        if getattr(sys, name) is None:  # Python sets it to None then
            errors = "backslashreplace" if name == "stderr" else "strict"
            setattr(sys, name, open(fd, "w" if fd else "r", encoding="utf-8", errors=errors, closefd=False))  # noqa: SIM115


def closed_at_the_start() -> tuple[str, ...]:
    """Return the names of those that were closed."""
    return tuple(_closed)


def _occupy(number: int) -> None:
    try:
        fd = os.open(os.devnull, os.O_RDWR)
    except OSError:
        fd = os.open("/", os.O_RDONLY)
    if fd != number:
        os.dup2(fd, number)
        os.close(fd)
    os.set_inheritable(number, True)  # noqa: FBT003 - as in any process
