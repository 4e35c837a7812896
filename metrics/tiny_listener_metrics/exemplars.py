"""Exemplars: for each bucket of a histogram the last response that a trace tells more of.

They lie beside the row, in a block of shared memory of their own. The worker is its only writer
(`ExemplarWriter`), the owner reads it at any time (`read_exemplars`). It is a table of `SLOTS` slots of 40
bytes; a bucket's slot is the number of its word in the row, modulo `SLOTS`. Where two buckets share a slot
the later exemplar stays: they are examples, not counts.

    bytes       what
    0-3         uint32: CRC-32 of the rest of the slot
    4-7         uint32: number of the bucket's word in the row
    8-15        double: the observed value, in the unit of the histogram
    16-23       double: when, in seconds since 1970
    24-39       the trace's id

A slot that is read while it is written has a wrong checksum, as an empty one has; it is left out of that reading.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from .row import Memory

__all__ = ["EXEMPLAR_BYTES", "Exemplar", "ExemplarWriter", "read_exemplars"]

SLOTS: Final = 512
"""So many exemplars a worker keeps: all buckets of 32 series, and 20 KiB."""

_CHECKSUM: Final = struct.Struct("=I")
_CONTENT: Final = struct.Struct("=Idd16s")
_SLOT_BYTES: Final = _CHECKSUM.size + _CONTENT.size

EXEMPLAR_BYTES: Final = SLOTS * _SLOT_BYTES
"""Bytes of the memory that a writer wants, zero at first."""


class Exemplar(NamedTuple):
    """One observation, of those that a histogram counts, and the trace that tells of it."""

    word: int
    """Number of the bucket's word in the row."""
    value: float
    """In the unit of the histogram."""
    timestamp: float
    """Seconds since 1970."""
    trace_id: str
    """32 hexadecimal digits, in lower case."""


class ExemplarWriter:
    """The worker's side."""

    __slots__ = ("_memory",)

    def __init__(self, memory: Memory) -> None:
        """Write into `EXEMPLAR_BYTES` bytes."""
        self._memory = memoryview(memory)

    def note(self, word: int, value: float, trace_id: str) -> None:
        """Let an observation be the example of the bucket that has this word."""
        content = _CONTENT.pack(word, value, time(), bytes.fromhex(trace_id))
        start = word % SLOTS * _SLOT_BYTES
        self._memory[start : start + _SLOT_BYTES] = _CHECKSUM.pack(crc32(content)) + content


def read_exemplars(memory: Memory) -> Iterator[Exemplar]:
    """Return what a worker has noted so far."""
    table = bytes(memory[:EXEMPLAR_BYTES])
    for start in range(0, EXEMPLAR_BYTES, _SLOT_BYTES):
        content = table[start + _CHECKSUM.size : start + _SLOT_BYTES]
        if _CHECKSUM.unpack_from(table, start)[0] == crc32(content):
            word, value, timestamp, trace_id = _CONTENT.unpack(content)
            yield Exemplar(word, value, timestamp, trace_id.hex())
