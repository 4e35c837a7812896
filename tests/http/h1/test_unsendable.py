"""A result that cannot be sent is a failure of its event: a 500, or the test client's exception."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.walls import Counting, get, http_of
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPError, HTTPListener, Request, Response
from tiny_listener.http.testing import TestClient


def holds_itself() -> list[Any]:
    one: list[Any] = []
    one.append(one)
    return one


def deep(levels: int) -> list[Any]:
    one: list[Any] = []
    for _ in range(levels):
        one = [one]
    return one


@dataclass
class Point:
    x: Any


async def forgotten() -> str:
    return "never awaited"


def changed(**attributes: Any) -> Response:
    response = Response("fine")
    for name, value in attributes.items():
        setattr(response, name, value)
    return response


def raised(**attributes: Any) -> HTTPError:
    error = HTTPError(404, "fine")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


UNSENDABLE: dict[str, Callable[[], Any]] = {
    "a surrogate": lambda: "\udce9",
    "a surrogate in a dict": lambda: {"name": "\udce9"},
    "a surrogate as a key": lambda: {"\udce9": 1},
    "a list that holds itself": holds_itself,
    "a list 50,000 deep": lambda: deep(50_000),
    "a set of a class": lambda: {"a": {object()}},
    "a dataclass": lambda: Point(object()),
    "an object": object,
    "a class": lambda: Point,
    "a function": lambda: print,
    "a generator": lambda: (n for n in range(3)),
    "a status of text": lambda: changed(status="200"),
    "a status of 99": lambda: changed(status=99),
    "no status": lambda: changed(status=None),
    "a list as status": lambda: changed(status=[]),
    "a content type of two lines": lambda: changed(content_type=b"text/html\r\nX-Injected: yes"),
    "no content type": lambda: changed(content_type=None),
    "headers of text among the bytes": lambda: changed(fields=[("a", "b")]),
    "no fields": lambda: changed(fields=None),
    "headers that are a number": lambda: changed(headers=7),
    "headers of three": lambda: changed(headers=[(b"a", b"b", b"c")]),
    "fields of two lines": lambda: changed(fields=[(b"a", b"b\r\nX-Injected: yes")]),
    "fields of one's own framing": lambda: changed(fields=[(b"content-length", b"1")]),
    "a header of two lines": lambda: changed(headers=[(b"a", b"b\r\nX-Injected: yes")]),
    "a header with a bare LF": lambda: changed(headers=[(b"a", b"b\nX-Injected: yes")]),
    "a header with a bare CR": lambda: changed(headers=[(b"a", b"b\rX-Injected: yes")]),
    "a header with a NUL": lambda: changed(headers=[(b"a", b"\0")]),
    "a name with a line in it": lambda: changed(headers=[(b"a: b\r\nX-Injected", b"yes")]),
    "a name with a blank": lambda: changed(headers=[(b"Content-Length ", b"1")]),
    "a name that is empty": lambda: changed(headers=[(b"", b"x")]),
    "a name that folds a line": lambda: changed(headers=[(b" x", b"y")]),
    "a name with a colon": lambda: changed(headers=[(b"Content-Length: 1;", b"x")]),
    "a length of one's own": lambda: changed(headers=[(b"Content-Length", b"1")]),
    "a coding of one's own": lambda: changed(headers=[(b"transfer-encoding", b"chunked")]),
    "a body that is an object": lambda: changed(body=object()),
    "no body": lambda: changed(body=None),
    "a body that cannot be encoded": lambda: changed(body="\udce9"),
    "an error with a detail that cannot be encoded": lambda: raised(detail="\udce9"),
    "an error with a changed status": lambda: raised(status=1000),
    "an error with changed headers": lambda: raised(headers=(("a", "b\nc"),)),
}


def unsendable_application() -> HTTPListener:
    app = HTTPListener()

    def give(what: str) -> Any:
        value = UNSENDABLE[what]()
        if isinstance(value, BaseException):
            raise value
        return value

    @app.get("/at-once")
    async def at_once(request: Request) -> Any:
        return give(request.query["what"])

    @app.get("/late")
    async def late(request: Request) -> Any:
        await asyncio.sleep(0)
        return give(request.query["what"])

    @app.get("/")
    async def home() -> str:
        return "home"

    return app


@pytest.mark.parametrize("what", UNSENDABLE)
@pytest.mark.parametrize("target", ["at-once", "late"])
def test_a_result_that_cannot_be_sent_is_a_500(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, target: str, what: str
) -> None:
    app = unsendable_application()
    observer = Counting()
    app.attach(Host(observer=observer))

    async def main() -> None:
        async with serving(app, limit_concurrency=1) as server:
            client = await server.connect()
            assert (await client.ask(get("/"))).body == b"home"
            response = await client.ask(get(f"/{target}?what={what.replace(' ', '+').replace(',', '%2C')}"))
            assert response.status == 500
            assert "x-injected" not in response.headers
            assert (await client.ask(get("/"))).body == b"home"
            assert not (http_of(server)).exchanges

    with caplog.at_level(logging.WARNING):
        runner.run(main())
    (record,) = caplog.records
    assert f"'GET:/{target}' failed in" in record.getMessage()
    assert observer.outcomes == ["ok", "error", "ok"]


@pytest.mark.parametrize("target", ["at-once", "late"])
def test_a_test_client_raises_what_cannot_be_sent(target: str) -> None:
    client = TestClient(unsendable_application())
    with pytest.raises(UnicodeEncodeError):
        client.get(f"/{target}?what=a surrogate")
    quiet = TestClient(unsendable_application(), raise_server_exceptions=False)
    assert quiet.get(f"/{target}?what=a surrogate").status_code == 500
