"""What a service manager hears, by a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server import serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

MINE = ("sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh")
"""Starts a command as a manager does, whose watchdog is for that process."""


class Manager:
    """The manager's end: keeps each message as a dict."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[dict[str, str]] = []
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind("\0" + name[1:] if name.startswith("@") else name)
        self.sock.settimeout(0)

    def listen(self) -> bool:
        """Take in what has come; False, to be used in conditions."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(dict(line.split("=", 1) for line in self.sock.recv(4096).decode().split("\n")))
        return False

    def has(self, key: str, value: str = "1", times: int = 1) -> Callable[[], bool]:
        def condition() -> bool:
            self.listen()
            return sum(message.get(key) == value for message in self.heard) >= times

        return condition


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@tiny-listener-{os.getpid()}"
    manager = Manager(name)
    with manager.sock:
        yield manager


@pytest.mark.parametrize(("workers", "ready"), [("1", "ready"), ("2", "2 workers are ready")])
def test_ready_and_stopping(manager: Manager, workers: str, ready: str) -> None:
    env = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}
    with serving("notified:app", "--workers", workers, env=env, launcher=MINE) as server:
        wait_for(manager.has("READY"))
        (said,) = [message for message in manager.heard if "READY" in message]
        assert (said["STATUS"], said["MAINPID"]) == (ready, str(server.process.pid))
        wait_for(manager.has("WATCHDOG", times=3))
        assert server.get("/") == (200, b"[]")
        assert server.stop() == 0
        assert manager.has("STOPPING")()
        assert not manager.has("READY", times=2)()
        assert "Traceback" not in server.log


def test_reloading_and_ready_again(manager: Manager) -> None:
    with serving("notified:app", "--workers", "2", env={"NOTIFY_SOCKET": manager.name}) as server:
        wait_for(manager.has("READY"))
        before = time.monotonic_ns() // 1000
        server.process.send_signal(signal.SIGHUP)
        wait_for(manager.has("RELOADING"))
        wait_for(manager.has("READY", times=2))
        (reloading,) = [message for message in manager.heard if "RELOADING" in message]
        assert before < int(reloading["MONOTONIC_USEC"]) < time.monotonic_ns() // 1000
        assert reloading["STATUS"] == "reloading 2 workers"
        assert manager.heard.index(reloading) < max(i for i, m in enumerate(manager.heard) if "READY" in m)
        assert "WATCHDOG" not in {key for message in manager.heard for key in message}


def test_a_reload_that_fails_is_over_too(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    app = tmp_path / "mine.py"
    app.write_text("from tiny_listener.http import HTTPListener\napp = HTTPListener()\n")
    options = ("--workers", "2", "--app-dir", str(tmp_path))
    with manager.sock, serving("mine:app", *options, env={"NOTIFY_SOCKET": manager.name}) as server:
        app.write_text("raise RuntimeError('no longer')\n# another size\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for(manager.has("READY", times=2))
        failure = "worker 0 exited with code 3 before it was ready"
        words = f"the last reload failed: {failure}; the old workers keep serving"
        assert any(m.get("STATUS") == words for m in manager.heard if "READY" in m)


def test_the_watchdog_hears_nothing_while_no_worker_serves(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    env = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "100000"}
    with manager.sock, serving("notified:app", "--workers", "2", env=env, launcher=MINE) as server:
        first, second = server.workers()

        def silence() -> bool:
            manager.listen()
            return not select.select([manager.sock], [], [], 0.5)[0]  # five times as long as the watchdog's time

        os.kill(first, signal.SIGSTOP)
        wait_for(manager.has("WATCHDOG", times=60))  # for longer than a worker may be blocked
        os.kill(second, signal.SIGSTOP)
        wait_for(silence)
        count = len(manager.heard)
        os.kill(first, signal.SIGCONT)
        wait_for(lambda: manager.listen() or len(manager.heard) > count)
        os.kill(second, signal.SIGCONT)


def test_a_worker_that_dies_is_told(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    with manager.sock, serving("notified:app", "--workers", "2", env={"NOTIFY_SOCKET": manager.name}) as server:
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(manager.has("STATUS", "1 of 2 workers is ready"))
        wait_for(lambda: manager.listen() or manager.heard[-1] == {"STATUS": "2 workers are ready"})


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_manager_that_is_gone_is_a_warning(tmp_path: Path, workers: str) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "gone")}
    with serving("notified:app", "--workers", workers, env=env) as server:
        words = f"Cannot send READY=1 to the service manager at {tmp_path}/gone: No such file or directory"
        wait_for(lambda: words in server.log)
        assert server.get("/") == (200, b"[]")
