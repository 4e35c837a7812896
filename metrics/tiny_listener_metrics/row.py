"""A row: the memory in which one worker counts and which its owner reads.

A row is a block of shared memory. The owner makes it before it forks the worker (`format_row`), the worker
is its only writer (`RowWriter`), the owner reads it at any time (`RowReader`). Nobody waits for anybody.
A row describes itself, so processes whose code has different routes need not agree on anything but this
page. Numbers are in the byte order of the machine, which no row ever leaves.

    bytes       what
    0-7         b"tlmetric"
    8-15        uint64: version of this layout, 1
    16-23       uint64: size of the row, bytes
    24-31       uint64: length L of the directory, bytes; only grows
    32-32+L     the directory, appended to
    ...         free, all zero
    ...-end     the words, 8 bytes each and aligned to 8; each new series takes its words below the last

The directory is a sequence of entries, each padded with zeros to a multiple of 8:

    0-3         uint32: length N of the name, bytes; never 0
    4-7         uint32: CRC-32 of the name, started with the number of the first word
    8-15        uint64: number of the first word, counted from the start of the row in units of 8 bytes
    16-16+N     the name: MessagePack of [family, [label value, ...]]

How many words follow the first, and what they mean, the family says (`series.Family.words`): counts are
uint64; the sum of a histogram, its first word, is a double.

**Publication.** An entry is written in full before L is raised to include it, and its words are zero from
the beginning, so a reader that goes by L sees whole entries. A processor that reorders stores could still
show L before the entry; the checksum tells, and the reader then comes back later (`EntryNotReadyError`).

**Words.** The writer raises a word by one load and one store, with no lock, which is sound because there is
one writer, with one thread. CPython's `memoryview` moves a native 8-byte item by one 8-byte move, which is
atomic when aligned. Two words are not read at one instant: a bucket can be one ahead of its sum.

**Fullness.** A row keeps back enough room for the overflow series of every family. A series that finds no
room, or would be one more than `max_series`, shares its family's overflow series: counting goes on, only
less finely. Nothing in the writer raises once it is made.
"""

from __future__ import annotations

import logging
import mmap
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from zlib import crc32

import msgspec

from .series import FAMILIES, Family, Series, label_text
from .steps import VALUES, WORDS, Steps, finish, slices

if TYPE_CHECKING:
    from .exemplars import ExemplarWriter

__all__ = [
    "DEFAULT_CAPACITY",
    "MAX_SERIES",
    "MIN_CAPACITY",
    "NANOSECONDS",
    "Entry",
    "EntryNotReadyError",
    "Memory",
    "RowError",
    "RowReader",
    "RowWriter",
    "entry_bytes",
    "format_row",
    "read_row",
]

Memory: TypeAlias = mmap.mmap | bytearray
"""What a row lies in: a shared map between processes, a bytearray within one."""

MAX_SERIES: Final = 10_000
"""Series of a row, and of a ledger, that have words of their own.

10,000 histograms are a page of 170,000 lines and some 20 MB, which Prometheus fetches every 15 s: above
that the cure is fewer labels, not more room. It is 3,300 HTTP routes with one status each."""

DEFAULT_CAPACITY: Final = 4 * 1024 * 1024
"""Bytes of a row: `MAX_SERIES` histograms of 128 bytes, with entries of up to 290 bytes on average.

It is address space, not memory: of an anonymous map the kernel gives out the pages that are touched, and
a row of 300 routes touches 0.2 MB."""

NANOSECONDS: Final = 1_000_000_000
"""Units of a histogram's sum, as read, in one of its base units (in a second)."""

_MAGIC: Final = b"tlmetric"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("=8sQQQ")
_LENGTH_WORD: Final = 3
_ENTRY: Final = struct.Struct("=IIQ")

_log = logging.getLogger("tiny_listener.metrics")
_decode_series = msgspec.msgpack.Decoder(Series).decode


def entry_bytes(series: Series) -> int:
    """Bytes that the entry of this series takes in a directory."""
    return _padded(_ENTRY.size + len(msgspec.msgpack.encode(series)))


def _padded(size: int) -> int:
    return (size + 7) & ~7


_RESERVE: Final = sum(entry_bytes(family.overflow) + 8 * family.words for family in FAMILIES.values())
"""Bytes that a row keeps back for overflow series."""

MIN_CAPACITY: Final = _HEADER.size + _RESERVE
"""Bytes of the smallest row: all it can hold are overflow series."""


class RowError(Exception):
    """A block of memory is not a row, or is damaged, or is no longer to be used as it is."""


@lru_cache(maxsize=2 * MAX_SERIES)
def _series_of(name: bytes) -> tuple[Series, Family]:
    """Return the series of a name in a directory, and its family.

    PERF: the rows of all workers have the same names, and a reload brings as many rows again.

    :raises ValueError: it is none; the text says what it is
    """
    try:
        series = _decode_series(name)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no name of a series ({error})") from None
    family = FAMILIES.get(series.family)
    if family is None or len(series.labels) != family.own_labels:
        raise ValueError(f"an unknown series {series}")
    return series, family


class EntryNotReadyError(RowError):
    """The directory's next entry is not what was written, or not all of it has arrived yet."""


class Entry(NamedTuple):
    """A series of a row and where its words are."""

    series: Series
    family: Family
    first: int
    """Number of its first word."""


def format_row(memory: Memory) -> None:
    """Make zeroed memory an empty row.

    Raises `RowError` for memory smaller than `MIN_CAPACITY` or of a size that is no multiple of 8.
    """
    size = len(memory)
    if size < MIN_CAPACITY or size % 8:
        raise RowError(f"a row has at least {MIN_CAPACITY} bytes and a multiple of 8, not {size}")
    _HEADER.pack_into(memory, 0, _MAGIC, _VERSION, size, 0)


class RowWriter:
    """The worker's side of a row. One at a time, used by one thread."""

    __slots__ = ("_end", "_first_words", "_lowest", "_max_series", "_memory", "_warned", "counts", "exemplars", "sums")

    def __init__(
        self, memory: Memory, *, max_series: int = MAX_SERIES, exemplars: ExemplarWriter | None = None
    ) -> None:
        """Start to write an empty row; with `exemplars`, if there is room for them.

        Raises `RowError` for memory that is not a row, and for a row that has been written to: its series
        belong to another worker.
        """
        if RowReader(memory).refresh():
            raise RowError("this row has been written to: each worker needs a new one")
        self._memory = memory
        self._max_series = max_series
        self._end = _HEADER.size
        self._first_words: dict[Series, int] = {}
        self._warned = False
        self.counts = memoryview(memory).cast("Q")
        """All words as counts."""
        self.sums = memoryview(memory).cast("d")
        """All words as sums."""
        self.exemplars = exemplars
        """Notes examples of what is counted; None where nobody keeps them."""
        self._lowest = len(self.counts)

    def add(self, family: Family, *labels: str) -> int:
        """The number of the first word of a series, made if it is not there yet.

        `labels` are the values of `family.labels`, without an enumerated last one (see `Family.variants`);
        text that cannot stand in an exposition is escaped. Without room for one more series it is the
        overflow series of the family.
        """
        series = Series(family.name, tuple(map(label_text, labels)))
        first = self._first_words.get(series)
        if first is None:
            name = msgspec.msgpack.encode(series)
            if series != family.overflow and not self._has_room(name, family):
                self._warn(series)
                series = family.overflow
                first = self._first_words.get(series)
                name = msgspec.msgpack.encode(series)
            if first is None:
                first = self._publish(series, name, family)
        return first

    def _has_room(self, name: bytes, family: Family) -> bool:
        if len(self._first_words) >= self._max_series:
            return False
        free = 8 * self._lowest - self._end
        return _padded(_ENTRY.size + len(name)) + 8 * family.words + _RESERVE <= free

    def _publish(self, series: Series, name: bytes, family: Family) -> int:
        first = self._lowest - family.words
        _ENTRY.pack_into(self._memory, self._end, len(name), crc32(name, first), first)
        start = self._end + _ENTRY.size
        self._memory[start : start + len(name)] = name
        self._end += _padded(_ENTRY.size + len(name))
        self._lowest = first
        self._first_words[series] = first
        self.counts[_LENGTH_WORD] = self._end - _HEADER.size  # the last store: now it can be seen
        return first

    def _warn(self, series: Series) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "metrics: no room for series after %d; %s and later ones are counted under %r",
                len(self._first_words),
                series,
                FAMILIES[series.family].overflow.labels,
            )


class RowReader:
    """The owner's side of a row; remembers what it has decoded, so a second look at a directory is cheap."""

    __slots__ = ("_buckets", "_bytes", "_counts", "_end", "_lowest", "_sums", "_sums_from_end", "entries")

    def __init__(self, memory: Memory) -> None:
        """Raises `RowError` for memory that is not a row of this version of the layout."""
        if len(memory) < _HEADER.size or len(memory) % 8:
            raise RowError(f"no row has {len(memory)} bytes")
        magic, version, size, _ = _HEADER.unpack_from(memory)
        if (magic, version, size) != (_MAGIC, _VERSION, len(memory)):
            raise RowError(f"not a row: magic {magic!r}, version {version}, {size} of {len(memory)} bytes")
        self._bytes = memoryview(memory)
        self._counts = self._bytes.cast("Q")
        self._sums = self._bytes.cast("d")
        self._end = _HEADER.size
        self._lowest = len(self._counts)
        self.entries: list[Entry] = []
        """What has been decoded so far, in the order of the directory."""
        self._sums_from_end: list[int] = []
        """Where in `words` the sums of histograms are."""
        self._buckets: dict[str, list[slice]] = {}
        """Where the counts of histograms are, by the family's name."""

    def refresh(self, most: int | None = None) -> list[Entry]:
        """Decode what was published since the last call, add it to `entries` and return it; at most `most` entries.

        Raises `EntryNotReadyError` at an entry that cannot be read (those before it are in `entries`), and
        `RowError` for a directory that cannot be one.
        """
        magic = bytes(self._bytes[: len(_MAGIC)])
        if magic != _MAGIC:
            raise RowError(f"a row that has been overwritten: magic {magic!r}")
        published, limit = _HEADER.size + self._counts[_LENGTH_WORD], 8 * self._lowest
        if not self._end <= published <= limit:
            raise RowError(f"a directory that ends at byte {published}, not between {self._end} and {limit}")
        known = len(self.entries)
        end = None if most is None else known + most
        while self._end < published and len(self.entries) != end:
            self.entries.append(self._decode_entry(published))
        return self.entries[known:]

    def _decode_entry(self, published: int) -> Entry:
        at = self._end
        if published - at < _ENTRY.size:
            raise EntryNotReadyError(f"half an entry at byte {at}")
        length, checksum, first = _ENTRY.unpack_from(self._bytes, at)
        end = at + _padded(_ENTRY.size + length)
        if not length or end > published:
            raise EntryNotReadyError(f"an entry with {length} bytes of name at byte {at}")
        name = bytes(self._bytes[at + _ENTRY.size : at + _ENTRY.size + length])
        if crc32(name, first & 0xFFFFFFFF) != checksum:
            raise EntryNotReadyError(f"a wrong checksum at byte {at}")
        try:
            series, family = _series_of(name)
        except ValueError as error:
            raise RowError(f"{error} at byte {at}") from None
        if first != self._lowest - family.words or 8 * first < end:
            raise RowError(f"series {series} has its words at {first}, below {self._lowest}")
        self._end = end
        self._lowest = first
        if family.kind == "histogram":
            self._sums_from_end.append(first - len(self._counts))
            self._buckets.setdefault(family.name, []).append(slice(first + 1, first + family.words))
        return Entry(series, family, first)

    def count_of(self, family: Family) -> int:
        """How many observations a histogram has, over all its series. Reads no other words."""
        counts = self._counts
        return sum(sum(counts[buckets]) for buckets in self._buckets.get(family.name, ()))

    def words(self) -> list[int]:
        """Return `read_words` at once."""
        return finish(self.read_words())

    def read_words(self) -> Steps[list[int]]:
        """All words of the row as they are now, from that of the last entry's `first` to the end of the row.
        So from one call to the next the list grows at its front, and a word keeps its distance from the end.

        The sum of a histogram is in `NANOSECONDS`, rounded: the owner adds such sums up over workers, and
        whole numbers give the same total in any order. Doubles would not, and a total that a restart makes
        smaller by its last digit is a counter reset to Prometheus. Raises `RowError` for a sum that is no
        number.
        """
        # PERF: one pass of C over all words; a view for each series takes twice as long.
        counts, sums, lowest = self._counts, self._sums, self._lowest
        where = self._sums_from_end[:]  # there may be more of both when this goes on
        words: list[int] = []
        for part in slices(len(counts) - lowest, WORDS):
            words += counts[lowest + part.start : lowest + part.stop].tolist()
            yield
        try:
            for part in slices(len(where), VALUES):
                for at in where[part]:
                    words[at] = round(sums[at] * NANOSECONDS)
                yield
        except (ValueError, OverflowError) as error:
            raise RowError(f"a sum that is no number: {error}") from None
        return words

    def release(self) -> None:
        """Let go of the memory. The reader is of no use after this."""
        self._counts.release()
        self._sums.release()
        self._bytes.release()


def read_row(memory: Memory) -> dict[Series, list[int]]:
    """All series of a row with their words (see `RowReader.words`), in the order of their making.

    Raises `RowError` for memory that is not a row or is damaged.
    """
    reader = RowReader(memory)
    try:
        reader.refresh()
        words = reader.words()
        shift = len(words) - len(memory) // 8
        return {series: words[first + shift : first + shift + family.words] for series, family, first in reader.entries}
    finally:
        reader.release()
