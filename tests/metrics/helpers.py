"""What the tests of the metrics share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar, cast

from tiny_listener_metrics import FAMILIES, Ledger, Recorder, Row, Series, format_row
from tiny_listener_metrics.series import OUTCOMES

if TYPE_CHECKING:
    from tiny_listener.core.registration import Route

T = TypeVar("T")


def memory_for_row(size: int = 1 << 20) -> bytearray:
    memory = bytearray(size)
    format_row(memory)
    return memory


def route(path: str) -> Route:
    """All that a recorder needs of a route."""
    return cast("Route", SimpleNamespace(path=path))


def work(recorder: Recorder, times: int = 1, path: str = "GET:/user/{username}") -> None:
    """Count one event of each outcome, with one response, and one 404, `times` times over."""
    observer = recorder.route_added(route(path))
    for _ in range(times):
        for number, outcome in enumerate(OUTCOMES):
            observer.event_done(0.0003 * number, outcome)
        observer.http_response("GET", 200, 0.02)
        recorder.not_found()
        recorder.http_unrouted("GET", 404, 0.001)


@contextmanager
def worker(ledger: Ledger) -> Iterator[tuple[Row, Recorder]]:
    """A worker in this process, which is dead, and merged into the totals, at the end."""
    row = ledger.open_row()
    yield row, Recorder(row.writer())
    ledger.close_row(row)


def assert_not_less(later: dict[Series, list[int]], earlier: dict[Series, list[int]]) -> None:
    for series, words in earlier.items():
        assert series in later, f"{series} has gone"
        assert len(later[series]) == len(words) == FAMILIES[series.family].words
        assert all(new >= old for new, old in zip(later[series], words, strict=True)), (
            f"{series} went back from {words} to {later[series]}"
        )


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = 20.0) -> T:
    """The first true result of `condition`, which is asked again and again until the time is over."""
    end = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        pause.wait(0.05)
