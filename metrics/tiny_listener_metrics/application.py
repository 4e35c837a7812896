"""The application's own prometheus_client metrics, aggregated over living and dead workers.

Like `ledger` for the metrics of tiny-listener: one row of shared memory per worker, opened before the fork, and merged
into the totals when the worker is dead. The cost of a page depends on workers and samples, not on restarts.

How samples are aggregated depends on their kind:

| kind | living workers | dead workers |
|---|---|---|
| counter, histogram, summary | sum | included |
| gauge `sum`, `min`, `max` | sum, minimum, maximum | included |
| gauge `mostrecent` | the value set last | included |
| gauge `all` | each, with the slot number as `pid` | until the successor sets a value |
| gauges `live...` | as without `live` | excluded |
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final, TypeAlias

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from .format import complete
from .steps import ENTRIES, VALUES, slices
from .values import DEFAULT_VALUES_CAPACITY, ValueKey, ValuesError, ValuesReader, ValueStore, install

__all__ = ["ApplicationMetrics", "ValuesRow"]

_log = logging.getLogger("tiny_listener.metrics")

MAX_SAMPLES: Final = 100_000
"""Maximum number of values of dead workers, so that new label values in each worker cannot exhaust memory."""
PRELOADER: Final = "supervisor"
"""Replaces the slot number for what the process that forks the workers counts itself."""

Labels: TypeAlias = tuple[tuple[str, str], ...]

_bound_text: Callable[[float], str] = floatToGoString


class _Kind(msgspec.Struct, frozen=True, gc=False):
    kind: str
    mode: str


class _Sample(msgspec.Struct, frozen=True, gc=False):
    """PERF: not tracked by the garbage collector: there may be 100,000 in each worker."""

    family: str
    kind: _Kind
    name: str
    labels: Labels


SampleTotals: TypeAlias = dict[_Sample, tuple[float, float]]
"""Value and timestamp of each sample."""


class ValuesRow:
    """The values of one worker process, on the owner's side."""

    def __init__(self, worker: str, capacity: int) -> None:
        """Map `capacity` bytes of shared memory; `worker` is the slot number."""
        self.worker = worker
        self.memory = mmap.mmap(-1, capacity)
        self.reader = ValuesReader(self.memory)
        self.samples: list[tuple[_Sample, int]] = []
        """The samples found so far, each with its word index."""
        self.families: dict[str, tuple[_Kind, str]] = {}
        """Kind and HELP text of each metric."""
        self._stuck = -1
        self._logged = False

    def refresh(self, *, final: bool = False) -> bool:
        """Find some new samples; return whether there are more. `final`: the writer is gone."""
        is_more = False
        known = len(self.samples)
        try:
            is_more = self.reader.refresh(ENTRIES)
        except ValuesError as error:
            found = len(self.reader.entries)
            # It is damage only if it persists after the writer had time to finish, or if the writer is gone.
            if (final or found == self._stuck) and not self._logged:
                self._logged = True
                _log.error(
                    "metrics: the application's values of worker %s are corrupt and only partly counted: %s",
                    self.worker, error,
                )  # fmt: skip
            self._stuck = found
        for key, word in self.reader.entries[known:]:
            kind = _Kind(key.kind, key.mode)
            was, text = self.families.get(key.family, (kind, ""))
            if was != kind:
                _log.warning("metrics: the application has two metrics named %s: one is not exposed", key.family)
            self.families[key.family] = kind, key.help or text
            self.samples.append((_Sample(key.family, kind, key.sample, self._labels(key)), word))
        return is_more

    def _labels(self, key: ValueKey) -> Labels:
        if key.mode in ("all", "liveall") and all(name != "pid" for name, _ in key.labels):
            return (*key.labels, ("pid", self.worker))
        return key.labels

    def add_to(self, totals: SampleTotals, part: slice, *, dead: bool = False) -> list[_Sample]:
        """Add some samples to totals; of a dead worker only those to keep. Return those that exceed the limit."""
        lost: list[_Sample] = []
        words = self.reader.words
        for sample, word in self.samples[part]:
            if (dead and sample.kind.mode.startswith("live")) or (
                self.worker == PRELOADER and sample.kind.kind == "gauge"
            ):
                continue
            value, time = words[word], words[word + 1]
            before = totals.get(sample)
            if before is not None:
                value, time = _combine(sample.kind.mode, before, (value, time))
            elif dead and len(totals) >= MAX_SAMPLES:
                lost.append(sample)
                continue
            totals[sample] = value, time
        return lost

    def close(self) -> None:
        """Unmap the memory. If a writer in this process still uses it, it is released with the writer."""
        self.reader.release()
        with contextlib.suppress(BufferError):
            self.memory.close()


def _combine(mode: str, before: tuple[float, float], new: tuple[float, float]) -> tuple[float, float]:
    match mode.removeprefix("live"):
        case "" | "sum":
            return before[0] + new[0], 0.0
        case "min":
            return min(before, new)
        case "max":
            return max(before, new)
        case "mostrecent":
            return max(before, new, key=_time)
    return new  # all: the newest value of the slot


def _time(value: tuple[float, float]) -> float:
    return value[1]


class ApplicationMetrics:
    """The application's own metrics of all workers: a collector for `Exposition.show_application`.

    Use it only in the owner's thread.
    """

    def __init__(self, *, capacity: int = DEFAULT_VALUES_CAPACITY) -> None:
        """`capacity`: bytes for the values of each worker."""
        self._capacity = capacity
        self._rows: dict[ValuesRow, None] = {}
        self._dead: list[ValuesRow] = []
        """Rows that are to be merged. Of the first, the samples before `_merged` are merged already."""
        self._merged = 0
        self._is_merging = False
        """Whether a callback on the event loop continues with it."""
        self._readings = 0
        """Number of reads in progress. Nothing is merged meanwhile, so that each row is read once."""
        self._retired: SampleTotals = {}
        self._families: dict[str, tuple[_Kind, str]] = {}
        """Those of dead workers."""
        self._logged = False
        self._store: ValueStore | None = None

    def take_over(self) -> None:
        """Store all metrics made from now on, in this process and in the workers that it forks, in shared memory.

        What this process counts itself while it preloads the application (`--preload`) is exposed as well, except
        gauges: each worker inherits their values.
        """
        row = self.open_row(PRELOADER)
        self._store = ValueStore(row.memory)
        install(self._store)

    def open_row(self, worker: str) -> ValuesRow:
        """Return a new row. Call this before the worker is forked into the slot with this number.

        :raises OSError: out of memory
        """
        row = ValuesRow(worker, self._capacity)
        self._rows[row] = None
        return row

    def take_row(self, row: ValuesRow) -> None:
        """In a worker, after the fork and before it loads the application: store its metrics in this row.

        This unmaps the worker's copies of the other rows; otherwise their memory would live as long as the worker.
        """
        assert self._store is not None
        self._store.move(row.memory)
        for other in (*self._rows, *self._dead):
            if other is not row:
                other.close()
        self._rows.clear()
        self._dead.clear()

    def close_row(self, row: ValuesRow) -> None:
        """Merge the row into the totals and unmap it; in steps if an event loop runs.

        The worker must be dead: later counts would be lost.
        """
        del self._rows[row]
        self._dead.append(row)
        if len(self._dead) == 1:
            self._continue_merging()

    def _continue_merging(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            while self._dead and not self._readings:
                self._merge_some()
        else:
            if not self._is_merging:
                self._is_merging = True
                loop.call_soon(self._merge_next, loop)

    def _merge_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_merging = bool(self._dead) and not self._readings  # otherwise it continues when the reads have ended
        if self._is_merging:
            self._merge_some()
            loop.call_soon(self._merge_next, loop)

    def _merge_some(self) -> None:
        """Merge some samples of the first dead row; unmap it at the end."""
        row = self._dead[0]
        if row.refresh(final=True):
            return
        part = slice(self._merged, min(self._merged + VALUES, len(row.samples)))
        self._merged = part.stop
        lost = row.add_to(self._retired, part, dead=True)
        if lost and not self._logged:
            self._logged = True
            _log.warning(
                "metrics: dead workers left more than %d values of the application: %s with labels %s, and all further "
                "new values of dead workers, are discarded",
                MAX_SAMPLES, lost[0].family, dict(lost[0].labels),
            )  # fmt: skip
        if self._merged == len(row.samples):
            self._families |= row.families
            self._merged = 0
            del self._dead[0]
            row.close()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics. If workers with new code changed the kind of a metric, the new kind wins."""
        return complete(self.collect_in_steps())

    def collect_in_steps(self) -> Iterator[Metric | None]:
        """Yield the same in the form that `format.Format.metric` takes: samples are made lazily.

        None: there is more work before the next metric.
        """
        self._readings += 1
        try:
            totals, families = self._retired.copy(), self._families.copy()
            for row, dead, merged in (
                *((row, True, 0 if number else self._merged) for number, row in enumerate(self._dead)),
                *((row, False, 0) for row in self._rows),
            ):
                while row.refresh(final=dead):
                    yield None
                families |= row.families
                for part in slices(len(row.samples), VALUES, merged):
                    row.add_to(totals, part, dead=dead)
                    yield None
        finally:
            self._readings -= 1
            if self._dead and not self._readings:
                self._continue_merging()
        of_family: dict[str, SampleTotals] = {name: {} for name in families}
        for number, (sample, value) in enumerate(totals.items(), 1):
            if sample.kind == families[sample.family][0]:
                of_family[sample.family][sample] = value
            if number % VALUES == 0:
                yield None
        for name, samples in of_family.items():
            kind, text = families[name]
            metric: Any = Metric(name, text, kind.kind)
            metric.samples = _histogram(name, samples) if kind.kind == "histogram" else _plain(samples)
            yield metric


def _plain(samples: SampleTotals) -> Iterator[Sample]:
    for sample, (value, time) in samples.items():
        if time or not sample.kind.mode.endswith("mostrecent"):  # otherwise it was never set
            yield Sample(sample.name, dict(sample.labels), value)


def _histogram(name: str, samples: SampleTotals) -> Iterator[Sample | None]:
    """Cumulate buckets. The count is the last bucket, so the two cannot differ. None: there is more work first."""
    buckets: dict[Labels, dict[float, float]] = {}
    sums: dict[Labels, float] = {}
    for number, (sample, (value, _)) in enumerate(samples.items(), 1):
        if number % VALUES == 0:
            yield None
        if sample.name == f"{name}_bucket":
            labels = tuple(pair for pair in sample.labels if pair[0] != "le")
            of_labels = buckets.setdefault(labels, {})
            bound = float(dict(sample.labels)["le"])
            of_labels[bound] = of_labels.get(bound, 0.0) + value
        else:
            sums[sample.labels] = value
    for labels in list(buckets):
        counts = buckets.pop(labels)  # freeing them all at the end would take long
        counts.setdefault(float("inf"), 0.0)  # it is made last, and the worker may not have made it yet
        bounds = sorted(counts)
        cumulated = list(accumulate(counts[bound] for bound in bounds))
        for bound, count in zip(bounds, cumulated, strict=True):
            yield Sample(f"{name}_bucket", {**dict(labels), "le": _bound_text(bound)}, count)
        yield Sample(f"{name}_count", dict(labels), cumulated[-1])
        if bounds[0] >= 0 and labels in sums:  # OpenMetrics has no sum for values that may be negative
            yield Sample(f"{name}_sum", dict(labels), sums[labels])
