"""Files as responses."""

from __future__ import annotations

import asyncio
import errno
import os
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.http.helpers import Response, Serving, serving, until
from tiny_listener import Param
from tiny_listener.http import FileResponse, HTTPListener, Request
from tiny_listener.http.file_body import PIECE
from tiny_listener.http.sendfile import LEAST
from tiny_listener.http.testing import TestClient

TEXT = b"0123456789"
WHEN = 1_700_000_000
DATE = formatdate(WHEN, usegmt=True)
LATER = formatdate(WHEN + 1, usegmt=True)
EARLIER = formatdate(WHEN - 1, usegmt=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with files, and beside it one that is not to be seen."""
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "secret").write_text("secret")
    for name in ("a.txt", "below/b.html", "c", "d.tar.gz", "e\\f", "..g"):
        (root / name).write_bytes(TEXT)
        os.utime(root / name, (WHEN, WHEN))
    (root / "empty").touch()
    (root / "inside").symlink_to(root / "below")
    (root / "out").symlink_to(tmp_path)
    (root / "secret").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root / "loop")
    (root / "null").symlink_to("/dev/null")
    os.mkfifo(root / "pipe")
    return root


def application(root: Path) -> HTTPListener:
    app = HTTPListener()

    @app.get("/root/{name:path}")
    async def below(name: Param) -> FileResponse:
        return FileResponse(name, root=root)

    @app.post("/root/{name:path}")
    async def posted(name: Param) -> FileResponse:
        return FileResponse(name, root=root)

    @app.get("/any/{name:path}")
    async def anywhere(name: Param) -> FileResponse:
        return FileResponse(root / name)

    @app.get("/named")
    async def named(request: Request) -> FileResponse:
        response = FileResponse(root / "c", content_type="text/x-c", filename=request.query["name"])
        response.set_cookie("a", "1", samesite=None)
        return response

    return app


async def ask(server: Serving, path: str, method: str = "GET", **headers: str) -> Response:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    data = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
    return await server.ask(data, head_only=method == "HEAD")


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/root/a.txt", "text/plain; charset=utf-8"),
        ("/root/below/b.html", "text/html; charset=utf-8"),
        ("/root/./below//b.html", "text/html; charset=utf-8"),
        ("/root/inside/b.html", "text/html; charset=utf-8"),
        ("/root/c", "application/octet-stream"),
        ("/root/d.tar.gz", "application/gzip"),
        ("/root/e%5Cf", "application/octet-stream"),
        ("/root/..g", "application/octet-stream"),
        ("/any/a.txt", "text/plain; charset=utf-8"),
    ],
)
def test_whole_files(runner: asyncio.Runner, root: Path, path: str, content_type: str) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            for method in ("GET", "HEAD", "GET"):
                head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
                response = await client.ask(head, head_only=method == "HEAD")
                assert response.status == 200
                assert response.body == (b"" if method == "HEAD" else TEXT)
                assert response.headers["content-type"] == content_type
                assert (response.headers["content-length"], response.headers["accept-ranges"]) == ("10", "bytes")
                assert response.headers["last-modified"] == DATE
            assert (await ask(server, "/root/empty")).headers["content-length"] == "0"

    runner.run(main())


@pytest.mark.parametrize(
    "path",
    [
        "missing",
        "",
        ".",
        "below",
        "below/",
        "a.txt/",
        "a.txt/x",
        "../secret",
        "..",
        "below/../../secret",
        "below/../a.txt",
        "%2e%2e/secret",
        "..%2Fsecret",
        "../root-too/secret",
        "/etc/passwd",
        "%2Fetc/passwd",
        "out/secret",
        "out/root/a.txt/..",
        "secret",
        "loop",
        "null",
        "pipe",
        "a.txt%00",
        "%00",
        "x" * 300,
    ],
)
def test_what_is_no_file_of_the_folder(runner: asyncio.Runner, root: Path, path: str) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            client = await server.connect()
            for _ in range(2):
                response = await client.ask(f"GET /root/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert response.status == 404
                assert b"secret" not in response.body
            assert (await client.ask(b"GET /root/a.txt HTTP/1.1\r\nHost: x\r\n\r\n")).body == TEXT

    runner.run(main())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(["..", ".", "", "below", "inside", "out", "secret", "root", "a.txt", "\0"])))
def test_no_path_leads_out(root: Path, parts: list[str]) -> None:
    app = HTTPListener()

    @app.get("/")
    async def file() -> FileResponse:
        return FileResponse("/".join(parts), root=root)

    response = TestClient(app).get("/")
    assert (response.status_code, response.content) in ((200, TEXT), (404, b"Not Found\n"))


@pytest.mark.parametrize("path", ["/any/pipe", "/any/null", "/any/below", "/any/missing", "/any/a%00"])
def test_what_is_no_ordinary_file(runner: asyncio.Runner, root: Path, path: str) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            assert (await ask(server, path)).status == 404
            assert (await ask(server, "/any/out/secret")).body == b"secret"  # without a root links are followed

    runner.run(main())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_none_match": "{etag}"}, 304),
        ({"if_none_match": 'W/"x", W/{etag}'}, 304),
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_none_match": '"x"', "if_modified_since": DATE}, 200),
        ({"if_none_match": "{etag}", "if_modified_since": EARLIER}, 304),
        ({"if_modified_since": DATE}, 304),
        ({"if_modified_since": LATER}, 304),
        ({"if_modified_since": EARLIER}, 200),
        ({"if_modified_since": "yesterday"}, 200),
        ({"if_none_match": "{etag}", "range": "bytes=0-1"}, 304),
    ],
)
def test_conditions(runner: asyncio.Runner, root: Path, headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            etag = (await ask(server, "/root/a.txt")).headers["etag"]
            headers_now = {name: value.replace("{etag}", etag) for name, value in headers.items()}
            for method in ("GET", "HEAD"):
                response = await ask(server, "/root/a.txt", method, **headers_now)
                assert (response.status, response.headers["etag"]) == (status, etag)
                assert response.body == (TEXT if status == 200 and method == "GET" else b"")
            assert (await ask(server, "/root/a.txt", "POST", **headers_now)).status == 200
            (root / "a.txt").write_bytes(TEXT + b"x")
            assert (await ask(server, "/root/a.txt")).headers["etag"] != etag

    runner.run(main())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": "{etag}"}, 200),
        ({"If-Match": '"other", {etag}'}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "W/{etag}"}, 412),
        ({"If-Match": ""}, 412),
        ({"If-Unmodified-Since": "{modified}"}, 200),
        ({"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 412),
        ({"If-Unmodified-Since": "some day"}, 200),
        ({"If-Match": "{etag}", "If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, 200),
        ({"If-Match": '"other"', "If-None-Match": "{etag}"}, 412),
        ({"If-Match": "{etag}", "If-None-Match": "{etag}"}, 304),
    ],
)
def test_preconditions(runner: asyncio.Runner, root: Path, headers: dict[str, str], status: int) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            whole = (await ask(server, "/root/a.txt")).headers
            etag, modified = whole["etag"], whole["last-modified"]
            now = {
                name: value.replace("{etag}", etag).replace("{modified}", modified) for name, value in headers.items()
            }
            for method in ("GET", "HEAD", "POST"):
                expected = 200 if (method, status) == ("POST", 304) else status
                assert (await ask(server, "/root/a.txt", method, **now)).status == expected
            assert (await ask(server, "/root/a.txt", Range="bytes=0-0", **now)).status == (
                206 if status == 200 else status
            )

    runner.run(main())


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-4", 206, b"234", "bytes 2-4/10"),
        ("Bytes= 2-4 ", 206, b"234", "bytes 2-4/10"),
        ("bytes=9-", 206, b"9", "bytes 9-9/10"),
        ("bytes=0-99", 206, TEXT, "bytes 0-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, TEXT, "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=10-20", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=4-2", 200, TEXT, None),
        ("bytes=0-1,3-4", 200, TEXT, None),
        ("bytes=-", 200, TEXT, None),
        ("bytes=a-b", 200, TEXT, None),
        ("bytes=" + "9" * 19 + "-", 200, TEXT, None),
        ("lines=0-1", 200, TEXT, None),
    ],
)
def test_ranges(
    runner: asyncio.Runner, root: Path, value: str, *, status: int, body: bytes, content_range: str | None
) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            response = await ask(server, "/root/a.txt", range=value)
            assert (response.status, response.headers.get("content-range")) == (status, content_range)
            assert status == 416 or response.body == body
            assert (await ask(server, "/root/a.txt", "HEAD", range=value)).status == 200
            assert (await ask(server, "/root/a.txt", "POST", range=value)).status == 200
            assert (await ask(server, "/root/empty", range="bytes=-1")).status == 200
            assert (await ask(server, "/root/empty", range="bytes=0-")).status == 416

    runner.run(main())


@pytest.mark.parametrize(
    ("validator", "status"),
    [("{etag}", 206), ("W/{etag}", 200), ('"x"', 200), (DATE, 206), (EARLIER, 200), (LATER, 200), ("x", 200)],
)
def test_ranges_of_what_the_client_has(runner: asyncio.Runner, root: Path, validator: str, status: int) -> None:
    async def main() -> None:
        async with serving(application(root)) as server:
            etag = (await ask(server, "/root/a.txt")).headers["etag"]
            response = await ask(server, "/root/a.txt", range="bytes=1-1", if_range=validator.replace("{etag}", etag))
            assert response.status == status

    runner.run(main())


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("a b", 'attachment; filename="a b"'),
        ('a"\\\r\n', "attachment; filename=\"a____\"; filename*=UTF-8''a%22%5C%0D%0A"),
        ("ü%41", "attachment; filename=\"__41\"; filename*=UTF-8''%C3%BC%2541"),
    ],
)
def test_names_to_save_by(root: Path, name: str, disposition: str) -> None:
    response = TestClient(application(root)).get("/named", params={"name": name})
    assert (response.content, response.headers["content-disposition"]) == (TEXT, disposition)
    assert (response.headers["content-type"], response.headers["set-cookie"]) == ("text/x-c", "a=1; Path=/")


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
            http: Any = server.app.server
            await until(lambda: not http.in_hand)  # a client may have it before the thread that sent it says so

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
            http: Any = server.app.server
            await until(lambda: any(connection._writable for connection in http.connections))
            for _ in range(2):
                assert (await client.receive()).body == data
                assert (await client.receive()).body == data
                assert (await client.receive()).body == TEXT

    runner.run(main())


def test_fields_of_ones_own_come_with_a_304_too(root: Path) -> None:
    app = HTTPListener()

    @app.get("/")
    async def file() -> FileResponse:
        return FileResponse("a.txt", root=root, headers={"Cache-Control": "max-age=60", "Vary": "Cookie"})

    client = TestClient(app)
    for fields, status in (({}, 200), ({"range": "bytes=1-2"}, 206), ({"if-none-match": "*"}, 304)):
        response = client.get("/", headers=fields)
        assert response.status_code == status
        assert (response.headers["cache-control"], response.headers["vary"]) == ("max-age=60", "Cookie")
        assert response.headers["etag"]
    with pytest.raises(ValueError, match="control character"):
        FileResponse("a.txt", headers={"a": "\n"})


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
            http: Any = server.app.server
            await until(lambda: any(connection._writable for connection in http.connections))
            [connection] = http.connections
            assert connection.transport.get_write_buffer_size() <= 2 * PIECE
            before = open_files()
            client.writer.transport.abort()
            await until(lambda: not http.in_hand)
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
            http: Any = server.app.server
            await until(lambda: any(connection._writable for connection in http.connections))
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
            http: Any = server.app.server
            await until(lambda: not http.in_hand)
            assert open_files() <= before

    runner.run(main())
