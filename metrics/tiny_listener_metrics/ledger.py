"""The owner's side: the rows of the living workers and the totals of the dead.

The ledger adds up, per series, what all living workers have counted and what all former ones had. When a
worker dies its row is folded into the retired totals and unmapped. So a total never goes back, and memory
and the cost of a reading depend on the number of workers and of series, not on how often workers restart.

Everything happens in the thread of the owner. A reading sees a row before its folding or after it, never
both.
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
"""Examples, by series and number of the bucket, from 0."""

_log = logging.getLogger("tiny_listener.metrics")


class Row:
    """The row of one incarnation of a worker, as its owner has it. `Ledger.open_row` makes it."""

    def __init__(self, name: str, capacity: int) -> None:
        """Map `capacity` bytes of shared memory and make them an empty row; `name` is for the log."""
        self.name = name
        self.memory = mmap.mmap(-1, capacity)
        format_row(self.memory)
        self._exemplars = mmap.mmap(-1, EXEMPLAR_BYTES)
        self._reader = RowReader(self.memory)
        self._places: list[int] = []
        """For each entry of the reader: where its words are in the totals."""
        self._sources: list[int] = []
        """For each word of the totals: where it is in the words of the row."""
        self._arranged = 0
        """How many entries are in `_sources`."""
        self._arrange: list[Callable[[list[int]], tuple[int, ...]]] = []
        """Brings the words of the row into the order of the totals, `WORDS` of these each."""
        self._surplus: list[tuple[int, int]] = []
        """(where in the totals, where in the row) of words that share a total with others of the row."""
        self._last: list[int] = []
        self._stuck_after = -1
        """Entries before the one that was not ready in the last look at the directory; -1 for none."""
        self._damaged = False
        self._complained = False

    def writer(self) -> RowWriter:
        """The writer of this row, for a worker in the owner's own process. A forked one uses
        `Ledger.take_row`. Raises `RowError` if the row has been written to.
        """
        return RowWriter(self.memory, exemplars=ExemplarWriter(self._exemplars))

    def refresh(self, place_of: Callable[[Entry], int], *, final: bool = False) -> Steps[None]:
        """Find new series; `place_of` gives each its place in the totals. `final`: nobody writes any more."""
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
            # It is damage only if it is still so when the writer has had time enough, or has none left.
            if final or stuck_after == self._stuck_after:
                self._complain(error)
        except RowError as error:
            self._damaged = True
            self._complain(error)
        self._stuck_after = stuck_after
        known = len(self._places)
        self._places += map(place_of, entries[known : known + ENTRIES])
        return found == ENTRIES or len(self._places) < len(entries)

    def read(self, size: int) -> list[int]:
        """Return `read_steps` at once."""
        return finish(self.read_steps(size))

    def read_steps(self, size: int) -> Steps[list[int]]:
        """The words of the row, each at its place in totals of `size` words.

        Of a damaged row it is what could be read of it, at worst the reading before, so that a total never
        goes back; the log says so once.
        """
        if not self._damaged:
            try:
                words = yield from self._reader.read_words()
            except RowError as error:
                self._damaged = True
                self._complain(error)
            else:
                words.append(0)  # stands for every word of the totals that the row lacks
                self._last = yield from self._at_their_places(words, size)
        self._last += repeat(0, size - len(self._last))
        return self._last

    def events(self) -> int:
        """How many events its worker has dispatched; of a damaged row those that can be read."""
        with contextlib.suppress(RowError):
            self._reader.refresh()
        return self._reader.count_of(DISPATCH)

    def exemplars(self) -> Iterator[tuple[Series, int, Exemplar]]:
        """Series, number of the bucket, and example, for all examples of series that have been refreshed."""
        entries = self._reader.entries  # each has its words below those of the one before
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
            if sources[place] == -1:  # PERF: the words of a series are together, here and there
                sources[place : place + count] = range(at, at + count)
                changed.update((place // WORDS, (place + count - 1) // WORDS))
            else:
                self._surplus += ((place + word, at + word) for word in range(count))
            if number % ENTRIES == 0:
                yield
        self._arranged = new.stop
        for part in sorted(changed):
            # PERF: an itemgetter puts 16,000 words in order in 0.3 ms. With one index it would return no tuple.
            arrange = itemgetter(*sources[part * WORDS : (part + 1) * WORDS], -1, -1)
            self._arrange[part : part + 1] = [arrange]
            yield

    def _complain(self, error: RowError) -> None:
        if not self._complained:
            self._complained = True
            _log.error("metrics: the row of %s is damaged and counted only in part: %s", self.name, error)

    def close(self) -> None:
        """Unmap the row. If a writer in this process still has it, the memory goes with the writer."""
        self._reader.release()
        for memory in (self.memory, self._exemplars):
            with contextlib.suppress(BufferError):
                memory.close()


class Ledger:
    """The totals of all workers, living and dead."""

    def __init__(self, *, capacity: int = DEFAULT_CAPACITY, max_series: int = MAX_SERIES) -> None:
        """`capacity`: bytes of a row. `max_series`: series with a total of their own. An application that
        has other routes at each restart cannot make the ledger grow further: series beyond these are added
        up in the overflow series of their family.
        """
        self._capacity = capacity
        self._max_series = max_series
        self._rows: dict[Row, None] = {}
        self._series: dict[Series, tuple[int, int]] = {}
        """Where the words of a series begin and end in the totals."""
        self._retired: list[int] = []
        """The totals of the dead. They only grow longer, so a place in them stays what it is."""
        self._is_read = False
        self._dead: list[Row] = []
        """Rows that are closed when the reading that goes on has ended."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows of the living, the oldest first."""
        return tuple(self._rows)

    def open_row(self, name: str = "a worker") -> Row:
        """A new row, to be made before its worker is forked; `name` says in the log whose it is.

        Raises `RowError` for a capacity that is too small and `OSError` without memory.
        """
        row = Row(name, self._capacity)
        self._rows[row] = None
        return row

    def take_row(self, row: Row) -> RowWriter:
        """In a worker, after the fork: its writer. The worker's copies of the other rows are unmapped, or
        their memory would live as long as the worker; the worker's copy of the ledger is empty after this.

        Raises `RowError` if the row has been written to.
        """
        for other in self._rows:
            if other is not row:
                other.close()
        self._rows.clear()
        self._dead.clear()
        return row.writer()

    def close_row(self, row: Row) -> None:
        """Fold a row into the retired totals and unmap it. Its worker must be dead: what it counted after
        this would be lost.

        Raises `RowError` if the row is not of this ledger or is closed.
        """
        if row not in self._rows or row in self._dead:
            raise RowError(f"the row of {row.name} is not open in this ledger")
        self._dead.append(row)
        if not self._is_read:
            self._fold_dead()

    def _fold_dead(self) -> None:
        while self._dead:
            row = self._dead.pop()
            finish(row.refresh(self._place_of, final=True))
            self._retired = list(map(add, self._retired, row.read(len(self._retired))))
            del self._rows[row]
            row.close()

    def totals(self) -> dict[Series, list[int]]:
        """Return `read` at once."""
        return finish(self.read())

    def read(self) -> Steps[dict[Series, list[int]]]:
        """The words of each series (see `row.RowReader.words`), added up, in the order of first sight.

        One reading at a time. A row that is closed meanwhile is folded when it has ended: it is read once.

        :raises RuntimeError: another one goes on
        """
        if self._is_read:
            raise RuntimeError("another reading of the ledger goes on")
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
            self._fold_dead()

    def exemplars(self) -> Exemplars:
        """Return `read_exemplars` at once."""
        return finish(self.read_exemplars())

    def read_exemplars(self) -> Steps[Exemplars]:
        """The last example of each bucket that has one; those of the dead go with them.

        It goes with the totals that were read last: what was counted later may have examples already.
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
