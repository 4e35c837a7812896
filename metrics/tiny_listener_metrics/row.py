"""A row: the shared memory in which one worker counts and which its owner reads.

The owner makes the row before it forks the worker (`format_row`). The worker is the only writer (`RowWriter`), and the
owner may read at any time (`RowReader`). Neither waits for the other. A row describes itself, so processes with
different routes need to agree only on this layout. Numbers are in native byte order: a row never leaves its machine.

    bytes       meaning
    0-7         b"tlmetric"
    8-15        uint64: version of this layout, 2
    16-23       uint64: size of the row, bytes
    24-31       uint64: length L of the directory, bytes; only grows
    32-32+L     the directory, append-only
    ...         free, all zero
    ...-end     the words, 8 bytes each and aligned to 8; each new series takes its words below the last

The directory is a sequence of entries, each padded with zeros to a multiple of 8:

    0-3         uint32: length N of the name, bytes; never 0
    4-7         uint32: CRC-32 of the name, seeded with the index of the first word
    8-15        uint64: index of the first word, from the start of the row in units of 8 bytes
    16-16+N     the name: MessagePack of [family, [label value, ...]]

The family (`series.Family.words`) defines how many words follow the first, and their meaning. Counts are uint64; the
sum of a histogram, its first word, is a double.

**Publication.** An entry is complete before L is raised to include it, and its words are zero from the beginning. So a
reader that respects L sees complete entries. A processor that reorders stores could still publish L before the entry.
The checksum detects that, and the reader tries again later (`EntryNotReadyError`).

**Words.** The writer increments a word by one load and one store, without a lock. That is safe because there is one
writer with one thread. CPython's `memoryview` moves a native 8-byte item by one 8-byte move, which is atomic when
aligned. Two words are not read at the same instant: a bucket can be one ahead of its sum.

**Fullness.** A row reserves room for the overflow series of every family. A series for which there is no room, or that
exceeds `max_series`, is counted in the overflow series of its family. Nothing in the writer raises after construction.
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
    "RowError",
    "RowMemory",
    "RowReader",
    "RowWriter",
    "entry_bytes",
    "format_row",
    "read_row",
]

RowMemory: TypeAlias = mmap.mmap | bytearray
"""What a row is stored in: a shared map between processes, a bytearray within one."""

MAX_SERIES: Final = 10_000
"""Maximum number of series of a row, and of a ledger, with their own words.

10,000 histograms are a page of 170,000 lines and some 20 MB, which Prometheus scrapes every 15 s. Above that the remedy
is fewer labels, not more room. It is enough for 3,300 HTTP routes with one status each."""

DEFAULT_CAPACITY: Final = 4 * 1024 * 1024
"""Bytes of a row: `MAX_SERIES` histograms of 128 bytes, with entries of up to 290 bytes on average.

It is address space, not memory: the kernel allocates only pages of an anonymous map that are touched, and a row with
300 routes touches 0.2 MB."""

NANOSECONDS: Final = 1_000_000_000
"""Units of a histogram's sum, as read, per base unit (second)."""

_MAGIC: Final = b"tlmetric"
_VERSION: Final = 2
"""2: a fifth outcome of `tiny_listener_events`."""
_HEADER: Final = struct.Struct("=8sQQQ")
_LENGTH_WORD: Final = 3
_ENTRY: Final = struct.Struct("=IIQ")

_log = logging.getLogger("tiny_listener.metrics")
_decode_series = msgspec.msgpack.Decoder(Series).decode


def entry_bytes(series: Series) -> int:
    """Return the bytes of this series' entry in a directory."""
    return _padded(_ENTRY.size + len(msgspec.msgpack.encode(series)))


def _padded(size: int) -> int:
    return (size + 7) & ~7


_RESERVE: Final = sum(entry_bytes(family.overflow) + 8 * family.words for family in FAMILIES.values())
"""Bytes that a row reserves for overflow series."""

MIN_CAPACITY: Final = _HEADER.size + _RESERVE
"""Bytes of the smallest row, which has room only for overflow series."""


class RowError(Exception):
    """A block of memory is not a row, or is corrupt, or must not be used any more."""


@lru_cache(maxsize=2 * MAX_SERIES)
def _series_of(name: bytes) -> tuple[Series, Family]:
    """Return the series and the family of a name in a directory.

    PERF: the rows of all workers have the same names, and a reload adds as many rows again.

    :raises ValueError: it is not the name of a series; the text says what it is
    """
    try:
        series = _decode_series(name)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not the name of a series ({error})") from None
    family = FAMILIES.get(series.family)
    if family is None or len(series.labels) != family.own_labels:
        raise ValueError(f"an unknown series {series}")
    return series, family


class EntryNotReadyError(RowError):
    """The next entry of the directory is corrupt, or has not been written completely yet."""


class Entry(NamedTuple):
    """A series of a row, and the location of its words."""

    series: Series
    family: Family
    first: int
    """Index of its first word."""


def format_row(memory: RowMemory) -> None:
    """Make zeroed memory an empty row.

    Raises `RowError` for memory smaller than `MIN_CAPACITY`, or whose size is not a multiple of 8.
    """
    size = len(memory)
    if size < MIN_CAPACITY or size % 8:
        raise RowError(f"the size of a row must be a multiple of 8 and at least {MIN_CAPACITY} bytes, not {size}")
    _HEADER.pack_into(memory, 0, _MAGIC, _VERSION, size, 0)


class RowWriter:
    """The worker's side of a row. Only one writer at a time, used by one thread."""

    __slots__ = ("_end", "_first_words", "_lowest", "_max_series", "_memory", "_warned", "counts", "exemplars", "sums")

    def __init__(
        self, memory: RowMemory, *, max_series: int = MAX_SERIES, exemplars: ExemplarWriter | None = None
    ) -> None:
        """Start writing an empty row; with `exemplars` if they are stored.

        Raises `RowError` for memory that is not a row, and for a row that has been written to: its series belong to
        another worker.
        """
        if RowReader(memory).refresh():
            raise RowError("this row has been written to; each worker needs a new one")
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
        """Stores exemplars; None: they are not stored."""
        self._lowest = len(self.counts)

    def add(self, family: Family, *labels: str) -> int:
        """Return the index of the first word of a series, which is made if it does not exist.

        `labels` are the values of `family.labels`, without an enumerated last one (see `Family.variants`). Text that an
        exposition does not allow is escaped. If there is no room for another series, the overflow series of the family
        is returned.
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
        self.counts[_LENGTH_WORD] = self._end - _HEADER.size  # the last store publishes the entry
        return first

    def _warn(self, series: Series) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "metrics: no room for more than %d series; %s and later ones are counted as %r",
                len(self._first_words),
                series,
                FAMILIES[series.family].overflow.labels,
            )


class RowReader:
    """The owner's side of a row. It keeps what it has decoded, so reading a directory again is cheap."""

    __slots__ = ("_buckets", "_bytes", "_counts", "_end", "_lowest", "_sums", "_sums_from_end", "entries")

    def __init__(self, memory: RowMemory) -> None:
        """Raises `RowError` for memory that is not a row with this version of the layout."""
        if len(memory) < _HEADER.size or len(memory) % 8:
            raise RowError(f"not a row: {len(memory)} bytes")
        magic, version, size, _ = _HEADER.unpack_from(memory)
        if (magic, version, size) != (_MAGIC, _VERSION, len(memory)):
            raise RowError(f"not a row: magic {magic!r}, version {version}, {size} of {len(memory)} bytes")
        self._bytes = memoryview(memory)
        self._counts = self._bytes.cast("Q")
        self._sums = self._bytes.cast("d")
        self._end = _HEADER.size
        self._lowest = len(self._counts)
        self.entries: list[Entry] = []
        """Entries decoded so far, in the order of the directory."""
        self._sums_from_end: list[int] = []
        """Indices in `words` of the sums of histograms."""
        self._buckets: dict[str, list[slice]] = {}
        """Slices of the counts of histograms, by family name."""

    def refresh(self, most: int | None = None) -> list[Entry]:
        """Decode what was published since the last call, add it to `entries` and return it; at most `most` entries.

        Raises `EntryNotReadyError` at an entry that cannot be read (those before it are in `entries`), and `RowError`
        for an invalid directory.
        """
        magic = bytes(self._bytes[: len(_MAGIC)])
        if magic != _MAGIC:
            raise RowError(f"the row has been overwritten: magic {magic!r}")
        published, limit = _HEADER.size + self._counts[_LENGTH_WORD], 8 * self._lowest
        if not self._end <= published <= limit:
            raise RowError(f"the directory ends at byte {published}, not between {self._end} and {limit}")
        known = len(self.entries)
        end = None if most is None else known + most
        while self._end < published and len(self.entries) != end:
            self.entries.append(self._decode_entry(published))
        return self.entries[known:]

    def _decode_entry(self, published: int) -> Entry:
        at = self._end
        if published - at < _ENTRY.size:
            raise EntryNotReadyError(f"an incomplete entry at byte {at}")
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
        """Return the number of observations of a histogram, over all its series. It reads no other words."""
        counts = self._counts
        return sum(sum(counts[buckets]) for buckets in self._buckets.get(family.name, ()))

    def words(self) -> list[int]:
        """Run all of `read_words`."""
        return finish(self.read_words())

    def read_words(self) -> Steps[list[int]]:
        """Return all current words of the row, from the last entry's `first` to the end of the row. So from one call to
        the next the list grows at its front, and a word keeps its distance from the end.

        The sum of a histogram is rounded to `NANOSECONDS`. The owner adds such sums over workers, and integers give the
        same total in any order. Doubles would not: a total that a restart decreases in its last digit is a counter
        reset for Prometheus. Raises `RowError` for a sum that is not a number.
        """
        # PERF: one C loop over all words; a view for each series takes twice as long.
        counts, sums, lowest = self._counts, self._sums, self._lowest
        where = self._sums_from_end[:]  # both may grow while this generator is suspended
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
            raise RowError(f"a sum that is not a number: {error}") from None
        return words

    def release(self) -> None:
        """Release the memory. The reader must not be used after this."""
        self._counts.release()
        self._sums.release()
        self._bytes.release()


def read_row(memory: RowMemory) -> dict[Series, list[int]]:
    """Return all series of a row with their words (see `RowReader.words`), in the order in which they were made.

    Raises `RowError` for memory that is not a row or is corrupt.
    """
    reader = RowReader(memory)
    try:
        reader.refresh()
        words = reader.words()
        shift = len(words) - len(memory) // 8
        return {series: words[first + shift : first + shift + family.words] for series, family, first in reader.entries}
    finally:
        reader.release()
