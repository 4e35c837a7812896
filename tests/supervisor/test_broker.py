"""The broker of listening sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.messages import Address

from tiny_listener.net.addresses import ListenError


def test_a_slot_gets_the_same_socket_again_and_each_its_own() -> None:
    broker = SocketBroker()
    address = Address(socket.AF_INET, "127.0.0.1", 0, 10)
    first = broker.acquire(0, address)
    second = broker.acquire(1, address)
    assert broker.acquire(0, address) is first
    assert second is not first
    assert first.getsockname() == second.getsockname()
    other = broker.acquire(0, Address(socket.AF_INET, "127.0.0.1", 0, 10, index=1))
    assert other.getsockname() != first.getsockname()
    six = broker.acquire(0, Address(socket.AF_INET6, "::", first.getsockname()[1], 10))
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert len(broker.sockets) == 4
    broker.close()
    assert first.fileno() == -1


def test_a_port_that_a_stranger_shares_is_refused() -> None:
    broker = SocketBroker()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(ListenError, match=rf"in use by .* \(pid {os.getpid()}\)"):
            broker.acquire(0, Address(socket.AF_INET, "127.0.0.1", stranger.getsockname()[1], 10))
    broker.close()


def test_a_unix_socket_is_shared_and_its_file_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    broker = SocketBroker()
    address = Address(socket.AF_UNIX, path, 0, 10)
    first = broker.acquire(0, address)
    assert broker.acquire(1, address) is first
    other = SocketBroker()
    with pytest.raises(ListenError, match="a server already listens there"):
        other.acquire(0, address)
    broker.close()
    assert not Path(path).exists()
    Path(path).write_text("no socket")
    with pytest.raises(ListenError, match="it is not a socket; remove it, or choose another path with --uds"):
        other.acquire(0, address)
    assert Path(path).read_text() == "no socket"
