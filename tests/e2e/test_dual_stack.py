"""IPv4 and IPv6 at one port, as asyncio has it: all interfaces of both, or of one only."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.server import request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


def answering(port: int) -> set[str]:
    """Return the loopback addresses that answer at a port."""
    found = set()
    for host in ("127.0.0.1", "::1"):
        with contextlib.suppress(ConnectionRefusedError):
            if request(port, "/", host=host) == (200, b"Welcome!"):
                found.add(host)
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("host", "hosts"),
    [("", {"127.0.0.1", "::1"}), ("::", {"::1"}), ("0.0.0.0", {"127.0.0.1"})],
)
def test_which_addresses_answer(host: str, hosts: set[str], workers: str) -> None:
    with serving("web:app", "--workers", workers, "--host", host) as server:
        assert answering(server.port) == hosts
        if workers == "2":
            before = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
            assert answering(server.port) == hosts
