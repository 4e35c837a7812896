"""The application's own prometheus_client metrics, added up over workers living and dead.

It is to them what `ledger` is to the metrics of tiny-listener: a row of shared memory for each worker, opened before
the fork, and folded when the worker is dead. What a page costs depends on workers and samples, not on restarts.

A sample is added up as its kind wants it:

| kind | living workers | a dead one |
|---|---|---|
| counter, histogram, summary | sum | keeps what it counted |
| gauge `sum`, `min`, `max` | sum, least, greatest | keeps its share |
| gauge `mostrecent` | the one that was set last | keeps its share |
| gauge `all` | each, with the number of its slot as `pid` | until its successor has one |
| gauges `live...` | as without `live` | goes |
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
from .values import DEFAULT_VALUES_CAPACITY, Home, ValueKey, ValuesError, ValuesReader, install

__all__ = ["ApplicationMetrics", "ValuesRow"]

_log = logging.getLogger("tiny_listener.metrics")

MAX_SAMPLES: Final = 100_000
"""How many values of dead workers are kept: an application that has others in each worker cannot fill the memory."""
PRELOADER: Final = "supervisor"
"""Stands for the number of a slot where the process that forks the workers counts itself."""

Labels: TypeAlias = tuple[tuple[str, str], ...]

_bound_text: Callable[[float], str] = floatToGoString


class _Kind(msgspec.Struct, frozen=True, gc=False):
    kind: str
    mode: str


class _Sample(msgspec.Struct, frozen=True, gc=False):
    """PERF: the collector of cycles does not look at them: there may be 100,000 in each worker."""

    family: str
    kind: _Kind
    name: str
    labels: Labels


Totals: TypeAlias = dict[_Sample, tuple[float, float]]
"""Value and time of each sample."""


class ValuesRow:
    """The values of one incarnation of a worker, as their owner has them."""

    def __init__(self, worker: str, capacity: int) -> None:
        """Map `capacity` bytes of shared memory; `worker` is the number of its slot."""
        self.worker = worker
        self.memory = mmap.mmap(-1, capacity)
        self.reader = ValuesReader(self.memory)
        self.samples: list[tuple[_Sample, int]] = []
        """What has been found, each with the number of its word."""
        self.families: dict[str, tuple[_Kind, str]] = {}
        """The kind and the help of each metric."""
        self._stuck = -1
        self._complained = False

    def refresh(self, *, final: bool = False) -> bool:
        """Find some new samples; return whether there are more. `final`: nobody writes any more."""
        is_more = False
        known = len(self.samples)
        try:
            is_more = self.reader.refresh(ENTRIES)
        except ValuesError as error:
            found = len(self.reader.entries)
            # It is damage only if it is still so when the writer has had time enough, or has none left.
            if (final or found == self._stuck) and not self._complained:
                self._complained = True
                _log.error(
                    "metrics: the application's values of worker %s are damaged and counted only in part: %s",
                    self.worker, error,
                )  # fmt: skip
            self._stuck = found
        for key, word in self.reader.entries[known:]:
            kind = _Kind(key.kind, key.mode)
            was, text = self.families.get(key.family, (kind, ""))
            if was != kind:
                _log.warning("metrics: the application has two metrics named %s: one is left out", key.family)
            self.families[key.family] = kind, key.help or text
            self.samples.append((_Sample(key.family, kind, key.sample, self._labels(key)), word))
        return is_more

    def _labels(self, key: ValueKey) -> Labels:
        if key.mode in ("all", "liveall") and all(name != "pid" for name, _ in key.labels):
            return (*key.labels, ("pid", self.worker))
        return key.labels

    def add_to(self, totals: Totals, part: slice, *, dead: bool = False) -> list[_Sample]:
        """Add some samples to totals; of a dead worker those that outlive it. Return those that find no room."""
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
                value, time = _merge(sample.kind.mode, before, (value, time))
            elif dead and len(totals) >= MAX_SAMPLES:
                lost.append(sample)
                continue
            totals[sample] = value, time
        return lost

    def close(self) -> None:
        """Unmap the memory. If a writer in this process still has it, it goes with the writer."""
        self.reader.release()
        with contextlib.suppress(BufferError):
            self.memory.close()


def _merge(mode: str, before: tuple[float, float], new: tuple[float, float]) -> tuple[float, float]:
    match mode.removeprefix("live"):
        case "" | "sum":
            return before[0] + new[0], 0.0
        case "min":
            return min(before, new)
        case "max":
            return max(before, new)
        case "mostrecent":
            return max(before, new, key=_time)
    return new  # all: the newest of its slot


def _time(value: tuple[float, float]) -> float:
    return value[1]


class ApplicationMetrics:
    """The application's own metrics, of all workers: a collector for `Exposition.show_application`.

    Everything happens in the thread of the owner.
    """

    def __init__(self, *, capacity: int = DEFAULT_VALUES_CAPACITY) -> None:
        """`capacity`: bytes for the values of one worker."""
        self._capacity = capacity
        self._rows: dict[ValuesRow, None] = {}
        self._dead: list[ValuesRow] = []
        """Rows that are to be folded: the first of them up to the sample `_folded`."""
        self._folded = 0
        self._is_folding = False
        """Whether the event loop will go on with it."""
        self._readings = 0
        """How many go on: meanwhile nothing is folded, so that each row is read once."""
        self._retired: Totals = {}
        self._families: dict[str, tuple[_Kind, str]] = {}
        """Of the dead."""
        self._complained = False
        self._home: Home | None = None

    def take_over(self) -> None:
        """Let the metrics that are made from now on in this process, and in workers that it forks, be counted here.

        What this process counts itself, while it loads the application for its workers (`--preload`), stays on the
        page: but for gauges, whose values each worker takes along.
        """
        row = self.open_row(PRELOADER)
        self._home = Home(row.memory)
        install(self._home)

    def open_row(self, worker: str) -> ValuesRow:
        """A new row, to be made before its worker is forked into the slot with this number.

        :raises OSError: there is no memory
        """
        row = ValuesRow(worker, self._capacity)
        self._rows[row] = None
        return row

    def take_row(self, row: ValuesRow) -> None:
        """In a worker, after the fork and before it loads the application: let its metrics live in this row.

        The worker's copies of the other rows are unmapped, or their memory would live as long as the worker.
        """
        assert self._home is not None
        self._home.move(row.memory)
        for other in (*self._rows, *self._dead):
            if other is not row:
                other.close()
        self._rows.clear()
        self._dead.clear()

    def close_row(self, row: ValuesRow) -> None:
        """Keep what outlives the worker and unmap its row: in steps, where an event loop runs.

        It must be dead: what it counted after this would be lost.
        """
        del self._rows[row]
        self._dead.append(row)
        if len(self._dead) == 1:
            self._go_on_folding()

    def _go_on_folding(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            while self._dead and not self._readings:
                self._fold_some()
        else:
            if not self._is_folding:
                self._is_folding = True
                loop.call_soon(self._fold_next, loop)

    def _fold_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_folding = bool(self._dead) and not self._readings  # else it goes on when these have ended
        if self._is_folding:
            self._fold_some()
            loop.call_soon(self._fold_next, loop)

    def _fold_some(self) -> None:
        """Keep some more of the first of the dead; unmap it in the end."""
        row = self._dead[0]
        if row.refresh(final=True):
            return
        part = slice(self._folded, min(self._folded + VALUES, len(row.samples)))
        self._folded = part.stop
        lost = row.add_to(self._retired, part, dead=True)
        if lost and not self._complained:
            self._complained = True
            _log.warning(
                "metrics: dead workers leave more than %d values of the application: %s with labels %s, and what "
                "else is new in a dead worker, is lost",
                MAX_SAMPLES, lost[0].family, dict(lost[0].labels),
            )  # fmt: skip
        if self._folded == len(row.samples):
            self._families |= row.families
            self._folded = 0
            del self._dead[0]
            row.close()

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now; where workers with new code have another kind of metric, that one."""
        return complete(self.collect_in_steps())

    def collect_in_steps(self) -> Iterator[Metric | None]:
        """The same, as `format.Format.metric` takes them: samples are made when they are asked for.

        None: there is more to do before the next metric.
        """
        self._readings += 1
        try:
            totals, families = self._retired.copy(), self._families.copy()
            for row, dead, folded in (
                *((row, True, 0 if number else self._folded) for number, row in enumerate(self._dead)),
                *((row, False, 0) for row in self._rows),
            ):
                while row.refresh(final=dead):
                    yield None
                families |= row.families
                for part in slices(len(row.samples), VALUES, folded):
                    row.add_to(totals, part, dead=dead)
                    yield None
        finally:
            self._readings -= 1
            if self._dead and not self._readings:
                self._go_on_folding()
        of_family: dict[str, Totals] = {name: {} for name in families}
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


def _plain(samples: Totals) -> Iterator[Sample]:
    for sample, (value, time) in samples.items():
        if time or not sample.kind.mode.endswith("mostrecent"):  # else nobody has set it
            yield Sample(sample.name, dict(sample.labels), value)


def _histogram(name: str, samples: Totals) -> Iterator[Sample | None]:
    """Cumulate buckets. The count is the last of them: the two can never differ. None: there is more to do first."""
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
        counts = buckets.pop(labels)  # to free them all in the end would take long
        counts.setdefault(float("inf"), 0.0)  # it is made last, and its worker may not have come to it
        bounds = sorted(counts)
        cumulated = list(accumulate(counts[bound] for bound in bounds))
        for bound, count in zip(bounds, cumulated, strict=True):
            yield Sample(f"{name}_bucket", {**dict(labels), "le": _bound_text(bound)}, count)
        yield Sample(f"{name}_count", dict(labels), cumulated[-1])
        if bounds[0] >= 0 and labels in sums:  # OpenMetrics has no sum of what may be negative
            yield Sample(f"{name}_sum", dict(labels), sums[labels])
