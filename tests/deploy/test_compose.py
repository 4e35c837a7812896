"""deploy/container/compose.yaml: read by docker compose itself, and what it names is there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.server import ROOT, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

FILE = ROOT / "deploy" / "container" / "compose.yaml"
BIN = Path(sys.executable).parent
COMPOSE = BIN / "docker-compose"

pytestmark += [pytest.mark.skipif(not COMPOSE.exists(), reason="docker compose has no wheel for this machine")]


def compose(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMPOSE, *args], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    done = compose("-f", FILE, "--profile", "*", "config", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_docker_compose_refuses_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(FILE.read_text().replace("stop_grace_period", "stop_gracefully"))
    done = compose("-f", wrong, "config", "--quiet")
    assert done.returncode != 0
    assert "stop_gracefully" in done.stderr


def test_what_is_mounted_is_there(services: dict[str, Any]) -> None:
    mounted = {
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    }
    assert ROOT / "loadtest" in mounted
    assert {path for path in mounted if not path.exists()} == set()


def test_prometheus_asks_the_service_by_its_name(services: dict[str, Any]) -> None:
    configuration = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    jobs = yaml.safe_load(configuration.read_text())["scrape_configs"]
    targets = {target for job in jobs for group in job["static_configs"] for target in group["targets"]}
    assert "tiny-listener:9464" in targets
    assert "tiny-listener" in services


def test_images_have_versions_and_ports_are_for_this_machine(services: dict[str, Any]) -> None:
    assert set(services) == {"tiny-listener", "prometheus", "grafana", "locust"}
    for service in services.values():
        assert "build" in service or re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"])


def test_the_server_is_told_what_it_understands(services: dict[str, Any]) -> None:
    service = services["tiny-listener"]
    variables: dict[str, str] = dict(service["environment"])
    assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert variables["TINY_LISTENER_ADMIN_HOST"] == "0.0.0.0"
    with serving(*service["command"], cwd=ROOT / "loadtest" / "servers", env=variables) as server:
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        # As Prometheus does; see prometheus.yml.
        scrape = urllib.request.Request(
            f"http://127.0.0.1:{server.admin_port}/metrics", headers={"Host": "tiny-listener:9464"}
        )
        with urllib.request.urlopen(scrape, timeout=20) as response:
            assert response.status == 200
        assert len(server.workers()) == int(variables["TINY_LISTENER_WORKERS"])


def test_it_gets_the_time_to_stop(services: dict[str, Any]) -> None:
    service = services["tiny-listener"]
    assert service["stop_grace_period"] == "45s"
    delay = float(service["environment"].get("TINY_LISTENER_DRAIN_DELAY", 0))
    graceful = float(service["environment"].get("TINY_LISTENER_GRACEFUL_TIMEOUT", 30))
    assert delay + graceful + 1 < 45


def test_locust_runs_the_users_that_are_mounted(services: dict[str, Any], tmp_path: Path) -> None:
    service = services["locust"]
    (volume,) = service["volumes"]
    # Its image has locust's packages, and so none of Prometheus.
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not in the image')\n")
    objectives = tmp_path / "slo.toml"
    objectives.write_text("[all]\nfailures = 0.0\n")
    with serving(*services["tiny-listener"]["command"], "--workers", "2", cwd=ROOT / "loadtest" / "servers") as server:
        words = [
            word.replace(volume["target"], volume["source"]).replace("tiny-listener:8000", f"127.0.0.1:{server.port}")
            for word in service["command"]
        ]
        bounded = ["--headless", "--users", "8", "--spawn-rate", "8", "--run-time", "3s", "--only-summary"]
        done = subprocess.run(
            [BIN / "locust", *words, *bounded, "--slo", objectives],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr  # 1 when a request failed
        assert server.total("http_server_request_duration_seconds_count") > 10
