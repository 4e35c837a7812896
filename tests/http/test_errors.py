"""Errors that are raised to be answered, cookies that are set, and redirects."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.helpers import serving
from tiny_listener import Depends, Event
from tiny_listener.http import HTTPError, HTTPListener, Request, Response, redirect
from tiny_listener.http.headers import parse_cookies

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def application() -> HTTPListener:
    app = HTTPListener()

    @app.before_event
    async def guard(event: Event) -> None:
        if event.route.path == "GET:/guarded":
            raise HTTPError(401, headers={"www-authenticate": "Basic"})

    async def needs() -> str:
        raise HTTPError(403, "not you")

    @app.get("/handler/{status:int}")
    async def handler(event: Event) -> None:
        raise HTTPError(event.params["status"])

    @app.get("/slowly")
    async def slowly() -> None:
        await asyncio.sleep(0)
        raise HTTPError(404, "no ü", [("x-a", "1"), ("x-a", "2")])

    @app.get("/guarded")
    async def guarded() -> str:
        return "secret"

    @app.get("/dependency")
    async def dependency(value: str = Depends(needs)) -> str:
        return value

    @app.get("/wrong")
    async def wrong() -> None:
        raise HTTPError(404, headers={"bad name": "x"})

    @app.post("/json")
    async def json(request: Request) -> Any:
        return await request.json()

    @app.post("/text")
    async def text(request: Request) -> str:
        return await request.text()

    return app


@pytest.mark.parametrize(
    ("path", "status", "body", "logged"),
    [
        ("/handler/404", 404, "Not Found\n", False),
        ("/handler/499", 499, "", False),
        ("/handler/500", 500, "Internal Server Error\n", True),
        ("/handler/503", 503, "Service Unavailable\n", True),
        ("/slowly", 404, "no ü\n", False),
        ("/guarded", 401, "Unauthorized\n", False),
        ("/dependency", 403, "not you\n", False),
        ("/wrong", 500, "Internal Server Error\n", True),
    ],
)
def test_raised_answers(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, *, path: str, status: int, body: str, logged: bool
) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            client = await server.connect()
            for _ in range(2):  # the connection lives on
                response = await client.ask(GET % path.encode())
                assert (response.status, response.body.decode()) == (status, body)
                assert response.headers["content-type"] == "text/plain; charset=utf-8"
            assert response.headers.get("www-authenticate") == ("Basic" if status == 401 else None)

    with caplog.at_level(logging.ERROR):
        runner.run(main())
    assert len(caplog.records) == (2 if logged else 0)


@pytest.mark.parametrize(("value", "status", "body"), [(None, 404, b"gone\n"), ("handled", 200, b"handled")])
@pytest.mark.parametrize("kind", [HTTPError, Exception])
def test_error_handlers_come_first(
    runner: asyncio.Runner,
    caplog: pytest.LogCaptureFixture,
    *,
    value: str | None,
    status: int,
    body: bytes,
    kind: type[Exception],
) -> None:
    app = HTTPListener()
    seen: list[BaseException | None] = []

    @app.on_error(kind)
    async def handle(event: Event) -> str | None:
        seen.append(event.error)
        return value

    @app.get("/")
    async def fail() -> None:
        raise HTTPError(404, "gone")

    async def main() -> None:
        async with serving(app) as server:
            response = await server.get("/")
            assert (response.status, response.body) == (status, body)

    runner.run(main())
    assert [str(error) for error in seen] == ["404 Not Found: gone"]
    assert not caplog.records


@pytest.mark.parametrize(("path", "bad"), [(b"/json", b"{"), (b"/json", b"\xff"), (b"/text", b"\xff")])
def test_a_body_that_makes_no_sense_ends_no_connection(runner: asyncio.Runner, path: bytes, bad: bytes) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            client = await server.connect()
            head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n" % path
            assert (await client.ask(head + bad)).status == 400
            assert (await client.ask(head + b"1")).body == b"1"

    runner.run(main())


@pytest.mark.parametrize("status", [399, 200, 600, "404"])
def test_statuses_that_are_no_errors(status: Any) -> None:
    with pytest.raises(ValueError, match="from 400 to 599"):
        HTTPError(status)


def test_what_an_error_says() -> None:
    error = HTTPError(418, "short", {"x-a": "1"})
    assert (error.status, error.detail, dict(error.headers), str(error)) == (
        418,
        "short",
        {"x-a": "1"},
        "418 I'm a Teapot: short",
    )
    assert (str(HTTPError(404)), str(HTTPError(499)), HTTPError(400).status) == ("404 Not Found", "499", 400)
    assert error.response() is not error.response()
    with pytest.raises(ValueError, match="server writes"):
        HTTPError(404, headers={"connection": "close"})


# --- cookies ------------------------------------------------------------------------------------


def cookie_of(*args: Any, **options: Any) -> str:
    response = Response()
    response.set_cookie(*args, **options)
    (_, (name, value)) = response.headers.raw
    assert name == b"set-cookie"
    return value.decode()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "a=b; Path=/; SameSite=Lax"),
        ({"path": None, "samesite": None}, "a=b"),
        ({"max_age": 0, "path": "/x y", "samesite": "strict"}, "a=b; Max-Age=0; Path=/x y; SameSite=Strict"),
        ({"samesite": "none", "secure": True}, "a=b; Path=/; Secure; SameSite=None"),
        ({"domain": "a.example", "httponly": True}, "a=b; Path=/; Domain=a.example; HttpOnly; SameSite=Lax"),
        (
            {"expires": datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), "samesite": None},
            "a=b; Expires=Wed, 02 Jan 2030 02:04:05 GMT; Path=/",
        ),
        ({"expires": 0, "samesite": None}, "a=b; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/"),
    ],
)
def test_set_cookie(options: dict[str, Any], expected: str) -> None:
    assert cookie_of("a", "b", **options) == expected


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ü", "a\n", "a\r\nb"])
def test_names_of_cookies(name: str) -> None:
    with pytest.raises(ValueError, match="is not a cookie name"):
        cookie_of(name)


@pytest.mark.parametrize("value", [" ", "a b", "a,b", "a;b", '"', '"a', 'a"b', "\\", "ü", "a\n", "\x7f"])
def test_values_of_cookies(value: str) -> None:
    with pytest.raises(ValueError, match="has a character"):
        cookie_of("a", value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_age": -1}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"expires": datetime(2030, 1, 1)}, "time zone"),
        ({"path": "x"}, "path"),
        ({"path": "/a;b"}, "path"),
        ({"path": "/\r\n"}, "path"),
        ({"domain": ""}, "domain"),
        ({"domain": "a;b"}, "domain"),
        ({"domain": "a\n"}, "domain"),
        ({"samesite": "Lax"}, "samesite"),
        ({"samesite": "none"}, "secure=True"),
    ],
)
def test_attributes_of_cookies(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cookie_of("a", "b", **options)


def test_prefixes_of_cookies() -> None:
    assert cookie_of("__Host-a", "b", secure=True) == "__Host-a=b; Path=/; Secure; SameSite=Lax"
    assert cookie_of("__Secure-a", "b", secure=True, path="/x").startswith("__Secure-a=b; Path=/x")
    for options in ({}, {"secure": True, "path": "/x"}, {"secure": True, "domain": "a"}):
        with pytest.raises(ValueError, match="__host-a"):
            cookie_of("__host-a", "b", **options)
    with pytest.raises(ValueError, match="__Secure-a"):
        cookie_of("__Secure-a", "b")


@given(st.text(max_size=5), st.text(max_size=8))
def test_cookies_are_refused_or_come_back(name: str, value: str) -> None:
    try:
        text = cookie_of(name, value, path=None, samesite=None)
    except ValueError:
        return
    assert parse_cookies([text]) == {name: value[1:-1] if value[:1] == '"' else value}


def test_cookies_over_a_socket(runner: asyncio.Runner) -> None:
    app = HTTPListener()

    @app.get("/")
    async def both() -> Response:
        response = Response("set")
        response.set_cookie("a", "1")
        response.delete_cookie("b", path="/x")
        return response

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(GET % b"/")
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert [line for line in head.split(b"\r\n") if line.startswith(b"set-cookie")] == [
                b"set-cookie: a=1; Path=/; SameSite=Lax",
                b"set-cookie: b=; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Path=/x; SameSite=Lax",
            ]

    runner.run(main())


# --- redirects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status: int) -> None:
    response = redirect("/ü x?a=%20&b=[1]#c", status, {"x-a": "1"})
    assert (response.status, response.body) == (status, b"")
    assert response.headers.raw[1:] == [(b"x-a", b"1"), (b"location", b"/%C3%BC%20x?a=%20&b=[1]#c")]


def test_redirects_that_are_none() -> None:
    assert redirect("/").status == 307
    for status in (200, 300, 304, 309):
        with pytest.raises(ValueError, match="the status of a redirect"):
            redirect("/", status)
    for url in ("/\r\nx: y", "/\x00", "/\x7f"):
        with pytest.raises(ValueError, match="control characters"):
            redirect(url)
