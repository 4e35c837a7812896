"""The load tests themselves, in short."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scenarios import USERS

from tests.server import ROOT, free_port, serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="locust is not installed"),
]

LOCUST = [sys.executable, "-m", "locust"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "loadtest" / "run.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def test_all_scenarios_succeed_and_are_counted(tmp_path: Path) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text("[all]\nfailures = 0.0\nrate = 1\n[tcp]\np99 = 10000\n")
    done = run("--seconds", "6", "--users", "20", "--shape", "soak", "--slo", str(slo), "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "DIFFERENT" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "all: failures 0 of the requests, <= 0: met" in done.stdout
    for scenario in USERS:
        assert re.search(rf"^\| {scenario} \| [1-9]", done.stdout, re.MULTILINE), done.stdout
    with (tmp_path / "timeline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert max(float(row["requests_per_second"]) for row in rows) > 1
    assert max(float(row["server_requests_per_second"] or 0) for row in rows) > 1
    for name, start in (("load.png", b"\x89PNG"), ("load.svg", b"<?xml"), ("report.html", b"<!DOCTYPE html>")):
        assert (tmp_path / name).read_bytes().lstrip().startswith(start)
    times = [ms for entry in json.loads((tmp_path / "locust.json").read_text()) for ms in entry["response_times"]]
    assert any(float(ms) % 1 for ms in times)  # finer than milliseconds


def test_an_objective_that_is_missed_decides_the_exit_code(tmp_path: Path) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text("[churn]\np50 = 0.0\n")
    done = run("--seconds", "2", "--users", "2", "--scenarios", "churn", "--slo", str(slo), "--results", str(tmp_path))
    assert done.returncode == 1
    assert re.search(r"churn: p50 [\d.]+ ms, <= 0: MISSED", done.stdout), done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenarios", "api,none"], "unknown: none; there are: api, webhooks"),
        (
            ["--slo", "no/such/file", "--seconds", "1"],
            "argument --slo: [Errno 2] No such file or directory: 'no/such/file'",
        ),
    ],
)
def test_what_cannot_be_run_says_why(tmp_path: Path, options: list[str], message: str) -> None:
    done = run(*options, "--results", str(tmp_path))
    assert done.returncode != 0
    assert message in done.stderr


def test_several_machines(tmp_path: Path) -> None:
    """With the files that are there for it, and both on this machine."""
    port = str(free_port())
    confs = ROOT / "loadtest" / "distributed"
    with serving("load:app", "--workers", "2", cwd=ROOT / "loadtest" / "servers") as server:
        master = [
            *(*LOCUST, "--config", str(confs / "master.conf"), "--host", f"http://127.0.0.1:{server.port}"),
            *("--admin", f"http://127.0.0.1:{server.admin_port}", "--master-bind-port", port, "--expect-workers", "2"),
            *("--users", "8", "--spawn-rate", "8", "--run-time", "4s", "--timeline", str(tmp_path / "timeline.csv")),
            *("--html", str(tmp_path / "report.html"), "--csv", str(tmp_path / "locust"), "Browser", "Newcomer"),
        ]
        workers = [
            *(*LOCUST, "--config", str(confs / "worker.conf"), "--master-host", "127.0.0.1", "--master-port", port),
            *("--processes", "2"),
        ]
        slo = tmp_path / "slo.toml"
        slo.write_text("[all]\nfailures = 0.0\nrate = 1\n")
        with (tmp_path / "log").open("w") as log:
            leading = subprocess.Popen([*master, "--slo", str(slo)], cwd=ROOT, stdout=log, stderr=log)
            following = subprocess.Popen(workers, cwd=ROOT, stdout=log, stderr=log)
            try:
                code = leading.wait(60)
                following.wait(30)
            finally:
                for process in (leading, following):
                    process.kill()
                    process.wait()
    said = (tmp_path / "log").read_text()
    assert code == 0, said
    assert "all: failures 0 of the requests, <= 0: met" in said
    assert (tmp_path / "timeline.csv").exists()
