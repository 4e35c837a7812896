"""A real Prometheus that scrapes a server, and what it knows, by its HTTP API."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from processes import free_port

__all__ = ["Prometheus", "eventually", "prometheus_running", "scrape_config"]

T = TypeVar("T")

CONFIG = """\
global:
  scrape_interval: {interval}
  scrape_timeout: {interval}
scrape_configs:
  - job_name: tiny-listener
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""


def scrape_config(port: int, interval: str = "100ms") -> str:
    """Return a configuration that scrapes one port of this machine, in Prometheus' notation of durations."""
    return CONFIG.format(port=port, interval=interval)


def eventually(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """Return the first true result of `condition`, which is asked again and again.

    :raises TimeoutError: there was none in time
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.05)
    return result


class Prometheus:
    """A Prometheus process, by its HTTP API.

    :param url: where it listens
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def is_ready(self) -> bool:
        """Whether it has started."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def query(self, promql: str) -> list[dict[str, Any]]:
        """Return the result vector of an expression.

        :raises ValueError: Prometheus refuses the expression; the text says why
        """
        result: list[dict[str, Any]] = self._ask("query", query=promql)["result"]
        return result

    def exemplars(self, promql: str, seconds: float = 600) -> list[dict[str, Any]]:
        """Return the exemplars of the last seconds of all series that an expression selects.

        :raises ValueError: Prometheus refuses the expression; the text says why
        """
        now = time.time()
        found: list[dict[str, Any]] = self._ask("query_exemplars", query=promql, start=now - seconds, end=now + 1)
        return [exemplar for series in found for exemplar in series["exemplars"]]

    def _ask(self, what: str, **parameters: Any) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(f"{parameters}: {error.read().decode(errors='replace')}") from None

    def value(self, promql: str) -> float | None:
        """Return the only value of an expression, None if it has none, or several."""
        result = self.query(promql)
        return float(result[0]["value"][1]) if len(result) == 1 else None


@contextlib.contextmanager
def prometheus_running(config: str, directory: Path) -> Iterator[Prometheus]:
    """Run a Prometheus while the block runs, from when it is ready.

    :param config: the text of its configuration; relative paths in it are those of `directory`
    :param directory: for the configuration, the data and the log
    """
    (directory / "prometheus.yml").write_text(config)
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
        prometheus = Prometheus(f"http://127.0.0.1:{port}")

        def is_ready() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"Prometheus ended: {(directory / 'prometheus.log').read_text()}")
            return prometheus.is_ready()

        try:
            eventually(is_ready, "Prometheus to be ready")
            yield prometheus
        finally:
            process.terminate()
            process.wait(10)
