"""Exemplars: for each bucket of a histogram, the last response that has a trace.

They are stored next to the row, in a separate block of shared memory. The worker is the only writer (`ExemplarWriter`);
the owner may read at any time (`read_exemplars`). The block is a table of `SLOTS` slots of 40 bytes. The slot of a
bucket is the word index of the bucket in the row, modulo `SLOTS`. If two buckets share a slot the later exemplar wins:
they are examples, not counts.

    bytes       meaning
    0-3         uint32: CRC-32 of the rest of the slot
    4-7         uint32: word index of the bucket in the row
    8-15        double: the observed value, in the unit of the histogram
    16-23       double: timestamp, in seconds since 1970
    24-39       the trace id

A slot that is read while it is written has a wrong checksum, and so has an empty one; such slots are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from time import time
from typing import TYPE_CHECKING, Final, NamedTuple
from zlib import crc32

if TYPE_CHECKING:
    from .row import RowMemory

__all__ = ["EXEMPLAR_BYTES", "Exemplar", "ExemplarWriter", "read_exemplars"]

SLOTS: Final = 512
"""Number of exemplars per worker: enough for all buckets of 32 series; 20 KiB."""

_CHECKSUM: Final = struct.Struct("=I")
_CONTENT: Final = struct.Struct("=Idd16s")
_SLOT_BYTES: Final = _CHECKSUM.size + _CONTENT.size

EXEMPLAR_BYTES: Final = SLOTS * _SLOT_BYTES
"""Bytes of memory that a writer needs, initially zero."""


class Exemplar(NamedTuple):
    """One observation that a histogram counted, and its trace."""

    word: int
    """Word index of the bucket in the row."""
    value: float
    """In the unit of the histogram."""
    timestamp: float
    """Seconds since 1970."""
    trace_id: str
    """32 hexadecimal digits, in lower case."""


class ExemplarWriter:
    """The worker's side."""

    __slots__ = ("_memory",)

    def __init__(self, memory: RowMemory) -> None:
        """Write to `EXEMPLAR_BYTES` bytes of memory."""
        self._memory = memoryview(memory)

    def note(self, word: int, value: float, trace_id: str) -> None:
        """Make an observation the exemplar of the bucket with this word index."""
        content = _CONTENT.pack(word, value, time(), bytes.fromhex(trace_id))
        start = word % SLOTS * _SLOT_BYTES
        self._memory[start : start + _SLOT_BYTES] = _CHECKSUM.pack(crc32(content)) + content


def read_exemplars(memory: RowMemory) -> Iterator[Exemplar]:
    """Yield the exemplars that a worker has written so far."""
    table = bytes(memory[:EXEMPLAR_BYTES])
    for start in range(0, EXEMPLAR_BYTES, _SLOT_BYTES):
        content = table[start + _CHECKSUM.size : start + _SLOT_BYTES]
        if _CHECKSUM.unpack_from(table, start)[0] == crc32(content):
            word, value, timestamp, trace_id = _CONTENT.unpack(content)
            yield Exemplar(word, value, timestamp, trace_id.hex())
