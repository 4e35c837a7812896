"""What was seen in each second."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest
from scrape import Scrape, quantile, read_metrics
from slo import Seen
from timeline import COLUMNS, Timeline, as_progress

TEXT = """\
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_bucket{http_route="/",le="0.001"} 90
http_server_request_duration_seconds_bucket{http_route="/",le="0.01"} 100
http_server_request_duration_seconds_bucket{http_route="/",le="+Inf"} 100
http_server_request_duration_seconds_count{http_route="/"} 100
http_server_request_duration_seconds_sum{http_route="/"} 1
http_server_request_duration_seconds_bucket{http_route="/a",le="0.001"} 0
http_server_request_duration_seconds_bucket{http_route="/a",le="0.01"} 0
http_server_request_duration_seconds_bucket{http_route="/a",le="+Inf"} 10
http_server_request_duration_seconds_count{http_route="/a"} 10
http_server_request_duration_seconds_sum{http_route="/a"} 1
# TYPE tiny_listener_events_total counter
tiny_listener_events_total{event="/",outcome="ok"} 100
tiny_listener_events_total{event="/a",outcome="error"} 11
# TYPE tiny_listener_connections gauge
tiny_listener_connections 3
# TYPE tiny_listener_event_loop_lag_seconds gauge
tiny_listener_event_loop_lag_seconds{worker="0"} 0.25
tiny_listener_event_loop_lag_seconds{worker="1"} 0.5
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes{worker="0"} 1048576
process_resident_memory_bytes{worker="1"} 1048576
# TYPE process_open_fds gauge
process_open_fds{worker="0"} 10
process_open_fds{worker="1"} 12
"""


class Clock:
    now = 5.0

    def __call__(self) -> float:
        return self.now


def test_what_a_server_says() -> None:
    found = read_metrics(TEXT)
    assert (found.requests, found.events, found.connections, found.lag) == (110, 111, 3, 0.5)
    assert (found.resident, found.open_fds) == (2 * 1024 * 1024, 22)
    assert found.buckets == {0.001: 90, 0.01: 100, float("inf"): 110}


@pytest.mark.parametrize(("share", "seconds"), [(0.45, 0.00055), (0.90, 0.009 * 0.9 + 0.001), (0.99, 0.01)])
def test_quantiles(share: float, seconds: float) -> None:
    assert quantile(read_metrics(TEXT), Scrape(), share) == pytest.approx(seconds, rel=0.01)
    assert quantile(read_metrics(TEXT), read_metrics(TEXT), share) == 0.0
    assert quantile(Scrape(), Scrape(), share) == 0.0


def test_each_row_is_of_the_time_since_the_one_before(tmp_path: Path) -> None:
    clock = Clock()
    timeline = Timeline(clock)
    assert timeline.add(1, Seen(), Scrape()) is None
    clock.now = 7.0
    first = timeline.add(8, Seen(20, 2, Counter({0.5: 20})), Scrape())
    clock.now = 9.0
    later = timeline.add(8, Seen(120, 2, Counter({0.5: 20, 1.5: 100})), read_metrics(TEXT))
    clock.now = 10.0
    silent = timeline.add(4, Seen(120, 2, Counter({0.5: 20, 1.5: 100})), None)
    clock.now = 11.0
    again = timeline.add(4, Seen(121, 2, Counter({0.5: 21, 1.5: 100})), read_metrics(TEXT))
    assert first is not None
    assert (first["seconds"], first["requests_per_second"], first["failures_per_second"], first["p99_ms"]) == (
        2,
        10,
        1,
        0.5,
    )
    assert "server_p99_ms" not in first
    assert later is not None
    assert (later["requests_per_second"], later["failures_per_second"], later["p50_ms"]) == (50, 0, 1.5)
    assert (later["server_requests_per_second"], later["server_events_per_second"]) == (55, 55.5)
    assert (later["server_p99_ms"], later["server_loop_lag_ms"], later["server_resident_mib"]) == (10, 500, 2)
    assert "server: p99 10 ms, loop 500 ms late" in as_progress(later)
    assert silent is not None
    assert (silent["requests_per_second"], silent["p99_ms"]) == (0, 0)
    assert again is not None
    assert "server_requests_per_second" not in again  # nothing is known of the second before
    timeline.write(tmp_path / "timeline.csv")
    with (tmp_path / "timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["server_requests_per_second"] for row in rows] == ["", "55", "", ""]
    assert tuple(rows[0]) == COLUMNS
