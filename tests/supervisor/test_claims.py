"""Claims on addresses: which exclude each other, whose they are, and how they end."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_listener_supervisor.ipc import claims
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.claims import Place, claim, locked, overlap, parse
from tiny_listener_supervisor.ipc.messages import Address
from tiny_listener_supervisor.worker.failures import cannot_listen, http_addresses

from tests.server import free_port
from tiny_listener.errors import CannotLoad
from tiny_listener.http import HTTPListener
from tiny_listener.net.addresses import ListenError

FOUR, SIX = socket.AF_INET, socket.AF_INET6
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, TCP, "127.0.0.1", 80), False),
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, TCP, "0.0.0.0", 80), False),
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, TCP, "", 80), False),
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, TCP, "127.0.0.2", 80), True),
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, TCP, "127.0.0.1", 81), True),
        ((FOUR, TCP, "127.0.0.1", 80), (FOUR, UDP, "127.0.0.1", 80), True),
        ((FOUR, TCP, "0.0.0.0", 80), (SIX, TCP, "::", 80), True),
        ((SIX, TCP, "::1", 80), (SIX, TCP, "::", 80), False),
        ((SIX, TCP, "::1", 80), (SIX, TCP, "0:0:0:0:0:0:0:1", 80), False),
        ((SIX, TCP, "fe80::1%eth0", 80), (SIX, TCP, "fe80::1%eth1", 80), True),
        ((SIX, TCP, "fe80::1%eth0", 80), (SIX, TCP, "", 80), False),
    ],
)
def test_what_two_servers_cannot_have_both(
    one: tuple[socket.AddressFamily, int, str, int], other: tuple[socket.AddressFamily, int, str, int], *, both: bool
) -> None:
    first, second = Place.of(*one), Place.of(*other)
    assert overlap(first, second) is overlap(second, first) is not both


@given(st.ip_addresses(), st.sampled_from([TCP, UDP]), st.integers(1, 65535))
def test_a_name_says_what_is_claimed(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, kind: int, port: int
) -> None:
    place = Place.of(FOUR if address.version == 4 else SIX, kind, str(address), port)
    assert parse(place.name) == place
    assert len(place.name) < 107  # sun_path of unix(7), less the NUL
    assert parse(place.lock) is None


@given(st.text())
def test_other_names_are_no_claims(text: str) -> None:
    assert parse(text) is None
    assert parse(f"tiny-listener/{text}/1/2/3/4/5") is None
    assert parse(f"tiny-listener/{'9' * 5000}/1/2/3/00") is None  # more than int() takes


HOLDER = """
import sys
from tiny_listener_supervisor.ipc.claims import claim, locked
held = claim(2, 1, sys.argv[1], int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_claim_ends_with_its_process_however_that_ends() -> None:
    port = free_port()
    args = [sys.executable, "-c", HOLDER, "127.0.0.1", str(port)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for host in ("127.0.0.1", "0.0.0.0"):
            with pytest.raises(ListenError) as raised, locked(FOUR, TCP, host, port):
                claim(FOUR, TCP, host, port)
            assert raised.value.errno == errno.EADDRINUSE
            assert re.fullmatch(
                rf"cannot listen on {host}:{port}: it is in use by python\S* \(pid {other.pid}\); "
                r"stop that, or choose another with --port",
                str(raised.value.strerror),
            )
        claim(FOUR, TCP, "127.0.0.2", port).close()
        broker = SocketBroker()
        with pytest.raises(ListenError, match=f"in use by .* \\(pid {other.pid}\\)"):
            broker.acquire(0, Address(FOUR, "127.0.0.1", port, 5))
        other.kill()
    broker.acquire(0, Address(FOUR, "127.0.0.1", port, 5))
    broker.close()
    claim(FOUR, TCP, "127.0.0.1", port).close()


def test_one_server_may_have_addresses_that_overlap() -> None:
    port = free_port()
    first = claim(FOUR, TCP, "127.0.0.1", port)
    claim(FOUR, TCP, "127.0.0.1", port).close()
    claim(FOUR, TCP, "0.0.0.0", port).close()
    first.close()


def test_an_address_that_is_given_up_can_be_claimed() -> None:
    port = free_port()
    args = [sys.executable, "-c", HOLDER, "127.0.0.1", str(port)]
    broker = SocketBroker()
    broker.acquire(0, Address(FOUR, "127.0.0.1", port, 5))
    done = subprocess.run(args, input="", capture_output=True, text=True, check=False)
    assert f"(pid {os.getpid()}); stop that" in done.stderr
    broker.forget(1)  # nobody holds it, and nobody served it
    assert subprocess.run(args, input="", capture_output=True, text=True, check=False).stdout == "held\n"


@pytest.mark.parametrize("kind", [TCP, UDP])
def test_a_free_port_is_claimed_too(kind: int) -> None:
    broker = SocketBroker()
    port = broker.acquire(0, Address(FOUR, "127.0.0.1", 0, 5, kind=kind)).getsockname()[1]
    second = broker.acquire(1, Address(FOUR, "127.0.0.1", 0, 5, kind=kind)).getsockname()[1]
    assert port == second
    code = f"from tiny_listener_supervisor.ipc.claims import claim; claim(2, {int(kind)}, '127.0.0.1', {port})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"(pid {os.getpid()})" in done.stderr
    broker.close()


def test_names_of_another_user_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger who took the names could keep a server from its port."""
    port = free_port()
    place = Place.of(FOUR, TCP, "127.0.0.1", port)
    with socket.socket(socket.AF_UNIX) as name, socket.socket(socket.AF_UNIX) as lock:
        for sock, text in ((name, place.name), (lock, place.lock)):
            sock.bind(f"\0{text}")
            sock.listen(1)
        monkeypatch.setattr(claims, "UCRED", _Stranger)
        with locked(FOUR, TCP, "127.0.0.1", port):
            claim(FOUR, TCP, "127.0.0.1", port).close()


class _Stranger:
    """Credentials of somebody else."""

    size = claims.UCRED.size

    @staticmethod
    def unpack(_: bytes) -> tuple[int, int, int]:
        """Return them."""
        return 1, os.geteuid() + 1, 0


def test_a_lock_that_hangs_does_not_keep_a_server_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(claims, "LOCK_TIMEOUT", 0.05)
    with locked(FOUR, TCP, "127.0.0.1", port), locked(FOUR, TCP, "127.0.0.1", port):
        claim(FOUR, TCP, "127.0.0.1", port).close()


def test_what_fails_after_somebody_took_the_address_is_said_as_what_it_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        app = HTTPListener(host="127.0.0.1", port=port)
        assert [(one.host, one.port) for one in http_addresses(app)] == [("127.0.0.1", port)]
        for shared in (False, True):
            found = cannot_listen(AttributeError("of a socket that is closed"), http_addresses(app), shared=shared)
            assert found is not None
            assert f"(pid {os.getpid()}); stop that, or choose another with --port" in str(found.strerror)
            assert found.errno == errno.EADDRINUSE
        assert cannot_listen(CannotLoad("no"), http_addresses(app), shared=False) is None
    assert cannot_listen(AttributeError("of its own"), http_addresses(app), shared=False) is None
    assert cannot_listen(AttributeError("of its own"), (), shared=False) is None


def test_siblings_that_listen_are_not_what_kept_an_application_from_booting() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as sibling:
        where = [Address(FOUR, "127.0.0.1", sibling.getsockname()[1], 5)]
        assert cannot_listen(ValueError("its own"), where, shared=True) is None
        assert cannot_listen(ValueError("its own"), where, shared=False) is not None


@pytest.mark.parametrize("options", [{"uds": "/run/x.sock"}, {"fd": 3}, {"port": 0}, {"host": "nowhere.invalid"}])
def test_places_that_nobody_can_take_so(options: dict[str, Any]) -> None:
    assert http_addresses(HTTPListener(**options)) == []
    assert http_addresses(None) == []
