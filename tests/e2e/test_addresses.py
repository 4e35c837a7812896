"""Addresses that code asked for and no code serves any more: they are closed, so that clients are refused there."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.server import Server, free_port, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e]


def answer(port: int) -> bytes | None:
    """What a server sends; None when the connection is refused."""
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as sock:
            return sock.recv(100)
    except ConnectionRefusedError:
        return None


def addresses(server: Server) -> list[str]:
    """Where the server listens, as its status says."""
    found: list[str] = json.loads(server.admin("/status.json")[1])["addresses"]
    return found


def test_a_port_of_code_that_failed_is_closed_and_one_that_new_code_left_too(tmp_path: Path) -> None:
    first, second, third = free_port(), free_port(), free_port()
    ports = tmp_path / "ports"
    ports.write_text(str(first))
    env = {"PORTS_FILE": str(ports)}
    with serving("opens_and_fails:app", "--workers", "2", pass_port=False, env=env) as server:
        assert (answer(first), answer(second)) == (b"hello", None)

        ports.write_text(f"{first} {second} fail")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "keep serving" in server.log)
        wait_for(lambda: answer(second) is None)
        assert answer(first) == b"hello"
        assert addresses(server) == [f"127.0.0.1:{first}"]

        ports.write_text(str(third))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: f"Closed 127.0.0.1:{first}: no worker listens there any more" in server.log)
        assert (answer(first), answer(third)) == (None, b"hello")
        assert addresses(server) == [f"127.0.0.1:{third}"]
