"""From a graph to a trace: what a real Prometheus knows of the traces of requests."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest
from prometheus import eventually, prometheus_running, scrape_config

from tests.server import ROOT, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.needs("prometheus")]

BUCKETS = 'http_server_request_duration_seconds_bucket{http_route="/user/{username}"}'


@pytest.mark.parametrize("options", [["--workers", "1"], ["--workers", "3"]])
def test_prometheus_keeps_them(tmp_path: Path, options: list[str]) -> None:
    traces = {f"{number:032x}" for number in range(1, 21)}
    with (
        serving("http_web:app", *options, cwd=ROOT / "examples") as server,
        prometheus_running(scrape_config(server.admin_port), tmp_path) as prometheus,
    ):

        def found() -> set[str]:
            """Ask once more for each, on a connection of its own; return whose traces Prometheus has seen."""
            for trace_id in traces:
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
                connection.request("GET", "/user/Bob", headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
                assert connection.getresponse().read()
                connection.close()
            return {exemplar["labels"]["trace_id"] for exemplar in prometheus.exemplars(BUCKETS)}

        eventually(lambda: len(found()) >= 3, "several traces")
        assert found() <= traces
