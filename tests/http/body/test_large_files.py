"""Files that are sent in pieces, or by the kernel."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from tests.http.files_app import TEXT, application, ask, make_root
from tests.http.helpers import serving, until
from tiny_listener.http.body.file_body import PIECE
from tiny_listener.http.h1.writing.sendfile import LEAST


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_large_files_come_in_pieces(runner: asyncio.Runner, root: Path, version: str) -> None:
    data = os.urandom(3 * PIECE + 1)
    (root / "large").write_bytes(data)

    async def main() -> None:
        async with serving(application(root)) as server:
            head = f"GET /root/large HTTP/{version}\r\nHost: x\r\n\r\n".encode()
            assert (await server.ask(head)).body == data
            response = await ask(server, "/root/large", range=f"bytes={PIECE - 1}-{2 * PIECE}")
            assert response.body == data[PIECE - 1 : 2 * PIECE + 1]

    runner.run(main())


def counted(monkeypatch: pytest.MonkeyPatch, name: str, error: OSError | None = None) -> list[int]:
    """Have a function of `os` raise an error, or note what it returns; the list grows with each call."""
    returned: list[int] = []
    original = getattr(os, name)

    def function(*args: Any) -> Any:
        if error is not None:
            returned.append(-1)
            raise error
        value = original(*args)
        returned.append(value if isinstance(value, int) else len(value))
        return value

    monkeypatch.setattr(os, name, function)
    return returned


@pytest.mark.parametrize("size", [LEAST - 1, LEAST, 3 * LEAST + 1])
def test_the_kernel_sends_what_is_large_enough(
    runner: asyncio.Runner, root: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    sent, read = counted(monkeypatch, "sendfile"), counted(monkeypatch, "pread")
    data = os.urandom(size)
    (root / "large").write_bytes(data)

    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            for _ in range(2):  # the connection lives on
                assert (await client.ask(b"GET /root/large HTTP/1.1\r\nHost: x\r\n\r\n")).body == data
            http: Any = server.app.http.server
            await until(lambda: not http.in_flight)  # a client may have it before the thread that sent it says so

    runner.run(main())
    assert (sum(sent), sum(read)) == ((0, 2 * size) if size < LEAST else (2 * size, 0))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("dup", OSError(errno.EMFILE, "Too many open files")),
        ("sendfile", OSError(errno.EINVAL, "Invalid argument")),
        ("sendfile", OSError(errno.ENOSYS, "Function not implemented")),
    ],
)
def test_what_the_kernel_cannot_send_is_read(
    runner: asyncio.Runner, root: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: OSError
) -> None:
    data = os.urandom(3 * PIECE)
    (root / "large").write_bytes(data)
    failed = counted(monkeypatch, name, error)

    async def main() -> None:
        async with serving(application(root)) as server:
            assert (await ask(server, "/root/large")).body == data

    runner.run(main())
    assert failed == [-1]


def test_a_large_file_waits_for_the_answers_before_it(runner: asyncio.Runner, root: Path) -> None:
    """The kernel is asked for the file when all that was written before is out, however slowly the client reads."""
    data = os.urandom(8 * 1024 * 1024)
    (root / "large").write_bytes(data)
    app = application(root)

    @app.get("/text")
    async def text() -> bytes:
        return data

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            asks = [b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in (b"/text", b"/root/large", b"/root/c")]
            await client.send(b"".join(asks * 2))
            http: Any = server.app.http.server
            await until(lambda: any(connection.is_blocked for connection in http.connections))
            for _ in range(2):
                assert (await client.receive()).body == data
                assert (await client.receive()).body == data
                assert (await client.receive()).body == TEXT

    runner.run(main())


def open_files() -> int:
    """Count the descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def test_a_client_that_reads_slowly_fills_no_memory(runner: asyncio.Runner, root: Path) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(512 * 1024 * 1024)

    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            await client.send(b"GET /root/huge HTTP/1.1\r\nHost: x\r\n\r\n")
            http: Any = server.app.http.server
            await until(lambda: any(connection.is_blocked for connection in http.connections))
            [connection] = http.connections
            assert connection.transport.get_write_buffer_size() <= 2 * PIECE
            before = open_files()
            client.writer.transport.abort()
            await until(lambda: not http.in_flight)
            await until(lambda: open_files() < before)

    runner.run(main())


def test_a_file_that_shrinks_does_not_look_complete(
    runner: asyncio.Runner, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (root / "huge").open("wb") as file:
        file.truncate(512 * 1024 * 1024)

    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            await client.send(b"GET /root/huge HTTP/1.1\r\nHost: x\r\n\r\n")
            http: Any = server.app.http.server
            await until(lambda: any(connection.is_blocked for connection in http.connections))
            os.truncate(root / "huge", PIECE)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await client.receive()

    runner.run(main())
    assert "ended" in caplog.text
    assert "early" in caplog.text


def test_no_file_stays_open(runner: asyncio.Runner, root: Path) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            requests = [
                b"GET /root/a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /root/a.txt HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n",
                b"GET /root/a.txt HTTP/1.1\r\nHost: x\r\nRange: bytes=99-\r\n\r\n",
                b"GET /root/pipe HTTP/1.1\r\nHost: x\r\n\r\n",
            ]
            await client.ask(requests[0])
            before = open_files()
            for data in requests * 5:
                await client.ask(data)
            http: Any = server.app.http.server
            await until(lambda: not http.in_flight)
            assert open_files() <= before

    runner.run(main())
