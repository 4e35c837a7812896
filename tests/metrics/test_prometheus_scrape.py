"""A real Prometheus scrapes the page while workers come and go: it must see exact totals and no reset."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_listener_metrics import FAMILIES, Exposition, Ledger, Recorder

from tests.metrics.helpers import wait_for, work, worker
from tests.server import free_port

pytestmark = pytest.mark.needs("prometheus")

CONFIG = """\
global:
  scrape_interval: 100ms
  scrape_timeout: 100ms
scrape_configs:
  - job_name: tiny-listener
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""

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


class Prometheus:
    """A Prometheus process, by its HTTP API."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result vector of an expression."""
        url = f"{self._url}/api/v1/query?{urllib.parse.urlencode({'query': promql})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def value(self, promql: str) -> float | None:
        """The only value of an expression, None if it has none."""
        result = self.query(promql)
        return float(result[0]["value"][1]) if len(result) == 1 else None


@contextmanager
def prometheus_running(scraped_port: int, directory: Path) -> Iterator[Prometheus]:
    config = directory / "prometheus.yml"
    config.write_text(CONFIG.format(port=scraped_port))
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            prometheus = Prometheus(port)
            wait_for(prometheus.is_ready, "Prometheus to be ready")
            yield prometheus
        finally:
            process.terminate()
            process.wait(10)


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

    with page_served(owner) as port, prometheus_running(port, tmp_path) as prometheus:
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
        assert prometheus.value(f"tiny_listener_dispatch_seconds_count{{{event}}}") == 4 * counted
        assert prometheus.value(f'tiny_listener_dispatch_seconds_bucket{{{event},le="+Inf"}}') == 4 * counted
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
