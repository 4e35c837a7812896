"""Looks for bytes that two ways of reading take for different requests, led by the branches that they reach (atheris).

    python -m tests.http.coverage_guided [FOLDER] [-max_total_time=60] [other options of libFuzzer]

An input is a number of cuts, their places, and what a client sends. The golden files are where it begins; inputs that
reach something new are kept in FOLDER, and one that fails is left in a file that can be given in place of a folder.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["tiny_listener.http"]):
    from tests.http.readings import CORPUS, check_one_reading, is_expected

MAX_CUTS = 8

failures: list[str] = []
"""What was logged that should not have been."""


class Listening(logging.Handler):
    """Notes what was logged, but for the failure that a handler is made for."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        if not is_expected(record.getMessage()):
            failures.append(record.getMessage())


def read(data: bytes) -> None:
    """Try an input."""
    count = data[0] % (MAX_CUTS + 1) if data else 0
    places, sent = data[1 : 1 + 2 * count], data[1 + 2 * count :]
    cuts = (int.from_bytes(places[at : at + 2], "big") % (len(sent) + 1) for at in range(0, len(places), 2))
    borders = sorted({0, len(sent), *cuts})
    asyncio.run(check_one_reading([sent[start:end] for start, end in pairwise(borders)]))
    assert not failures, failures


def sow(folder: Path) -> None:
    """Put the golden files into a folder, whole and cut."""
    for number, data in enumerate(CORPUS):
        middle = len(data) // 2
        (folder / f"whole-{number}").write_bytes(b"\0" + data)
        (folder / f"cut-{number}").write_bytes(
            b"\2" + middle.to_bytes(2, "big") + (middle + 1).to_bytes(2, "big") + data
        )


def main() -> None:
    """Run until libFuzzer ends the process: with 0, or 77 when something was found."""
    logger = logging.getLogger("tiny_listener")
    logger.addHandler(Listening())
    logger.propagate = False
    logging.getLogger("asyncio").addHandler(Listening())
    with tempfile.TemporaryDirectory() as seeds:
        sow(Path(seeds))
        atheris.Setup([*sys.argv, seeds], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
