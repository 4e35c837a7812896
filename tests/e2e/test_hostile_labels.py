"""Whatever clients send makes no series: not paths, not methods, not fields, not bytes that are no request."""

from __future__ import annotations

import contextlib
import random
import socket
import string

import pytest

from tests.server import Server, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SIGNS = string.ascii_letters + string.digits + "-_~"


def word(chance: random.Random) -> str:
    return "".join(chance.choices(SIGNS, k=chance.randint(1, 30)))


def send(server: Server, data: bytes) -> None:
    """Send bytes, and read until the server has said all that it will."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as client, contextlib.suppress(ConnectionError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


def attack(server: Server, chance: random.Random) -> None:
    """One of each kind, all of them other than ever before."""
    host = f"Host: {word(chance)}\r\nConnection: close\r\n"
    fields = "".join(f"X-{word(chance)}: {word(chance)}\r\n" for _ in range(5))
    for head in (
        f"GET /{word(chance)}/{word(chance)}?{word(chance)}={word(chance)} HTTP/1.1",
        f"GET /user/{word(chance)} HTTP/1.1",
        f"HEAD /%{chance.randrange(16, 256):x}{word(chance)} HTTP/1.1",
        f"{word(chance)} /user/{word(chance)} HTTP/1.1",
        f"PROPFIND /{word(chance)} HTTP/1.1",
        f"DELETE /user/{word(chance)} HTTP/1.1",
        f"OPTIONS /user/{word(chance)} HTTP/1.1",
        f"GET /{word(chance)} HTTP/{chance.randrange(10)}.{chance.randrange(10)}",
    ):
        send(server, f"{head}\r\n{host}{fields}\r\n".encode())
    send(server, chance.randbytes(50) + b"\r\n\r\n")
    send(server, b"GET / HTTP/1.1\r\n" + chance.randbytes(20) + b": x\r\n\r\n")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_that_clients_send_makes_a_series(workers: str) -> None:
    chance = random.Random(workers)
    with serving("web:app", "--workers", workers) as server:
        counted = "http_server_request_duration_seconds_count"
        for _ in range(20):  # all that a client can cause at all
            attack(server, chance)
        before, requests = server.samples(), server.total(counted)
        for _ in range(40):
            attack(server, chance)
        after = server.samples()
        assert server.total(counted) >= requests + 40 * 9
        ours = [
            {key for key in page if key[0].startswith(("tiny_listener_", "http_server_"))} for page in (before, after)
        ]
        assert ours[1] == ours[0]
        labels = [dict(pairs) for name, pairs in after if name == counted]
        assert {one["http_request_method"] for one in labels} <= {"GET", "HEAD", "DELETE", "OPTIONS", "_OTHER"}
        assert {one["http_route"] for one in labels} == {"", "/user/{username}"}
