"""Files as responses."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.files_app import TEXT, WHEN, application, ask, make_root
from tests.http.helpers import serving
from tiny_listener.http import FileResponse, HTTPListener
from tiny_listener.http.testing import TestClient

DATE = formatdate(WHEN, usegmt=True)
LATER = formatdate(WHEN + 1, usegmt=True)
EARLIER = formatdate(WHEN - 1, usegmt=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path)


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


@settings(max_examples=60)
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
