"""A real Prometheus scrapes the page while workers come and go: it must see exact totals and no reset."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prometheus import prometheus_running, scrape_config
from tiny_listener_metrics import FAMILIES, Exposition, Ledger, Recorder
from tiny_listener_metrics.series import OUTCOMES

from tests.metrics.helpers import wait_for, work, worker

pytestmark = pytest.mark.needs("prometheus")

WORK_BETWEEN_SCRAPES = 3
STRANGE = 'a "pattern" with \\ %s \x00 \ud800 \n and {braces}'


@dataclass
class Owner:
    """What a supervisor would be: a ledger, its page, and how often it was asked for it.

    A ledger belongs to one thread; here the server has one of its own, hence the lock.
    """

    ledger: Ledger = field(default_factory=Ledger)
    lock: threading.Lock = field(default_factory=threading.Lock)
    scrapes: int = 0
    content_type: str = ""


@contextmanager
def page_served(owner: Owner) -> Iterator[int]:
    """Serve the page of `owner` on a port of 127.0.0.1."""
    exposition = Exposition(owner.ledger, version="2")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with owner.lock:
                page, owner.content_type = exposition.render(self.headers["Accept"])
                owner.scrapes += 1
            self.send_response(200)
            self.send_header("Content-Type", owner.content_type)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_prometheus_sees_exact_totals_and_no_reset(tmp_path: Path) -> None:
    owner = Owner()
    counted = 0

    def work_and_be_scraped(*recorders: Recorder) -> None:
        nonlocal counted
        with owner.lock:
            for recorder in recorders:
                work(recorder, WORK_BETWEEN_SCRAPES)
                work(recorder, 1, STRANGE)
                counted += WORK_BETWEEN_SCRAPES
            seen = owner.scrapes
        wait_for(lambda: owner.scrapes >= seen + 2, "two scrapes")

    with page_served(owner) as port, prometheus_running(scrape_config(port), tmp_path) as prometheus:
        for _ in range(5):  # workers come, overlap, die
            with owner.lock:
                first, second = worker(owner.ledger), worker(owner.ledger)
                (_, one), (_, two) = first.__enter__(), second.__enter__()
            work_and_be_scraped(one, two)
            with owner.lock:
                first.__exit__(None, None, None)
            work_and_be_scraped(two)
            with owner.lock:
                second.__exit__(None, None, None)

        event = 'event="GET:/user/{username}"'
        total = f'sum(tiny_listener_events_total{{{event},outcome="ok"}})'
        wait_for(lambda: prometheus.value(total) == counted, f"{total} to be {counted}")
        assert prometheus.value(f"tiny_listener_dispatch_seconds_count{{{event}}}") == len(OUTCOMES) * counted
        bucket = f'tiny_listener_dispatch_seconds_bucket{{{event},le="+Inf"}}'
        assert prometheus.value(bucket) == len(OUTCOMES) * counted
        assert prometheus.value('http_server_request_duration_seconds_count{http_route="/user/{username}"}') == counted
        assert prometheus.value("up") == 1
        assert owner.content_type.startswith("application/openmetrics-text")
        strange = prometheus.query('tiny_listener_events_total{event=~"(?s)a .pattern.*",outcome="ok"}')
        assert [one["metric"]["event"] for one in strange] == ['a "pattern" with \\ %s \x00 \\ud800 \n and {braces}']

        for family in FAMILIES.values():
            for suffix in ("_bucket", "_count", "_sum") if family.kind == "histogram" else ("_total",):
                name = family.name + suffix
                resets = prometheus.query(f"resets({name}[5m])")
                assert resets
                assert [one for one in resets if one["value"][1] != "0"] == []
                assert prometheus.value(f"sum(changes({name}[5m]))"), f"{name} stood still"
        assert prometheus.value("min_over_time(up[5m])") == 1
