"""Each example is run as its first lines say."""

from __future__ import annotations

import socket
import subprocess

import pytest

from tests.server import COMMAND, ROOT, command, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("workers", ["1", "8"])
def test_http_web(workers: str) -> None:
    with serving("http_web:app", "--workers", workers, cwd=EXAMPLES) as server:
        assert server.get("/") == (200, b"Welcome!")
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert server.get("/nothing")[0] == 404
        wait_for(lambda: '- "GET /user/Bob HTTP/1.1" 200 OK\n' in server.log)
        assert "INFO:     127.0.0.1:" in server.log


@pytest.mark.parametrize("workers", ["1", "4"])
def test_http_streams(workers: str) -> None:
    options = ["--workers", workers]
    with serving("http_streams:app", *options, cwd=EXAMPLES, port=8000, pass_port=False) as server:
        assert server.get("/") == (200, b"Welcome!")
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert server.get("/nothing") == (404, b"Page Not Found\n")
        with socket.create_connection(("127.0.0.1", 8000)) as client:
            client.sendall(b"GARBAGE\r\n\r\n")
            assert client.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
        assert server.total("tiny_listener_not_found_total") == 1
        assert "Traceback" not in server.log


def test_steps() -> None:
    done = command("--admin-port", "0", "steps:app", cwd=EXAMPLES)
    assert done.stdout == "Dear Bob, the total is 60.\n"
    assert done.returncode == 0


def test_tcp_chat() -> None:
    with serving("tcp_chat:app", cwd=EXAMPLES, pass_port=False) as server:
        bob = socket.create_connection(("127.0.0.1", 8025))
        ann = socket.create_connection(("127.0.0.1", 8025))
        with bob, ann, bob.makefile("rw") as b, ann.makefile("rw") as a:
            for file, name in ((b, "Bob"), (a, "Ann")):
                print(f"/name {name}", file=file, flush=True)
                assert file.readline() == f"Hello, {name}!\n"
            print("Good morning", file=b, flush=True)
            assert a.readline() == "Bob: Good morning\n"
            print("/who", file=a, flush=True)
            assert a.readline() == "Ann, Bob\n"
        assert server.total("tiny_listener_events_total", event="/name {name}", outcome="ok") == 2


def test_udp_counts() -> None:
    with serving("udp_counts:app", "--workers", "2", cwd=EXAMPLES, pass_port=False) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:  # one client has one worker
            client.settimeout(10)
            client.connect(("127.0.0.1", 8125))
            for datagram in (b"visits:2|c", b"visits:40|c", b"visits"):
                client.send(datagram)
            assert client.recv(100) == b"42"
        assert "Traceback" not in server.log


def test_every_example_type_checks_its_listener() -> None:
    for app in ("http_web", "http_streams", "steps", "tcp_chat", "udp_counts"):
        done = subprocess.run([*COMMAND, "--check", f"{app}:app"], cwd=EXAMPLES, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
