"""Whether a run was good enough: what clients saw against `slo.toml`. Pure, but for reading the file."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ALL", "Objectives", "Seen", "Verdict", "judge", "percentile", "read_objectives"]

ALL = "all"
"""The name of all scenarios together."""
KEYS = {"failures": "greatest share of failed requests", "rate": "least requests/s"}
PERCENTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}

Objectives = Mapping[str, Mapping[str, float]]
"""By scenario: `failures`, the greatest share of requests that may fail; `rate`, the fewest requests/s; `p50`, `p95`,
`p99` in milliseconds."""


@dataclass
class Seen:
    """What clients saw of a scenario.

    :ivar times: how often which time was seen, in milliseconds
    """

    requests: int = 0
    failures: int = 0
    times: Counter[float] = field(default_factory=Counter)

    def add(self, other: Seen) -> None:
        """Take what others saw to it."""
        self.requests += other.requests
        self.failures += other.failures
        self.times.update(other.times)


@dataclass(frozen=True)
class Verdict:
    """One objective, and whether it was met."""

    scenario: str
    key: str
    objective: float
    value: float
    is_met: bool

    def __str__(self) -> str:
        """For people."""
        relation = ">=" if self.key == "rate" else "<="
        unit = {"rate": " requests/s", "failures": " of the requests"}.get(self.key, " ms")
        met = "met" if self.is_met else "MISSED"
        return f"{self.scenario}: {self.key} {self.value:.6g}{unit}, {relation} {self.objective:g}: {met}"


def percentile(times: Mapping[float, int], share: float) -> float:
    """Return the time within which this share of the requests was answered; 0 when there was none."""
    left = share * sum(times.values())
    most = 0.0
    for time in sorted(times):
        most = time
        left -= times[time]
        if left <= 0:
            break
    return most


def read_objectives(path: Path, scenarios: Iterable[str]) -> Objectives:
    """Read objectives from a file in TOML.

    :param scenarios: those that there are
    :raises ValueError: it is none, or names what there is not
    :raises OSError: it cannot be read
    """
    try:
        tables = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as exc:
        raise ValueError(f"{path}: {exc}") from None
    known, keys = {ALL, *scenarios}, {*KEYS, *PERCENTILES}
    for scenario, table in tables.items():
        if scenario not in known or not isinstance(table, dict):
            raise ValueError(f"{path}: [{scenario}] is not a scenario; there are {', '.join(sorted(known))}")
        for key, value in table.items():
            if key not in keys:
                raise ValueError(f"{path}: [{scenario}] {key} is not an objective; there are {', '.join(sorted(keys))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
                raise ValueError(f"{path}: [{scenario}] {key} should be a number from 0 on, not {value!r}")
    return tables


def judge(objectives: Objectives, seen: Mapping[str, Seen], seconds: float) -> list[Verdict]:
    """Hold what was seen against the objectives of those scenarios that were run.

    :param seconds: that the run took
    """
    total = Seen()
    for one in seen.values():
        total.add(one)
    verdicts = []
    for scenario, table in objectives.items():
        figures = total if scenario == ALL else seen.get(scenario)
        if figures is None:
            continue
        for key, objective in table.items():
            if key == "failures":  # no request at all is no success
                value = figures.failures / figures.requests if figures.requests else 1.0
            elif key == "rate":
                value = figures.requests / seconds
            else:
                value = percentile(figures.times, PERCENTILES[key])
            is_met = value >= objective if key == "rate" else value <= objective
            verdicts.append(Verdict(scenario, key, objective, value, is_met))
    return verdicts
