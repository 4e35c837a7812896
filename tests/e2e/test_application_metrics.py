"""Metrics that an application makes with prometheus_client are on the page, summed over workers, without set-up."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SHARED = Path("/dev/shm")
# prometheus_client has no types here.
read_openmetrics: Callable[[str], Iterable[Metric]] = parse_openmetrics


def count(server: Server, times: int, kind: str = "a") -> set[int]:
    """Count things, of sizes from 0; return the processes that did."""
    pids = set()
    for size in range(times):
        status, body = server.get(f"/count/{kind}/{size}")
        assert status == 200
        pids.add(json.loads(body)["pid"])
    return pids


def was_replaced(server: Server, times: int) -> bool:
    return server.total("tiny_listener_worker_restarts_total", reason="signal") == times and server.is_ready()


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("options", [(), ("--preload",)])
def test_no_count_is_lost_with_a_worker(options: tuple[str, ...], tmp_path: Path) -> None:
    shared = files(SHARED)
    env = {"TMPDIR": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    with serving("measures:app", "--workers", "2", *options, env=env) as server:
        expected = 0
        for killed in range(3):
            seen: set[int] = set()
            while len(seen) < 2:
                seen |= count(server, 10)
                expected += 10
            os.kill(min(seen), signal.SIGKILL)
            wait_for(partial(was_replaced, server, killed + 1), what="the worker is replaced")
            assert server.total("own_things_total", kind="a") == expected
        before = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.total("tiny_listener_reloads_total", outcome="done") == 1)
        wait_for(lambda: not before & set(server.workers()))
        samples = server.samples()
        assert samples["own_things_total", (("kind", "a"),)] == expected
        assert samples["own_size_bytes_count", (("kind", "a"),)] == expected
        assert samples["own_size_bytes_bucket", (("kind", "a"), ("le", "+Inf"))] == expected
        assert samples["own_size_bytes_bucket", (("kind", "a"), ("le", "1.0"))] == expected / 5
        assert samples["own_wait_seconds_sum", ()] == expected / 2
        # 2 workers, 3 after a kill, 2 after the reload; or once for all
        assert samples["own_imports_total", ()] == (1 if options else 7)
        assert samples["own_livesum_level", ()] == 2
        assert {labels for name, labels in samples if name == "own_all_level"} == {(("pid", "0"),), (("pid", "1"),)}
        assert files(tmp_path) == set()
        assert files(SHARED) <= shared
        assert "damaged" not in server.log


def test_one_process(tmp_path: Path) -> None:
    with serving("measures:app", env={"UNWRITABLE": "1", "TMPDIR": str(tmp_path)}) as server:
        server.get("/set/7")
        count(server, 10)
        samples = server.samples()
        assert samples["own_things_total", (("kind", "a"),)] == 10
        assert samples["own_size_bytes_count", (("kind", "a"),)] == 10
        assert samples["own_all_level", ()] == 7
        assert not any(name.startswith(("python_", "own_unwritable")) or "_created" in name for name, _ in samples)
        assert server.log.count("own_unwritable of the application is not exposed") == 1
        assert server.log.count("tiny_listener_not_found of the application is not exposed") == 1
        assert server.total("tiny_listener_not_found_total") == 0


def test_who_has_chosen_files_has_them(tmp_path: Path) -> None:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    with serving("measures:app", "--workers", "2", env=env) as server:
        count(server, 10)
        assert server.total("own_things_total") == 0
        assert list(tmp_path.glob("counter_*.db"))
        assert "PROMETHEUS_MULTIPROC_DIR is set" in server.log


def fetch(server: Server, **headers: str) -> tuple[dict[str, str], bytes]:
    url = f"http://127.0.0.1:{server.admin_port}/metrics"
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=20) as response:
        return {name.lower(): value for name, value in response.headers.items()}, response.read()


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_page_as_others_read_it(workers: str) -> None:
    with serving("measures:app", "--workers", workers) as server:
        server.get("/set/7")
        server.get("/nowhere")
        count(server, 10)
        headers, text = fetch(server)
        assert "content-encoding" not in headers
        done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

        headers, packed = fetch(server, Accept_Encoding="gzip")
        assert headers["content-encoding"] == "gzip"
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        assert len(packed) < len(text) / 4
        assert b"own_things_total" in gzip.decompress(packed)

        headers, packed = fetch(server, Accept_Encoding="gzip", Accept="application/openmetrics-text;version=1.0.0")
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert headers["vary"] == "accept, accept-encoding"
        families = {family.name: family for family in read_openmetrics(gzip.decompress(packed).decode())}
        assert families["own_things"].samples[0].value == 10
        for family in families.values():
            samples = {(s.name, frozenset(s.labels.items())): s.value for s in family.samples}
            for (name, labels), value in samples.items():
                if family.type == "histogram" and name.endswith("_count"):
                    assert samples[f"{family.name}_bucket", labels | {("le", "+Inf")}] == value
