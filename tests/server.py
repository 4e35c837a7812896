"""Running the command as users do, and speaking to it over sockets."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.waiting import wait_for

ROOT = Path(__file__).parent.parent
APPS = ROOT / "tests" / "apps"
COMMAND = [sys.executable, "-m", "tiny_listener"]


_NUMBER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_COUNT = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
PORTS = range(15000 + _NUMBER, 32768, _COUNT)
"""Below those that the kernel gives to clients, of which one could take the port before the server does. Where several
processes run tests, each has its own.
"""


def free_port() -> int:
    """Return a TCP port that is free now."""
    return free_ports(1)[0]


_ports = itertools.cycle(random.sample(PORTS, len(PORTS)))
"""In an order of this process's own: a port that was given away may be bound later than the next one is looked for."""


def free_ports(count: int) -> list[int]:
    """Return so many different TCP ports that are free now, and were not returned for long."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port := next(_ports)))
            found.append(port)
    return found


def command(*args: str, cwd: Path = APPS, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *args],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


class Server:
    """A running `tiny-listener`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, admin_port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.admin_port = admin_port
        self._log = log

    @property
    def log(self) -> str:
        """All that it wrote to stdout and stderr."""
        return self._log.read_text(errors="replace")

    def get(self, path: str, *, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """Ask the application, on a connection of its own."""
        return request(self.port, path, method=method, body=body)

    def admin(self, path: str) -> tuple[int, bytes]:
        """Ask the admin endpoint."""
        return request(self.admin_port, path)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with code {self.process.returncode}:\n{self.log}")
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.admin("/readyz")[0] == 200
        return False

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Scrape: the value of each sample, by name and sorted labels."""
        status, text = self.admin("/metrics")
        assert status == 200
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """Return the sum over all samples of a name that have these labels."""
        return sum(v for (n, pairs), v in self.samples().items() if n == name and labels.items() <= dict(pairs).items())

    def workers(self) -> list[int]:
        """Return the process ids of the workers."""
        out = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return sorted(map(int, out.stdout.split()))

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Signal it and return its exit code."""
        self.process.send_signal(sig)
        return self.process.wait(30)


def request(
    port: int, path: str, *, method: str = "GET", body: bytes | None = None, host: str = "127.0.0.1"
) -> tuple[int, bytes]:
    """Send a request on a connection of its own; return status and body."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        connection.request(method, path, body=body)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@contextlib.contextmanager
def serving(
    app: str,
    *options: str,
    cwd: Path = APPS,
    port: int | None = None,
    admin_port: int | None = None,
    pass_port: bool = True,
    pass_fds: Sequence[int] = (),
    env: dict[str, str] | None = None,
    until_ready: bool = True,
    launcher: Sequence[str] = (),
    **popen: Any,
) -> Iterator[Server]:
    """Run the command while the block runs, from when it is ready."""
    port, admin = (given or free for given, free in zip((port, admin_port), free_ports(2), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            place = ["--port", str(port)] if pass_port else []
            process = subprocess.Popen(
                [*launcher, *COMMAND, *place, "--admin-port", str(admin), *options, app],
                cwd=cwd,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                pass_fds=pass_fds,
                **popen,
            )
        server = Server(process, port, admin, log)
        try:
            if until_ready:
                wait_for(server.is_ready, what=f"{app} is ready")
            yield server
        except BaseException:
            print(f"What {app} logged:\n{server.log[-20_000:]}")  # pytest shows it with the failure
            raise
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
