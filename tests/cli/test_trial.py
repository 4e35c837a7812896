"""`--check=start` starts an application and stops it, and refuses what a reload would refuse."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.server import COMMAND, command, free_port, serving
from tiny_listener.cli.trial import PrivateSockets
from tiny_listener.net.addresses import ListenError
from tiny_listener.net.provider import ListenAddress


@pytest.mark.parametrize(
    ("app", "code", "said"),
    [
        ("web", 0, "web:app: HTTPListener with "),
        ("plain", 0, "plain:app: App with 0 routes; it starts and stops\n"),
        ("broken", 3, "RuntimeError: broken at import"),
        ("broken_startup", 3, "RuntimeError: broken at startup"),
        ("broken_listen", 3, "RuntimeError: broken in listen"),
        ("never_boots", 1, "start (never_boots.py:"),
        ("wep", 1, "No module named 'wep'; did you mean 'web'?"),
    ],
)
def test_what_starts_and_what_does_not(app: str, code: int, said: str) -> None:
    done = command("--check=start", "--boot-timeout", "2", f"{app}:app")
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr
    assert ("it starts and stops" in done.stdout) == (code == 0)
    # It runs nothing of it: that is what the other check is for.
    assert command("--check", f"{app}:app").returncode == (code if app in {"broken", "wep"} else 0)


def test_a_server_that_runs_there_is_in_nobodys_way(tmp_path: Path) -> None:
    with serving("web:app", "--workers", "2") as server:
        done = command("--check=start", "--port", str(server.port), "web:app")
        assert done.returncode == 0, done.stderr
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
    path = tmp_path / "socket"
    with serving("web:app", "--uds", str(path), pass_port=False):
        assert command("--check=start", "--uds", str(path), "web:app").returncode == 0
        assert path.exists()


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["--check", "web:app"], 0, "web:app: HTTPListener"),
        (["--check=import", "web:app"], 0, "web:app: HTTPListener"),
        (["web:app", "--check"], 0, "web:app: HTTPListener"),
        (["--check=strat", "web:app"], 2, "'strat' is not one of 'import', 'start'"),
        (["--check=start", "--port", "1", "plain:app"], 2, "--port would do nothing"),
        (["--check=start", "--pid-file", "x", "web:app"], 2, "--check runs no server"),
        (["--check=start", "--user", "nosuchuser", "web:app"], 2, "there is no user 'nosuchuser'"),
    ],
)
def test_how_it_is_asked_for(args: list[str], code: int, said: str) -> None:
    done = command(*args)
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stderr


def test_the_environment_may_ask_for_it() -> None:
    assert "it starts and stops" in command("web:app", env={"TINY_LISTENER_CHECK": "start"}).stdout


@pytest.mark.root
def test_it_starts_as_the_user_that_the_workers_would_be() -> None:
    done = command("--check=start", "--user", "nobody", "whoami:app")
    assert done.returncode == 0, done.stderr


def test_sockets_of_its_own(tmp_path: Path) -> None:
    port = free_port()

    async def main() -> None:
        provider = PrivateSockets(str(tmp_path))
        wanted = [
            ListenAddress(socket.AF_INET, "192.0.2.1", port),
            ListenAddress(socket.AF_INET, "192.0.2.1", port, kind=socket.SOCK_DGRAM),
            ListenAddress(socket.AF_UNIX, "/run/here"),
            ListenAddress(socket.AF_INET, "127.0.0.1", 0),
        ]
        given = await provider.acquire(wanted)
        tcp, udp, unix, _ = (sock.getsockname() for sock in given)
        assert tcp[0] == udp[0] == "127.0.0.1"
        assert tcp[1] != port != udp[1]
        assert os.path.dirname(unix) == str(tmp_path)  # noqa: PTH120 - as the kernel has it
        for twice in wanted[:3]:
            with pytest.raises(ListenError, match="cannot listen on"):
                await provider.acquire([twice])
        given += await provider.acquire([wanted[3]])  # any number of free ports
        for sock in given:
            sock.close()

    asyncio.run(main())


def test_wrong_options_of_a_worker_are_the_commands_too() -> None:
    for workers in ("1", "2"):
        args = ["--workers", workers, "--admin-port", "0", "--ssl-keyfile", sys.executable, "web:app"]
        done = command(*args)
        assert done.returncode == 2, (COMMAND, args)
        assert "--ssl-keyfile does nothing without --ssl-certfile" in done.stderr
