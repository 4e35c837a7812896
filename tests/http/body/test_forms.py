"""Forms: urlencoded and multipart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.http.helpers import serving, until
from tiny_listener.http import ClientDisconnectedError, Form, HTTPListener, Request, Upload
from tiny_listener.http.body import urlencoded
from tiny_listener.http.body.forms import INLINE, MAX_FIELD_SIZE, MAX_FIELDS, MAX_FILES, SPOOL, STEP
from tiny_listener.http.body.urlencoded import UrlencodedParser
from tiny_listener.http.testing import TestClient, TestResponse

URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
MULTIPART = {"content-type": 'multipart/form-data; boundary="b"'}
END = b"--b--\r\n"


def part(disposition: str, data: bytes, more: str = "") -> bytes:
    return f"--b\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode() + data + b"\r\n"


def application(seen: list[Any] | None = None, **limits: int) -> HTTPListener:
    app = HTTPListener()

    @app.post("/")
    async def home(request: Request) -> list[Any]:
        try:
            form = await request.form(**limits)
        except ClientDisconnectedError as exc:
            assert seen is not None
            seen.append(exc)
            raise
        assert await request.form() is form
        found: list[Any] = []
        with form:
            for name in form:
                for value in form.getlist(name):
                    if isinstance(value, Upload):
                        data = await value.read()
                        assert len(data) == value.size
                        if seen is not None:
                            seen.append((value.file, data))
                        found.append([name, value.filename, value.content_type, value.size])
                    else:
                        found.append([name, value])
        return found

    return app


def post(body: bytes, headers: dict[str, str], **limits: int) -> TestResponse:
    return TestClient(application(None, **limits)).post("/", content=body, headers=headers)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", []),
        (b"a=1&b=%C3%BC+x&a=2&c=&d", [["a", "1"], ["a", "2"], ["b", "ü x"], ["c", ""], ["d", ""]]),
        ("ü=ü".encode(), [["ü", "ü"]]),
        (b"a=%ff", [["a", "\ufffd"]]),
    ],
)
def test_urlencoded(body: bytes, expected: list[Any]) -> None:
    assert post(body, URLENCODED).json() == expected
    assert post(body, {"content-type": "Application/X-WWW-Form-Urlencoded; charset=utf-8"}).json() == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (END, []),
        (part('form-data; name="a"', b"1") + part("form-data; name=a", b"\xc3\xbc") + END, [["a", "1"], ["a", "ü"]]),
        (part('form-data; name="a"; filename="x"', b"\x00\r\n--") + END, [["a", "x", "", 5]]),
        (
            part('form-data; name="a"; filename="../ü"', b"", "Content-Type: text/x\r\n") + END,
            [["a", "../ü", "text/x", 0]],
        ),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_multipart(runner: asyncio.Runner, body: bytes, expected: list[Any], cut: bool) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            client = await server.connect()
            head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART['content-type']}\r\n"
            data = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            for piece in [data[i : i + 1] for i in range(len(data))] if cut else [data]:
                await client.send(piece)
                await asyncio.sleep(0)
            response = await client.receive()
            assert response.status == 200
            assert TestResponse(200, [], response.body).json() == expected

    runner.run(main())


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", MULTIPART),
        (b"x", MULTIPART),
        (b"preamble\r\n" + part('form-data; name="a"', b"1"), MULTIPART),
        (part('form-data; name="a"', b"1"), MULTIPART),
        (part('form-data; name="a"; filename="f"', b"1"), MULTIPART),
        (part("form-data", b"1") + END, MULTIPART),
        (part('attachment; name="a"', b"1") + END, MULTIPART),
        (b"--b\r\n\r\n1\r\n" + END, MULTIPART),
        (b"--b\r\nbad header\r\n\r\n1\r\n" + END, MULTIPART),
        (part('form-data; name="a"', b"1", "X: " + "x" * 5000 + "\r\n") + END, MULTIPART),
        (part('form-data; name="a"', b"1", "X: x\r\n" * 8) + END, MULTIPART),
        (END, {"content-type": "multipart/form-data"}),
        (END, {"content-type": "multipart/form-data; boundary="}),
        (END, {"content-type": "multipart/form-data; boundary=" + "b" * 71}),
        (END, {"content-type": 'multipart/form-data; boundary="b\\xff"'}),
    ],
)
def test_malformed(body: bytes, headers: dict[str, str]) -> None:
    response = post(body, headers)
    assert (response.status_code, response.content.count(b"\n")) == (400, 1)


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "multipart/mixed; boundary=b", "x; a"])
def test_what_is_no_form(kind: str) -> None:
    assert post(END, {"content-type": kind}).status_code == 415


def fields(count: int) -> bytes:
    return part('form-data; name="a"', b"1") * count + END


def files(count: int) -> bytes:
    return part('form-data; name="a"; filename="f"', b"1") * count + END


@pytest.mark.parametrize(
    ("within", "past", "limits"),
    [
        (fields(MAX_FIELDS), fields(MAX_FIELDS + 1), {}),
        (fields(2), fields(3), {"max_fields": 2}),
        (files(MAX_FILES), files(MAX_FILES + 1), {}),
        (files(2), files(3), {"max_files": 2}),
        (part("form-data; name=a", b"x" * 9) + END, part("form-data; name=a", b"x" * 10) + END, {"max_field_size": 9}),
        (
            part("form-data; name=a", b"x" * MAX_FIELD_SIZE) + END,
            part("form-data; name=a", b"x" * (MAX_FIELD_SIZE + 1)) + END,
            {},
        ),
    ],
)
def test_limits(within: bytes, past: bytes, limits: dict[str, int]) -> None:
    assert post(within, MULTIPART, **limits).status_code == 200
    assert post(past, MULTIPART, **limits).status_code == 413


def test_what_surrounds_the_parts_is_ignored() -> None:
    body = b"This is a multi-part message.\r\n" + part('form-data; name="a"', b"1") + END + b"That was it.\r\n" + END
    assert post(body, MULTIPART).json() == [["a", "1"]]


@pytest.mark.parametrize(
    ("within", "past", "limits"),
    [
        (b"&".join([b"a=1"] * MAX_FIELDS), b"&".join([b"a=1"] * (MAX_FIELDS + 1)), {}),
        (b"&" * (MAX_FIELDS - 1), b"&" * MAX_FIELDS, {}),
        (b"a=1&a=1", b"a=1&a=1&a=1", {"max_fields": 2}),
        (b"a=" + b"x" * 9, b"a=" + b"x" * 10, {"max_field_size": 9}),
        (b"a=" + b"%41" * MAX_FIELD_SIZE, b"a=" + b"%41" * (MAX_FIELD_SIZE + 1), {}),
        (b"a=" + b"+" * MAX_FIELD_SIZE, b"a=" + b"+" * (MAX_FIELD_SIZE + 1), {}),
        (b"x" * MAX_FIELD_SIZE, b"x" * (MAX_FIELD_SIZE + 1), {}),
        (b"%C3%BC" * (MAX_FIELD_SIZE // 2) + b"=1", b"%C3%BC" * (MAX_FIELD_SIZE // 2) + b"x=1", {}),
    ],
)
def test_limits_of_urlencoded_forms(within: bytes, past: bytes, limits: dict[str, int]) -> None:
    assert post(within, URLENCODED, **limits).status_code == 200
    assert post(past, URLENCODED, **limits).status_code == 413


def message(headers: dict[str, str], body: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {headers['content-type']}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Iterations:
    """Counts the iterations of the running event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_soon(self._next)

    def _next(self) -> None:
        self.count += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self) -> int:
        self._handle.cancel()
        return self.count


@pytest.mark.parametrize(
    ("headers", "body", "step"),
    [
        (URLENCODED, b"a=" + b"%41" * (INLINE // 3 - 1), urlencoded.STEP),
        (URLENCODED, b"&" * INLINE, urlencoded.STEP),
        (MULTIPART, part("form-data; name=a", b"x" * 20 * STEP) + END, STEP),
        (MULTIPART, part("form-data; name=a; filename=x", b"x" * 20 * STEP) + END, STEP),
        (MULTIPART, part("form-data; name=a", b"1") * (4 * STEP // 40) + END, STEP),
        (MULTIPART, b"\r\n--" * 4 * STEP + b"\r\n" + END, STEP),
        (MULTIPART, END + b"\r\n--" * 4 * STEP, STEP),
    ],
)
def test_the_event_loop_goes_on_meanwhile(
    runner: asyncio.Runner, headers: dict[str, str], body: bytes, step: int
) -> None:
    app = HTTPListener()

    @app.post("/")
    async def home(request: Request) -> int:
        await request.body()
        iterations = Iterations()
        with await request.form(max_fields=len(body) + 1, max_field_size=len(body)):
            return iterations.stop()

    async def main() -> None:
        async with serving(app) as server:
            response = await server.ask(message(headers, body))
            assert response.status == 200
            assert int(response.body) >= len(body) // step - 1

    runner.run(main())


@pytest.mark.parametrize("size", [INLINE, INLINE + 1, 20 * INLINE])
def test_long_urlencoded_forms_are_decoded_in_a_thread(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    threads = set()
    steps = UrlencodedParser.steps

    def recorded(self: UrlencodedParser, body: bytes) -> Iterator[None]:
        for step in steps(self, body):
            threads.add(threading.get_ident())
            yield step

    monkeypatch.setattr(UrlencodedParser, "steps", recorded)

    async def main() -> None:
        async with serving(application(max_field_size=size)) as server:
            body = (b"a=" + b"%41" * (size // 3)).ljust(size, b"x")[:size]
            response = await server.ask(message(URLENCODED, body))
            assert response.status == 200
            assert TestResponse(200, [], response.body).json() == [["a", parse_qsl(body.decode())[0][1]]]

    runner.run(main())
    assert (threading.get_ident() in threads) is (size <= INLINE)


def test_one_who_is_cancelled_ends_the_thread(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    started, ended = threading.Event(), threading.Event()

    def steps(self: UrlencodedParser, body: bytes) -> Iterator[None]:
        started.set()
        try:
            while True:
                yield
        finally:
            ended.set()

    monkeypatch.setattr(UrlencodedParser, "steps", steps)

    app = HTTPListener()

    @app.post("/")
    async def home(request: Request) -> str:
        await request.body()
        task = asyncio.ensure_future(request.form())
        await until(started.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(ended.is_set)
        return "ended"

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.ask(message(URLENCODED, b"x" * (INLINE + 1)))).body == b"ended"

    runner.run(main())


@pytest.mark.parametrize(
    "body", [b"x", b"--b\r\nraw-\x1b[31m: \0\r\n", b"--b\r\n\xff\r\n\r\n", b"--b\rraw", part("raw", b"")]
)
def test_no_byte_of_a_client_is_logged(body: bytes, caplog: pytest.LogCaptureFixture) -> None:
    response = post(body, MULTIPART)
    assert response.status_code == 400
    assert b"raw" not in response.content
    assert response.content.isascii()
    assert caplog.records == []


def test_the_body_is_bounded() -> None:
    app = application()
    app.configure(max_body=len(files(2)))
    client = TestClient(app)
    assert client.post("/", content=files(2), headers=MULTIPART).status_code == 200
    assert client.post("/", content=files(3), headers=MULTIPART).status_code == 413


@pytest.mark.parametrize(("size", "on_disk"), [(SPOOL, False), (SPOOL + 1, True), (5 * SPOOL, True)])
def test_long_files_go_to_the_disk(size: int, on_disk: bool) -> None:
    seen: list[Any] = []
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    body = part('form-data; name="a"; filename="f"', data) + END
    assert TestClient(application(seen)).post("/", content=body, headers=MULTIPART).json() == [["a", "f", "", size]]
    [(file, read)] = seen
    assert read == data
    assert file.closed
    assert file._rolled is on_disk


def test_a_client_that_goes_away(runner: asyncio.Runner) -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with serving(application(seen)) as server:
            client = await server.connect()
            head = (
                f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART['content-type']}\r\nContent-Length: 9999\r\n"
            )
            await client.send(f"{head}\r\n".encode() + files(3)[:-9])
            client.writer.close()
            await until(lambda: bool(seen))

    runner.run(main())
    assert isinstance(seen[0], ClientDisconnectedError)


names = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=8)


@settings(max_examples=40)
@given(st.lists(st.tuples(names, st.binary(max_size=60)), max_size=4))
def test_files_come_as_they_were_sent(pairs: list[tuple[str, bytes]]) -> None:
    seen: list[Any] = []
    request = httpx.Request("POST", "http://x/", files=[("a", (name, data)) for name, data in pairs] or {"a": b""})
    headers = {"content-type": request.headers["content-type"]}
    response = TestClient(application(seen)).post("/", content=request.read(), headers=headers)
    assert response.status_code == 200
    assert [data for _, data in seen] == ([data for _, data in pairs] or [b""])


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=4))
@settings(max_examples=40)
def test_fields_come_as_they_were_sent(pairs: list[tuple[str, str]]) -> None:
    pairs = [(k, v) for k, v in pairs if (k + v).isprintable()]
    found = post(urlencode(pairs).encode(), URLENCODED).json()
    assert sorted(map(tuple, found)) == sorted(pairs)


def test_what_they_say_of_themselves() -> None:
    with Form([]) as form:
        assert repr(form) == "Form({})"


def test_nothing_is_imported_before_it_is_wanted() -> None:
    heavy = "('httpx', 'mimetypes')"
    program = f"import sys, tiny_listener.http; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
