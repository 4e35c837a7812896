"""The servers that tests run, and the links to them, are what the tests take them for."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.nats.links import linked
from tests.nats.servers import EACH_VERSION, NEEDED, NatsServer, NoAnswer, Setup, certificates, cluster, single
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
STREAM = {"name": "S", "subjects": ["s.>"], "storage": "file", "num_replicas": 1}


def stored(server: NatsServer) -> int:
    messages: int = server.api("STREAM.INFO.S")["state"]["messages"]
    return messages


def publish(server: NatsServer, text: bytes) -> None:
    with server.setup.connect(server.port) as wire:
        assert b'"seq"' in wire.ask("s.a", text)


@pytest.mark.parametrize("binary", EACH_VERSION)
def test_a_server_keeps_its_port_and_its_store(tmp_path: Path, binary: str) -> None:
    with single(tmp_path, binary=binary) as server:
        server.api("STREAM.CREATE.S", STREAM)
        publish(server, b"one")
        first = server.pid
        server.kill()
        with pytest.raises(NoAnswer, match="refused"):
            server.api("INFO")
        server.start()
        assert server.pid != first
        assert stored(server) == 1
        server.stop()
        server.start()
        assert stored(server) == 1
        last = server.pid
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


@NEEDED
def test_a_server_that_is_stopped_by_a_signal_ends_too(tmp_path: Path) -> None:
    with single(tmp_path) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert server.process is not None
    assert server.process.returncode is not None


@pytest.mark.parametrize("binary", EACH_VERSION)
def test_a_cluster_stores_what_one_of_its_servers_may_lose(tmp_path: Path, binary: str) -> None:
    with cluster(tmp_path, binary=binary) as servers:
        servers[0].api("STREAM.CREATE.S", {**STREAM, "num_replicas": 3})
        publish(servers[1], b"one")
        leader = servers[0].api("STREAM.INFO.S")["cluster"]["leader"]
        (dead,) = [server for server in servers if server.name == leader]
        others = [server for server in servers if server is not dead]
        dead.kill()

        def elected() -> bool:
            try:
                return others[0].api("STREAM.INFO.S")["cluster"].get("leader") in {one.name for one in others}
            except NoAnswer:
                return False

        wait_for(elected, 60)
        publish(others[1], b"two")
        dead.start()
        assert stored(others[0]) == 2


@NEEDED
def test_who_does_not_log_in_is_refused(tmp_path: Path) -> None:
    for number, login in enumerate((Setup(user="bob", password="sesame"), Setup(token="sesame"))):
        with single(tmp_path / str(number), login) as server:
            assert server.api("INFO")["type"].startswith("io.nats.jetstream")
            with pytest.raises(NoAnswer, match="Authorization Violation"):
                Setup().connect(server.port)


@NEEDED
def test_jetstream_may_be_off(tmp_path: Path) -> None:
    with single(tmp_path, jetstream=False, max_payload=1000) as server, pytest.raises(NoAnswer, match="no responders"):
        server.api("INFO")


@NEEDED
@pytest.mark.needs("openssl")
@pytest.mark.parametrize("verifies", [False, True])
def test_tls(tmp_path: Path, verifies: bool) -> None:
    files = certificates(tmp_path / "files")
    with single(tmp_path, tls=files, verifies=verifies) as server:
        assert server.url == f"tls://127.0.0.1:{server.port}"
        assert "error" not in server.api("INFO")
        with socket.create_connection(("127.0.0.1", server.port), 5) as plain:
            plain.sendall(b"CONNECT {}\r\nPING\r\n")
            plain.settimeout(5)
            answer = b""
            while data := _received(plain):
                answer += data
            assert b"PONG" not in answer
        if verifies:
            with pytest.raises(NoAnswer):
                Setup(tls=files).connect(server.port)


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionError:
        return b""


@NEEDED
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="no_such_option"), single(tmp_path, more="no_such_option: 1"):
        pass


def test_a_link_is_cut_and_restored() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, linked(listening.getsockname()[1]) as link:
        client = socket.create_connection(("127.0.0.1", link.port), 10)
        server, _ = listening.accept()
        server.settimeout(10)
        with client, server:
            client.sendall(b"a")
            assert server.recv(10) == b"a"
            server.sendall(b"b")
            assert client.recv(10) == b"b"
            link.cut()
            client.sendall(b"c")
            server.settimeout(0.3)
            with pytest.raises(TimeoutError):
                server.recv(10)
            link.restore()
            server.settimeout(10)
            assert server.recv(10) == b"c"
            link.drop()
            assert _received(client) == b""
            assert _received(server) == b""


def test_a_connection_to_a_link_that_is_cut_waits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, linked(listening.getsockname()[1]) as link:
        link.cut()
        client = socket.create_connection(("127.0.0.1", link.port), 10)
        client.sendall(b"a")
        listening.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listening.accept()
        link.restore()
        listening.settimeout(10)
        server, _ = listening.accept()
        with client, server:
            assert server.recv(10) == b"a"


def test_the_end_of_one_side_is_the_end_of_the_other() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, linked(listening.getsockname()[1]) as link:
        client = socket.create_connection(("127.0.0.1", link.port), 10)
        server, _ = listening.accept()
        with client:
            server.close()
            assert _received(client) == b""
    started = time.monotonic()
    with linked(1) as link, socket.create_connection(("127.0.0.1", link.port), 10) as client:
        assert _received(client) == b""  # nobody listens there
    assert time.monotonic() - started < 10
