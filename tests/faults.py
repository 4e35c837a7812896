"""Runs a command line of ours with a call that fails: `python faults.py WHAT WHERE python -m tiny_listener ...`.

WHAT is the function, as `os.fork`; the call fails while the file WHERE is there, with the errno that it holds.
A file that holds `EAGAIN 2` lets so many calls pass first.
"""

from __future__ import annotations

import errno
import importlib
import os
import runpy
import sys
from pathlib import Path
from typing import Any


def break_it(what: str, where: Path) -> None:
    module, _, name = what.rpartition(".")
    owner = importlib.import_module(module)
    real = getattr(owner, name)
    passed = 0

    def call(*args: Any, **options: Any) -> Any:
        nonlocal passed
        if where.exists():
            code, *rest = where.read_text().split()
            if passed >= int(*rest or "0"):
                number = getattr(errno, code)
                raise OSError(number, os.strerror(number))
            passed += 1
        return real(*args, **options)

    setattr(owner, name, call)


if __name__ == "__main__":
    break_it(sys.argv[1], Path(sys.argv[2]))
    sys.argv = sys.argv[5:]  # after: python -m tiny_listener
    sys.path[0] = ""
    runpy.run_module("tiny_listener", run_name="__main__", alter_sys=True)
