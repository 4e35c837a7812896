"""Clients that take their time, by the hundred: each ties up its own connection, while it is borne, and no more.

What slowhttptest calls slow headers (slowloris), slow body (R.U.D.Y.), slow read, and connections that never speak.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CLIENTS = 200
MAY_GROW = CLIENTS * 256 * 1024
"""Bytes. Of a response of 64 MiB that nobody reads there may be 64 KiB that wait to be written (the transport's mark),
the piece that went past it, the same again while pieces are put together, and the generator."""
MAY_GROW_BY_TESTER = 1000 * (128 + 32) * 1024
"""Bytes, for a thousand connections of which each wants 64 MiB and reads next to nothing: just below the transport's
mark of 64 KiB, the piece of 64 KiB that went past it, and the connection itself. How much of it the kernel takes off
depends on the machine."""
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: bytes) -> bytes:
    """Send a piece, again and again, with pauses far shorter than any limit, until the server closes."""
    received = b""
    while True:
        with contextlib.suppress(TimeoutError):
            data = await asyncio.wait_for(reader.read(1000), 0.2)
            received += data
            if not data:
                return received
        writer.write(piece)


async def slow_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(HEAD)
    return await trickle(reader, writer, b"X-A: b\r\n")


async def silent_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nbegun")
    return await trickle(reader, writer, b"")


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    return await trickle(reader, writer, b"")


async def slow_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Ask for much, and take nothing until the server has given up; then what it had sent is cut short."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(HEAD.replace(b"/ ", b"/big ") + b"\r\n")
    return b""


def memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]


async def attack(server: Server, how: Attack, until_over: Callable[[], bool]) -> list[bytes]:
    """Return what each client received; others ask meanwhile, and are answered."""

    async def client() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writers.append(writer)
        try:
            return await how(reader, writer)
        except ConnectionError:
            return b""

    writers: list[asyncio.StreamWriter] = []
    clients = [asyncio.ensure_future(client()) for _ in range(CLIENTS)]
    while len(writers) < CLIENTS or not all(task.done() for task in clients) or not until_over():
        assert await asyncio.to_thread(server.get, "/") == (200, b"here")
    received = [task.result() for task in clients]
    for writer in writers:
        writer.transport.abort()
    return received


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (slow_head, b"HTTP/1.1 408 Request Timeout\r\n"),
        (silent_body, b"HTTP/1.1 408 Request Timeout\r\n"),
        (silence, b""),
        (slow_read, b""),
    ],
)
def test_slow_clients_tie_up_their_own_connections_only(how: Attack, expected: bytes) -> None:
    with serving("impatient:app") as server:
        pid = server.process.pid
        assert server.get("/")[0] == 200
        wait_for(lambda: files(pid) == files(pid))
        opened, resident = files(pid), memory(pid)
        most = 0

        def is_over() -> bool:
            nonlocal most
            most = max(most, memory(pid))
            return files(pid) <= opened + 10

        received = asyncio.run(attack(server, how, is_over))
        assert len(received) == CLIENTS
        assert all(data.startswith(expected) and bool(data) == bool(expected) for data in received)
        wait_for(lambda: files(pid) <= opened)
        assert most - resident < MAY_GROW
        assert server.get("/") == (200, b"here")
        assert "Traceback" not in server.log


TESTERS = 1000
MODES = {
    "slow headers": ("/", "-H", "-i", "1"),
    "slow body": ("/", "-B", "-i", "10"),
    "ranges": ("/file", "-R"),
    "slow read": ("/big", "-X", "-n", "1", "-w", "10", "-y", "20", "-z", "5"),
}


@pytest.mark.needs("slowhttptest")
@pytest.mark.parametrize("mode", MODES)
def test_what_slowhttptest_does_with_a_thousand_connections_keeps_nobody_waiting(mode: str) -> None:
    path, *options = MODES[mode]
    with serving("impatient:app") as server:
        pid = server.process.pid
        assert server.get("/")[0] == 200
        opened, resident, most = files(pid), memory(pid), 0
        tester = subprocess.Popen(
            [
                *("slowhttptest", *options, "-c", str(TESTERS), "-r", str(TESTERS), "-l", "5", "-p", "3"),
                *("-u", f"http://127.0.0.1:{server.port}{path}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while tester.poll() is None:
            assert server.get("/") == (200, b"here")
            most = max(most, memory(pid))
        assert tester.stdout is not None
        said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", tester.stdout.read())
        tester.stdout.close()
        assert re.search(r"number of connections: +1000\n", said)
        assert set(re.findall(r"service available: +(\w+)", said)) == {"YES"}
        if mode != "slow read":  # one that takes nothing does not hear that it was dropped
            assert "No open connections left" in said
        wait_for(lambda: files(pid) <= opened + 2)
        assert most - resident < MAY_GROW_BY_TESTER
        assert "Traceback" not in server.log
