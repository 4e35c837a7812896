"""Real brokers, each running while a block runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.server import free_ports
from tests.waiting import wait_for

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's command of that name in the path changes to a user of its own."""


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **env: str) -> Iterator[None]:
    """Run a broker while the block runs, from when it listens."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **env}, start_new_session=True)
    try:
        wait_for(lambda: listens(port) or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def mosquitto(tmp_path: Path, port: int) -> Iterator[None]:
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    path = f"{os.environ['PATH']}:/usr/sbin"
    with running([shutil.which("mosquitto", path=path) or "", "-c", str(conf)], port, tmp_path / "broker.log"):
        yield


@contextlib.contextmanager
def rabbitmq(tmp_path: Path, port: int) -> Iterator[str]:
    distribution, epmd = free_ports(2)
    folder = tmp_path / "rabbitmq"
    folder.mkdir()
    env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "ERL_EPMD_PORT": str(epmd),
    }
    (folder / "plugins").write_text("[].\n")
    try:
        with running([RABBITMQ], port, tmp_path / "broker.log", **env):
            yield f"amqp://guest:guest@127.0.0.1:{port}/"
    finally:  # it leaves its port mapper behind, as a daemon
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], stdout=subprocess.DEVNULL, check=True)
