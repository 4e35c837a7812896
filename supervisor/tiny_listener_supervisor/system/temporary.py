"""Imports that need a temporary folder although they do not use it: a container with a read-only root has none."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

__all__ = ["needless_folder"]


@contextlib.contextmanager
def needless_folder() -> Iterator[None]:
    """Make `tempfile.gettempdir()` return some folder in this block if no folder is writable.

    dill, which multiprocess imports, asks at import time where it would save a session. Code that really needs a
    folder, such as an upload that is too large for memory, still gets the usual error later.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = "/"
        try:
            yield
        finally:
            tempfile.tempdir = None  # the next call looks again
    else:
        yield
