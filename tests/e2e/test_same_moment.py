"""Servers that start at the same moment on one port: exactly one serves, and the other says which."""

from __future__ import annotations

import contextlib
import json
import re
import signal
from pathlib import Path

import pytest

from tests.server import Server, free_port, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def ended(server: Server) -> bool:
    """Whether the command has ended."""
    return server.process.poll() is not None


@pytest.mark.parametrize("time", range(3))
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("2", "127.0.0.1"), ("2", "127.0.0.1")),
        (("2", "0.0.0.0"), ("2", "127.0.0.1")),
        (("2", "127.0.0.1"), ("3", "localhost")),
        (("2", "::"), ("2", "::1")),
        (("2", ""), ("2", "::1")),
        (("1", "127.0.0.1"), ("2", "127.0.0.1")),
        (("1", "0.0.0.0"), ("2", "127.0.0.1")),
        (("1", "127.0.0.1"), ("1", "127.0.0.1")),
    ],
)
def test_of_two_that_start_at_the_same_moment_one_serves(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], time: int
) -> None:
    port = free_port()
    meet = int(one[0]) + int(other[0])
    env = {"FOLDER": str(tmp_path), "MEET": str(meet)}
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                serving("meets:app", "--workers", workers, "--host", host, port=port, until_ready=False, env=env)
            )
            for workers, host in (one, other)
        ]
        wait_for(lambda: any(map(ended, servers)))
        (refused,) = filter(ended, servers)
        (winner,) = (server for server in servers if server is not refused)
        wait_for(winner.is_ready)
        assert refused.process.returncode == 1
        (line,) = re.findall(r"^Error: .*", refused.log, re.MULTILINE)
        pids = [winner.process.pid, *winner.workers()]
        assert re.fullmatch(
            rf"Error: cannot listen on \S+:{port}: it is in use by \S+ \(pid ({'|'.join(map(str, pids))})\); "
            r"stop that, or choose another with --port",
            line,
        )
        assert "Traceback" not in refused.log
        host = "::1" if ":" in other[1] else "127.0.0.1"
        for _ in range(10):
            found = json.loads(request(port, "/", host=host)[1])
            assert winner.process.pid in (found["pid"], found["parent"])


@pytest.mark.parametrize(
    ("one", "other"), [("127.0.0.1", "127.0.0.2"), ("0.0.0.0", "::1"), ("127.0.0.1", "::"), ("127.0.0.1", "::1")]
)
def test_servers_at_different_addresses_of_a_port_start_at_the_same_moment(
    tmp_path: Path, one: str, other: str
) -> None:
    env, port = {"FOLDER": str(tmp_path), "MEET": "4"}, free_port()
    with (
        serving("meets:app", "--workers", "2", "--host", one, port=port, until_ready=False, env=env) as first,
        serving("meets:app", "--workers", "2", "--host", other, port=port, until_ready=False, env=env) as second,
    ):
        wait_for(lambda: first.is_ready() and second.is_ready())


def test_a_port_is_free_as_soon_as_its_server_is_killed(tmp_path: Path) -> None:
    port = free_port()
    env = {"FOLDER": str(tmp_path), "MEET": "1"}
    for _ in range(3):
        with serving("meets:app", "--workers", "2", port=port, env=env) as server:
            assert server.get("/")[0] == 200  # so that a connection is left in TIME-WAIT
            workers = server.workers()
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            wait_for(lambda pids=workers: not any(Path(f"/proc/{pid}").exists() for pid in pids))  # type: ignore[misc]


def test_a_port_is_free_as_soon_as_its_server_has_stopped(tmp_path: Path) -> None:
    port = free_port()
    env = {"FOLDER": str(tmp_path), "MEET": "1"}
    for _ in range(3):
        with serving("meets:app", "--workers", "2", port=port, env=env) as server:
            assert server.get("/")[0] == 200
            assert server.stop() == 0
