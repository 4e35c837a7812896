"""Judges what the handlers of published events have written: order, overlap, loss, and repeats. Pure.

Each line of the log is `PID KIND KEY NUMBER`. KIND is `start`, `end`, or `fail` where the handler raised. For each key,
events with the numbers 1 to N were published, in this order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Line", "Verdict", "judge", "parse"]


class Line(NamedTuple):
    """What one handler wrote."""

    pid: int
    kind: str
    key: str
    number: int


@dataclass
class Verdict:
    """What is wrong with a log.

    :ivar order: starts that are out of order
    :ivar overlap: starts while another worker had an event of the key in flight
    :ivar missing: events that never ended
    :ivar unexplained: events that were started again though their handler had not failed, and its worker had not died
    :ivar repeats: the number of starts of events that had been started before, without those after a failure
    :ivar events: the number of events
    """

    order: list[str] = field(default_factory=list)
    overlap: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    repeats: int = 0
    events: int = 0

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.order or self.overlap or self.missing or self.unexplained)

    def __str__(self) -> str:
        parts = (
            f"{self.events} events",
            f"{len(self.order)} out of order",
            f"{len(self.overlap)} overlaps",
            f"{len(self.missing)} missing",
            f"{self.repeats} repeats, {len(self.unexplained)} of them without a reason",
        )
        examples = [(*self.order, *self.overlap, *self.missing, *self.unexplained)[:5]]
        return "; ".join(parts) + ("" if self.is_right else f"\n  such as {examples[0]}")


def parse(text: str) -> list[Line]:
    """Return the lines of a log. The last one may be cut off."""
    lines = []
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            pid, kind, key, number = line.split()
            lines.append(Line(int(pid), kind, key, int(number)))
    return lines


def judge(
    lines: Iterable[Line], published: Mapping[str, int], died: Iterable[int], stopped: Iterable[int] = ()
) -> Verdict:
    """Judge a log.

    :param published: how many events each key had
    :param died: the processes that were killed
    :param stopped: processes that were stopped for so long that another one took their events over
    """
    verdict = Verdict(events=sum(published.values()))
    by_key: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by_key[line.key].append(line)
    excused = {*died, *stopped}
    for key, count in published.items():
        _judge_key(key, by_key.pop(key, []), count, excused, verdict)
    verdict.unexplained += [f"{key}: never published" for key in by_key]
    return verdict


def _judge_key(key: str, lines: list[Line], count: int, excused: set[int], verdict: Verdict) -> None:
    running: dict[int, int] = {}  # the event that each process has in flight
    last: dict[int, Line] = {}  # what was last written of each event
    reached = 0
    ended = set()
    for line in lines:
        pid, kind, _, number = line
        if kind != "start":
            running.pop(pid, None)
            last[number] = line
            if kind == "end":
                ended.add(number)
            continue
        for other, its in running.items():
            if other not in excused:
                verdict.overlap.append(f"{key} {number} at {pid} while {other} had {its}")
        running = {pid: number}
        if number in last:
            before = last[number]
            if before.kind != "fail":
                verdict.repeats += 1
                if before.pid not in excused:
                    verdict.unexplained.append(f"{key} {number} at {pid} after {before}")
        # What is seen is 1, 2, 3, 3, 4: only the event that was reached last comes again.
        if number not in (reached, reached + 1):
            verdict.order.append(f"{key} {number} after {reached}")
        reached = max(reached, number)
        last[number] = line
    verdict.missing += [f"{key} {number}" for number in range(1, count + 1) if number not in ended]
