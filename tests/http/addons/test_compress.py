"""Compress: what is compressed, how a coding is chosen, and that every body comes back as it was."""

from __future__ import annotations

import asyncio
import importlib
import os
import subprocess
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.helpers import serving
from tests.http.walls import get, http_of, reset, until
from tiny_listener.http import Compress, FileResponse, HTTPListener, Request, Response, StreamingResponse
from tiny_listener.http.addons import codings
from tiny_listener.http.testing import TestClient, TestResponse

TEXT = "a text that is repeated; " * 100

DECODE: dict[str | None, Callable[[bytes], bytes]] = {
    None: bytes,
    "gzip": lambda data: zlib.decompress(data, 31),
    "br": brotli.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}


def content(response: TestResponse) -> bytes:
    return DECODE[response.headers.get("content-encoding")](response.content)


def client(body: Any = TEXT, minimum: int = 500, **options: Any) -> TestClient:
    app = HTTPListener()
    app.use(Compress(minimum))

    @app.get("/")
    async def home() -> Any:
        return Response(body, **options) if options else body

    return TestClient(app)


def test_packages_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    assert list(codings.CODERS) == ["zstd", "br", "gzip"]
    monkeypatch.setattr(importlib, "import_module", missing)
    assert [name for name, _ in codings.available()] == ["gzip"]


# --- what is compressed -----------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_body_is_compressed(coding: str) -> None:
    for body in (TEXT, TEXT.encode(), {"text": TEXT}, [TEXT]):
        plain = client(body).get("/")
        response = client(body).get("/", headers={"accept-encoding": coding})
        assert (response.headers["content-encoding"], response.headers["vary"]) == (coding, "Accept-Encoding")
        assert response.headers["content-type"] == plain.headers["content-type"]
        assert content(response) == plain.content
        assert int(response.headers["content-length"]) == len(response.content) < 500
        assert (plain.headers["vary"], "content-encoding" in plain.headers) == ("Accept-Encoding", False)


@pytest.mark.parametrize(("length", "compressed"), [(0, False), (499, False), (500, True), (64 * 1024, True)])
def test_the_minimum(length: int, compressed: bool) -> None:
    response = client("x" * length).get("/", headers={"accept-encoding": "gzip"})
    assert ("content-encoding" in response.headers, "vary" in response.headers) == (compressed, compressed)
    assert content(response) == b"x" * length
    response = client("x" * length).get("/", headers={"accept-encoding": "gzip, identity;q=0"})
    assert ("content-encoding" in response.headers) == (length > 0)
    for minimum in (length, length + 1):
        response = client("x" * length, minimum).get("/", headers={"accept-encoding": "gzip"})
        assert ("content-encoding" in response.headers) == (minimum == length and length > 0)


LEFT: list[dict[str, Any]] = [
    {"headers": {"content-encoding": "br"}},
    {"headers": {"Cache-Control": "max-age=5, No-Transform"}},
    {"headers": {"content-range": "bytes 0-1/2"}},
    {"headers": {"Content-Digest": "sha-256=:x:"}},
    {"status": 206},
    {"status": 205},
    {"status": 204},
    *(
        {"content_type": kind}
        for kind in ("image/png", "IMAGE/JPEG; a=b", "video/mp4", "audio/ogg", "font/woff2", "application/zip")
    ),
]


@pytest.mark.parametrize("options", LEFT)
def test_what_is_left_as_it_is(options: dict[str, Any]) -> None:
    plain = client(**options).get("/")
    response = client(**options).get("/", headers={"accept-encoding": "gzip, br, zstd, identity;q=0"})
    assert response.content == plain.content
    assert response.headers.get("content-encoding") == options.get("headers", {}).get("content-encoding")
    assert "vary" not in response.headers


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "application/json", "x/y", "application/wasm"])
def test_types_that_are_compressed(kind: str) -> None:
    response = client(content_type=kind, status=404).get("/", headers={"accept-encoding": "gzip"})
    assert (response.headers["content-encoding"], response.status_code) == ("gzip", 404)


def test_random_bytes_stay_as_they_are() -> None:
    body = os.urandom(2000)
    response = client(body).get("/", headers={"accept-encoding": "gzip"})
    assert (response.content, response.headers["vary"]) == (body, "Accept-Encoding")
    assert client(body).get("/", headers={"accept-encoding": "gzip, *;q=0"}).headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("etag", ['"a"', 'W/"a"'])
def test_a_compressed_body_has_a_weak_etag(etag: str) -> None:
    ours = client(headers={"etag": etag})
    assert ours.get("/").headers["etag"] == etag
    assert ours.get("/", headers={"accept-encoding": "br"}).headers["etag"] == 'W/"a"'


@pytest.mark.parametrize("size", [1000, 100_000])
def test_files(tmp_path: Path, size: int) -> None:
    (tmp_path / "a.txt").write_text("x" * size)
    app = HTTPListener()
    app.use(Compress())

    @app.get("/")
    async def file() -> Response:
        return FileResponse(tmp_path / "a.txt")

    ours = TestClient(app)
    accepts = {"accept-encoding": "gzip"}
    plain, response = ours.get("/"), ours.get("/", headers=accepts)
    assert content(response) == plain.content
    assert response.headers["etag"] == f"W/{plain.headers['etag']}"
    assert "accept-ranges" not in response.headers
    head = ours.head("/", headers=accepts)
    assert (head.headers["content-encoding"], head.headers["etag"]) == ("gzip", response.headers["etag"])
    assert "content-length" not in head.headers
    for etag in (plain.headers["etag"], response.headers["etag"]):
        again = ours.get("/", headers={**accepts, "if-none-match": etag})
        assert (again.status_code, again.headers["etag"]) == (304, response.headers["etag"])
        assert again.headers["vary"] == "Accept-Encoding"
    part = ours.get("/", headers={**accepts, "range": "bytes=0-9"})
    assert (part.status_code, part.content, part.headers["etag"]) == (206, b"x" * 10, plain.headers["etag"])


@pytest.mark.parametrize("size", [1000, 200_000])
def test_head_has_the_fields_of_get(size: int) -> None:
    ours = client("x" * size)
    get_, head = (getattr(ours, how)("/", headers={"accept-encoding": "br"}) for how in ("get", "head"))
    assert head.content == b""
    for name in ("content-encoding", "vary", "content-type"):
        assert head.headers[name] == get_.headers[name]
    assert head.headers.get("content-length") in (None, get_.headers["content-length"])


def test_a_response_object_that_is_used_again() -> None:
    shared = Response(TEXT)
    app = HTTPListener()
    app.use(Compress())

    @app.get("/")
    async def home() -> Response:
        return shared

    ours = TestClient(app)
    assert content(ours.get("/", headers={"accept-encoding": "gzip"})) == TEXT.encode()
    assert ours.get("/").content == TEXT.encode()


@pytest.mark.parametrize("minimum", [-1, 1.5, None, "500"])
def test_a_minimum_that_is_none(minimum: Any) -> None:
    with pytest.raises(ValueError, match="number of bytes, 0 or more, not"):
        Compress(minimum)


@given(
    st.binary(max_size=200_000) | st.binary(max_size=20).map(lambda b: b * 9000),
    st.sampled_from(["gzip", "br", "zstd"]),
)
@settings(max_examples=30)
def test_any_body_comes_back(body: bytes, coding: str) -> None:
    response = client(body, 0).get("/", headers={"accept-encoding": f"{coding}, *;q=0"})
    assert ("content-encoding" in response.headers) == bool(body)
    assert content(response) == body


@given(st.lists(st.binary(max_size=3000) | st.text(max_size=50), max_size=20), st.sampled_from(["gzip", "br", "zstd"]))
@settings(max_examples=60)
def test_any_stream_comes_back(pieces: list[bytes | str], coding: str) -> None:
    app = HTTPListener()
    app.use(Compress())

    @app.get("/")
    async def stream() -> AsyncIterator[bytes | str]:
        for piece in pieces:
            yield piece

    response = TestClient(app).get("/", headers={"accept-encoding": coding})
    assert response.headers["content-encoding"] == coding
    expected = b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)
    assert content(response) == expected


# --- streams -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_each_piece_can_be_read_when_it_is_sent(runner: asyncio.Runner, coding: str) -> None:
    app = HTTPListener()
    app.use(Compress())
    goes_on = asyncio.Event()

    @app.get("/")
    async def ticks() -> AsyncIterator[str]:
        yield "one"
        await goes_on.wait()
        yield "two"

    coders: dict[str, Callable[[], Any]] = {
        "gzip": lambda: zlib.decompressobj(31).decompress,
        "br": lambda: brotli.Decompressor().process,
        "zstd": lambda: zstandard.ZstdDecompressor().decompressobj().decompress,
    }
    coder = coders[coding]()

    async def main() -> None:
        async with serving(app) as server:
            connection = await server.connect()
            await connection.send(get("/", fields=f"Accept-Encoding: {coding}\r\n"))
            await connection.reader.readuntil(b"\r\n\r\n")
            got = b""
            while got != b"one":
                size = int(await connection.reader.readline(), 16)
                got += coder((await connection.reader.readexactly(size + 2))[:-2])
            goes_on.set()
            while size := int(await connection.reader.readline(), 16):
                got += coder((await connection.reader.readexactly(size + 2))[:-2])
            assert got == b"onetwo"

    runner.run(main())


def test_a_stream_that_fails_or_whose_client_leaves_is_closed(runner: asyncio.Runner) -> None:
    app = HTTPListener()
    app.use(Compress())
    closed = []

    @app.get("/{how}")
    async def stream(request: Request) -> AsyncIterator[str]:
        try:
            yield "one"
            if request.path == "/wait":
                await asyncio.get_running_loop().create_future()
            raise KeyError
        finally:
            closed.append(request.path)

    @app.get("/length")
    async def length() -> Response:
        async def pieces() -> AsyncIterator[str]:
            yield "x" * 1000

        return StreamingResponse(pieces(), length=2000)

    async def main() -> None:
        async with serving(app) as server:
            for how in ("wait", "fail", "length"):
                connection = await server.connect()
                await connection.send(get(f"/{how}", fields="Accept-Encoding: gzip\r\n"))
                await connection.reader.readuntil(b"\r\n\r\n")
                if how == "wait":
                    await until(lambda: http_of(server).exchanges)
                    reset(connection)
                else:
                    assert not (await connection.reader.read()).endswith(b"0\r\n\r\n")
            await until(lambda: sorted(closed) == ["/fail", "/wait"])
            await until(lambda: not http_of(server).exchanges)

    runner.run(main())


@pytest.mark.parametrize("kind", ["whole", "one piece", "many pieces"])
def test_large_bodies_keep_nobody_waiting(kind: str) -> None:
    """Nothing of it holds up the loop: others are served meanwhile."""
    app = HTTPListener()
    app.use(Compress())
    body = b"".join(b"%d, " % number for number in range(3_000_000))
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        size = len(body) if kind == "one piece" else 32 * 1024
        for start in range(0, len(body), size):
            yield body[start : start + size]

    @app.get("/large")
    async def large() -> Any:
        return body if kind == "whole" else pieces()

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> int:
        served = 0
        async with serving(app) as server:
            one, two = await server.connect(), await server.connect()

            async def read() -> bytes:
                response = await one.ask(get("/large", fields="Accept-Encoding: gzip\r\n"))
                ended.set()
                return response.body

            reading = asyncio.ensure_future(read())
            while not ended.is_set():
                await two.ask(get("/"))
                served += 1
            assert zlib.decompress(await reading, 31) == body
        return served

    assert asyncio.run(main()) > 10


def test_a_small_body_takes_little_time() -> None:
    """What is compressed on the loop, at most 64 KiB, takes less than 10 ms, on a busy machine too."""
    body = os.urandom(16 * 1024).hex().encode() * 2
    assert len(body) == 64 * 1024
    for coder in codings.CODERS.values():
        times = []
        for _ in range(5):
            began = perf_counter()
            coder().whole(body)
            times.append(perf_counter() - began)
        assert min(times) < 0.01


@pytest.mark.needs("curl")
def test_curl_reads_it(runner: asyncio.Runner, tmp_path: Path) -> None:
    app = HTTPListener()
    app.use(Compress())
    text = TEXT * 300

    @app.get("/whole")
    async def whole() -> str:
        return text

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        for start in range(0, len(text), 10_000):
            yield text[start : start + 10_000]

    async def main() -> None:
        async with serving(app) as server:
            for target in ("whole", "stream"):
                for accept in ([], ["-H", "Accept-Encoding: gzip"]):
                    ran = await asyncio.to_thread(
                        subprocess.run,
                        [
                            "curl",
                            "-sS",
                            "--compressed",
                            *accept,
                            "-D",
                            str(tmp_path / "head"),
                            f"http://127.0.0.1:{server.port}/{target}",
                        ],
                        capture_output=True,
                        check=True,
                    )
                    assert ran.stdout.decode() == text
                    assert "content-encoding: " in (tmp_path / "head").read_text()

    runner.run(main())
