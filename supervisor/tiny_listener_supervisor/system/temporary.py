"""Imports that ask for a temporary folder, though they do not use it: in a container with a read-only root there is
none.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

__all__ = ["needless_folder"]


@contextlib.contextmanager
def needless_folder() -> Iterator[None]:
    """Let `tempfile.gettempdir()` return some folder meanwhile, where there is none that can be written to.

    dill, which multiprocess imports, asks at its import where it would save a session. What really needs a folder, such
    as an upload too large for memory, is told later that there is none, as ever.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = "/"
        try:
            yield
        finally:
            tempfile.tempdir = None  # the next who asks looks again
    else:
        yield
