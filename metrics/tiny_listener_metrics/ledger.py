"""The owner's side: the rows of living workers and the totals of dead ones.

For each series, the ledger adds up the counts of all living and all dead workers. When a worker dies, its row is merged
into the retired totals and unmapped. So a total never decreases, and memory and the cost of a read depend on the number
of workers and series, not on the number of restarts.

Use it only in the owner's thread. A read sees a row either before or after its merge, never both.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import repeat
from operator import add, itemgetter
from typing import TypeAlias

from .exemplars import EXEMPLAR_BYTES, Exemplar, ExemplarWriter, read_exemplars
from .row import (
    DEFAULT_CAPACITY,
    MAX_SERIES,
    Entry,
    EntryNotReadyError,
    RowError,
    RowReader,
    RowWriter,
    format_row,
)
from .series import DISPATCH, Series
from .steps import ENTRIES, VALUES, WORDS, Steps, finish, slices

__all__ = ["Exemplars", "Ledger", "Row"]

Exemplars: TypeAlias = dict[Series, dict[int, Exemplar]]
"""Exemplars, by series and bucket index, from 0."""

_log = logging.getLogger("tiny_listener.metrics")


class Row:
    """The row of one worker process, on the owner's side. Made by `Ledger.open_row`."""

    def __init__(self, name: str, capacity: int) -> None:
        """Map `capacity` bytes of shared memory and make them an empty row; `name` is for the log."""
        self.name = name
        self.memory = mmap.mmap(-1, capacity)
        format_row(self.memory)
        self._exemplars = mmap.mmap(-1, EXEMPLAR_BYTES)
        self._reader = RowReader(self.memory)
        self._places: list[int] = []
        """For each entry of the reader: the place of its words in the totals."""
        self._sources: list[int] = []
        """For each word of the totals: its index in the words of the row."""
        self._arranged = 0
        """Number of entries in `_sources`."""
        self._arrange: list[Callable[[list[int]], tuple[int, ...]]] = []
        """Functions that put the words of the row into the order of the totals, `WORDS` words each."""
        self._surplus: list[tuple[int, int]] = []
        """(index in the totals, index in the row) of words that share a total with other words of the row."""
        self._last: list[int] = []
        self._stuck_after = -1
        """Entries before the one that was not ready in the last read of the directory; -1: all were ready."""
        self._damaged = False
        self._logged = False

    def writer(self) -> RowWriter:
        """Return the writer of this row, for a worker in the owner's own process. A forked worker uses
        `Ledger.take_row`. Raises `RowError` if the row has been written to.
        """
        return RowWriter(self.memory, exemplars=ExemplarWriter(self._exemplars))

    def refresh(self, place_of: Callable[[Entry], int], *, final: bool = False) -> Steps[None]:
        """Find new series; `place_of` gives each its place in the totals. `final`: the writer is gone."""
        while self._refresh(place_of, final=final):
            yield

    def _refresh(self, place_of: Callable[[Entry], int], *, final: bool) -> bool:
        """Find some new series; return whether there may be more."""
        entries = self._reader.entries
        stuck_after = -1
        found = 0
        try:
            found = len(self._reader.refresh(ENTRIES))
        except EntryNotReadyError as error:
            stuck_after = len(entries)
            # It is damage only if it persists after the writer had time to finish, or if the writer is gone.
            if final or stuck_after == self._stuck_after:
                self._log_damage(error)
        except RowError as error:
            self._damaged = True
            self._log_damage(error)
        self._stuck_after = stuck_after
        known = len(self._places)
        self._places += map(place_of, entries[known : known + ENTRIES])
        return found == ENTRIES or len(self._places) < len(entries)

    def read(self, size: int) -> list[int]:
        """Run all of `read_steps`."""
        return finish(self.read_steps(size))

    def read_steps(self, size: int) -> Steps[list[int]]:
        """Return the words of the row, each at its place in totals of `size` words.

        Of a corrupt row it returns what could be read, at worst the previous read, so that a total never decreases. The
        log says so once.
        """
        if not self._damaged:
            try:
                words = yield from self._reader.read_words()
            except RowError as error:
                self._damaged = True
                self._log_damage(error)
            else:
                words.append(0)  # for every word of the totals that the row does not have
                self._last = yield from self._at_their_places(words, size)
        self._last += repeat(0, size - len(self._last))
        return self._last

    def events(self) -> int:
        """Return how many events the worker has dispatched; of a corrupt row those that can be read."""
        with contextlib.suppress(RowError):
            self._reader.refresh()
        return self._reader.count_of(DISPATCH)

    def exemplars(self) -> Iterator[tuple[Series, int, Exemplar]]:
        """Yield series, bucket index and exemplar, for all series that have been refreshed."""
        entries = self._reader.entries  # the words of each entry are below those of the one before
        for exemplar in read_exemplars(self._exemplars):
            at = bisect_left(entries, -exemplar.word, key=lambda entry: -entry.first)
            if at < len(entries):
                series, family, first = entries[at]
                bucket = exemplar.word - first - 1
                if family.kind == "histogram" and 0 <= bucket <= len(family.bounds):
                    yield series, bucket, exemplar

    def _at_their_places(self, words: list[int], size: int) -> Steps[list[int]]:
        yield from self._find_sources(size)
        values: list[int] = []
        for arrange in self._arrange:
            values += arrange(words)
            del values[-2:]
            yield
        for place, at in self._surplus:
            values[place] += words[at]
        return values

    def _find_sources(self, size: int) -> Steps[None]:
        """Find where the words of new entries belong in totals of `size` words."""
        sources, changed = self._sources, set[int]()
        if len(sources) < size:
            changed.update(range(len(sources) // WORDS, (size - 1) // WORDS + 1))
            sources += repeat(-1, size - len(sources))
        end = len(self.memory) // 8 + 1  # and the zero
        new = slice(self._arranged, len(self._places))
        for number, (place, entry) in enumerate(zip(self._places[new], self._reader.entries[new], strict=True), 1):
            count, at = entry.family.words, entry.first - end
            if sources[place] == -1:  # PERF: the words of a series are contiguous in both
                sources[place : place + count] = range(at, at + count)
                changed.update((place // WORDS, (place + count - 1) // WORDS))
            else:
                self._surplus += ((place + word, at + word) for word in range(count))
            if number % ENTRIES == 0:
                yield
        self._arranged = new.stop
        for part in sorted(changed):
            # PERF: an itemgetter reorders 16,000 words in 0.3 ms. With a single index it would not return a tuple.
            arrange = itemgetter(*sources[part * WORDS : (part + 1) * WORDS], -1, -1)
            self._arrange[part : part + 1] = [arrange]
            yield

    def _log_damage(self, error: RowError) -> None:
        if not self._logged:
            self._logged = True
            _log.error("metrics: the counters of %s are corrupt and only partly counted: %s", self.name, error)

    def close(self) -> None:
        """Unmap the row. If a writer in this process still uses it, the memory is released with the writer."""
        self._reader.release()
        for memory in (self.memory, self._exemplars):
            with contextlib.suppress(BufferError):
                memory.close()


class Ledger:
    """The totals of all workers, living and dead."""

    def __init__(self, *, capacity: int = DEFAULT_CAPACITY, max_series: int = MAX_SERIES) -> None:
        """`capacity`: bytes of a row. `max_series`: number of series with their own total. Further series are added to
        the overflow series of their family, so that an application with new routes at each restart cannot grow the
        ledger forever.
        """
        self._capacity = capacity
        self._max_series = max_series
        self._rows: dict[Row, None] = {}
        self._series: dict[Series, tuple[int, int]] = {}
        """Start and end of the words of a series in the totals."""
        self._retired: list[int] = []
        """The totals of dead workers. The list only grows, so places in it stay valid."""
        self._is_read = False
        self._dead: list[Row] = []
        """Rows to be closed when the current read has ended."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of living workers, the oldest first."""
        return tuple(self._rows)

    def open_row(self, name: str = "a worker") -> Row:
        """Return a new row. Call this before the worker is forked; `name` identifies it in the log.

        Raises `RowError` if the capacity is too small, and `OSError` if out of memory.
        """
        row = Row(name, self._capacity)
        self._rows[row] = None
        return row

    def take_row(self, row: Row) -> RowWriter:
        """In a worker, after the fork: return its writer. This unmaps the worker's copies of the other rows; otherwise
        their memory would live as long as the worker. The worker's copy of the ledger is empty after this.

        Raises `RowError` if the row has been written to.
        """
        for other in self._rows:
            if other is not row:
                other.close()
        self._rows.clear()
        self._dead.clear()
        return row.writer()

    def close_row(self, row: Row) -> None:
        """Merge a row into the retired totals and unmap it. Its worker must be dead: later counts would be lost.

        Raises `RowError` if the row does not belong to this ledger or is closed.
        """
        if row not in self._rows or row in self._dead:
            raise RowError(f"the row of {row.name} is not open in this ledger")
        self._dead.append(row)
        if not self._is_read:
            self._merge_dead()

    def _merge_dead(self) -> None:
        while self._dead:
            row = self._dead.pop()
            finish(row.refresh(self._place_of, final=True))
            self._retired = list(map(add, self._retired, row.read(len(self._retired))))
            del self._rows[row]
            row.close()

    def totals(self) -> dict[Series, list[int]]:
        """Run all of `read`."""
        return finish(self.read())

    def read(self) -> Steps[dict[Series, list[int]]]:
        """Return the words of each series (see `row.RowReader.words`), added up, in the order in which the series were
        first seen.

        Only one read at a time. A row that is closed meanwhile is merged when the read has ended, so it is counted
        once.

        :raises RuntimeError: another read is in progress
        """
        if self._is_read:
            raise RuntimeError("another read of the ledger is in progress")
        self._is_read = True
        try:
            rows = list(self._rows)
            for row in rows:
                yield from row.refresh(self._place_of)
            totals = self._retired[:]
            places = list(self._series.items())
            of_rows = []
            for row in rows:
                words = yield from row.read_steps(len(totals))
                of_rows.append(words)
            for part in slices(len(totals), 4 * WORDS // (1 + len(rows)) + 1):
                totals[part] = map(sum, zip(totals[part], *(words[part] for words in of_rows), strict=True))
                yield
            found: dict[Series, list[int]] = {}
            for number, (series, (start, end)) in enumerate(places, 1):
                found[series] = totals[start:end]
                if number % VALUES == 0:
                    yield
            return found
        finally:
            self._is_read = False
            self._merge_dead()

    def exemplars(self) -> Exemplars:
        """Run all of `read_exemplars`."""
        return finish(self.read_exemplars())

    def read_exemplars(self) -> Steps[Exemplars]:
        """Return the last exemplar of each bucket that has one; those of dead workers are lost.

        They belong to the totals that were read last, but later observations may have exemplars already.
        """
        found: Exemplars = {}
        for row in list(self._rows):
            if row in self._rows:  # it may have been closed meanwhile
                for series, bucket, exemplar in row.exemplars():
                    of_series = found.setdefault(series, {})
                    if bucket not in of_series or of_series[bucket].timestamp < exemplar.timestamp:
                        of_series[bucket] = exemplar
                yield
        return found

    def _place_of(self, entry: Entry) -> int:
        series, family, _ = entry
        place = self._series.get(series)
        if place is None and series != family.overflow and len(self._series) >= self._max_series:
            series = family.overflow
            place = self._series.get(series)
        if place is None:
            start = len(self._retired)
            place = self._series[series] = (start, start + family.words)
            self._retired += [0] * family.words
        return place[0]
