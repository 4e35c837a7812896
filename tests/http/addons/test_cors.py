"""CORS by the rules of the Fetch standard (https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiny_listener.http import CORS, HTTPError, HTTPListener, Request, Response
from tiny_listener.http.testing import TestClient, TestResponse

APP, OTHER = "https://app.example", "https://other.example"
PREFLIGHT = {"origin": APP, "access-control-request-method": "PUT"}


def client(*args: Any, **options: Any) -> TestClient:
    app = HTTPListener()
    app.use(CORS(*args, **options))

    @app.get("/")
    async def home() -> Response:
        return Response("home", headers={"vary": "Cookie"})

    @app.get("/own")
    async def own() -> Response:
        return Response("own", headers={"Access-Control-Allow-Origin": "https://mine.example", "vary": "*"})

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "x"

    @app.options("/options")
    async def options_of(request: Request) -> Response:
        return Response("options", 200, {"x-own": "1"})

    @app.options("/guarded")
    async def guarded() -> None:
        raise HTTPError(401)

    @app.options("/fails")
    async def fails() -> None:
        raise HTTPError(503)

    return TestClient(app, raise_server_exceptions=False)


def cors(response: TestResponse) -> dict[str, str]:
    """Return the CORS fields of a response, without their prefix."""
    prefix = "access-control-"
    return {n.removeprefix(prefix): v for n, v in response.headers.items() if n.startswith(prefix)}


# What the CORS check needs (section 4.10): the origin, byte for byte, or * without credentials.
@pytest.mark.parametrize(
    ("options", "origin", "expected", "vary"),
    [
        ({"origins": APP}, APP, {"allow-origin": APP}, "Cookie, Origin"),
        ({"origins": [APP, OTHER]}, OTHER, {"allow-origin": OTHER}, "Cookie, Origin"),
        ({"origins": APP}, OTHER, {}, "Cookie, Origin"),
        ({"origins": APP}, "https://APP.example", {}, "Cookie, Origin"),
        ({"origins": APP}, "https://app.example:443", {}, "Cookie, Origin"),
        ({"origins": APP}, "http://app.example", {}, "Cookie, Origin"),
        ({"origins": APP}, "https://app.example.evil.example", {}, "Cookie, Origin"),
        ({"origins": APP}, f"{APP}, {APP}", {}, "Cookie, Origin"),
        ({"origins": APP}, "null", {}, "Cookie, Origin"),
        ({"origins": APP}, "", {}, "Cookie, Origin"),
        ({"origins": APP}, None, {}, "Cookie, Origin"),
        ({"origins": "null"}, "null", {"allow-origin": "null"}, "Cookie, Origin"),
        ({"origins": "*"}, APP, {"allow-origin": "*"}, "Cookie"),
        ({"origins": "*"}, "null", {"allow-origin": "*"}, "Cookie"),
        ({"origins": "*"}, None, {"allow-origin": "*"}, "Cookie"),
        (
            {"origins": APP, "credentials": True},
            APP,
            {"allow-origin": APP, "allow-credentials": "true"},
            "Cookie, Origin",
        ),
        ({"origins": APP, "credentials": True}, OTHER, {}, "Cookie, Origin"),
        (
            {"origins": APP, "expose": ["X-A", "x-b"], "methods": "PUT", "headers": "x-c", "max_age": 5},
            APP,
            {"allow-origin": APP, "expose-headers": "X-A, x-b"},
            "Cookie, Origin",
        ),
        ({"origins": "*", "expose": "*"}, APP, {"allow-origin": "*", "expose-headers": "*"}, "Cookie"),
    ],
)
def test_what_a_request_gets(options: dict[str, Any], origin: str | None, expected: dict[str, str], vary: str) -> None:
    response = client(**options).get("/", headers={} if origin is None else {"origin": origin})
    assert (response.status_code, response.text) == (200, "home")
    assert cors(response) == expected
    assert response.headers["vary"] == vary


@pytest.mark.parametrize("target", ["/stream", "/nothing", "/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "BREW"])
def test_every_response_may_be_read(method: str, target: str) -> None:
    """A page should see why its request failed."""
    response = client(APP).request(method, target, headers={"origin": APP})
    assert cors(response) == {"allow-origin": APP}
    assert "Origin" in response.headers["vary"]
    assert response.status_code != 204


# The CORS-preflight fetch (section 4.8) needs an ok status, whatever the path is.
@pytest.mark.parametrize("target", ["/", "/stream", "/nothing", "/guarded", "*"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"allow-origin": APP, "allow-methods": "GET, HEAD, POST"}),
        ({"methods": ["PUT", "PURGE"]}, {"allow-origin": APP, "allow-methods": "PUT, PURGE"}),
        ({"methods": ()}, {"allow-origin": APP}),
        (
            {"headers": ["X-A", "content-type"], "max_age": 0, "expose": "x-b"},
            {
                "allow-origin": APP,
                "allow-methods": "GET, HEAD, POST",
                "allow-headers": "X-A, content-type",
                "max-age": "0",
            },
        ),
        (
            {"credentials": True, "max_age": 600},
            {
                "allow-origin": APP,
                "allow-methods": "GET, HEAD, POST",
                "allow-credentials": "true",
                "max-age": "600",
            },
        ),
        (
            {"methods": "*", "headers": ["*", "Authorization"]},
            {"allow-origin": APP, "allow-methods": "*", "allow-headers": "*, Authorization"},
        ),
    ],
)
def test_a_preflight(options: dict[str, Any], expected: dict[str, str], target: str) -> None:
    response = client(APP, **options).options(target, headers=PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert cors(response) == expected
    assert response.headers["vary"] == "Origin"


def test_a_preflight_to_any_origin() -> None:
    response = client("*", methods="PUT").options("/nothing", headers=PREFLIGHT)
    assert (response.status_code, cors(response)) == (204, {"allow-origin": "*", "allow-methods": "PUT"})
    assert "vary" not in response.headers


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        ("/", {"origin": OTHER, "access-control-request-method": "PUT"}, 204),
        ("/nothing", {"origin": OTHER, "access-control-request-method": "PUT"}, 404),
        ("/guarded", {"origin": OTHER, "access-control-request-method": "PUT"}, 401),
        ("/nothing", {"access-control-request-method": "PUT"}, 404),
    ],
)
def test_a_preflight_of_others_is_no_preflight(target: str, fields: dict[str, str], status: int) -> None:
    response = client(APP, credentials=True).options(target, headers=fields)
    assert (response.status_code, cors(response), response.headers["vary"]) == (status, {}, "Origin")


def test_options_that_is_no_preflight() -> None:
    response = client(APP, max_age=5).options("/nothing", headers={"origin": APP})
    assert (response.status_code, cors(response)) == (404, {"allow-origin": APP})


def test_what_the_application_says_itself_stays() -> None:
    ours = client(APP)
    response = ours.get("/own", headers={"origin": APP})
    assert (cors(response), response.headers["vary"]) == ({"allow-origin": "https://mine.example"}, "*")
    response = ours.options("/options", headers=PREFLIGHT)
    assert (response.status_code, response.text, response.headers["x-own"]) == (200, "options", "1")
    assert cors(response) == {"allow-origin": APP, "allow-methods": "GET, HEAD, POST"}
    response = ours.options("/fails", headers=PREFLIGHT)
    assert (response.status_code, cors(response)["allow-origin"]) == (503, APP)


NO_ORIGIN = "is no origin that browsers send; "


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"origins": ()}, r"CORS\(origins=...\) is empty: name the origins"),
        ({"origins": "app.example"}, NO_ORIGIN + 'write scheme and host, such as "https://app.example"'),
        ({"origins": "https://"}, NO_ORIGIN + "write scheme and host"),
        ({"origins": "https://app.example/"}, NO_ORIGIN + 'an origin has no path: write "https://app.example"'),
        ({"origins": "https://a/b?c"}, NO_ORIGIN + 'an origin has no path: write "https://a"'),
        ({"origins": "https://App.example"}, 'browsers send it in lower case: write "https://app.example"'),
        ({"origins": "https://app.example:443"}, 'the default port out: write "https://app.example"'),
        ({"origins": "http://app.example:80"}, 'the default port out: write "http://app.example"'),
        ({"origins": "https://*.example"}, 'there are no patterns, list the origins or write "\\*"'),
        ({"origins": "https://\u00fc.example"}, r"hosts are written in ASCII \(xn--"),
        ({"origins": "https://u@a.example"}, "without user"),
        ({"origins": "https://a:x"}, "a port is a number"),
        ({"origins": ["*", APP]}, 'origins=...\\) has "\\*" and others: "\\*" is all of them$'),
        ({"origins": "*", "credentials": True}, 'origins="\\*", credentials=True\\): .* name the origins'),
        ({"origins": APP, "methods": "*", "credentials": True}, 'accept no "\\*" with credentials; name the methods'),
        ({"origins": APP, "headers": "*", "credentials": True}, "name the headers"),
        ({"origins": APP, "expose": "*", "credentials": True}, "name the response headers"),
        ({"origins": APP, "headers": ["*", "x-a"]}, 'but for "Authorization", which "\\*" leaves out'),
        ({"origins": APP, "methods": "put"}, "methods are case-sensitive, 'put' is none: write \"PUT\""),
        ({"origins": APP, "methods": "P T"}, "'P T' is not a method"),
        ({"origins": APP, "methods": "TRACE"}, "browsers send no TRACE"),
        ({"origins": APP, "headers": "a b"}, "'a b' is not a header name"),
        ({"origins": APP, "expose": "a\n"}, "is not a header name"),
        ({"origins": APP, "max_age": -1}, "number of seconds, 0 or more, not -1"),
        ({"origins": APP, "max_age": 1.5}, "not 1.5"),
    ],
)
def test_options_that_contradict_each_other_or_browsers(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CORS(**options)


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://a.example:80", "http://[::1]:8000", "null", "app://x"]
)
def test_origins_that_browsers_send(origin: str) -> None:
    assert cors(client(origin).get("/", headers={"origin": origin})) == {"allow-origin": origin}
