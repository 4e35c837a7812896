"""What a handler finds in a request: header fields, query, cookies, and whether its client is still there."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.helpers import serving, until
from tiny_listener.http import Headers, HTTPListener, Request
from tiny_listener.http.headers import MAX_QUERY_FIELDS, MultiDict, ReceivedHeaders, parse_cookies, parse_query

FIELDS = [(b"host", b"x"), (b"accept", b"a"), (b"x-one", b"\xe9"), (b"accept", b"b;q=0.5")]


def test_headers_are_a_mapping() -> None:
    headers = ReceivedHeaders(FIELDS)
    assert headers["Accept"] == headers["ACCEPT"] == "a, b;q=0.5"
    assert headers.getlist("accept") == ["a", "b;q=0.5"]
    assert headers["x-one"] == "é"
    assert list(headers) == ["host", "accept", "x-one"]
    assert len(headers) == 3
    assert dict(headers) == {"host": "x", "accept": "a, b;q=0.5", "x-one": "é"}
    assert headers.raw is FIELDS
    assert "HOST" in headers
    assert repr(Headers([])) == "Headers([])"


@pytest.mark.parametrize("name", ["missing", "", "h\u0131st", "ho st"])
def test_headers_that_are_missing(name: str) -> None:
    headers = ReceivedHeaders(FIELDS)
    assert name not in headers
    assert headers.get(name) is None
    assert headers.get(name, "other") == "other"
    assert headers.getlist(name) == []
    with pytest.raises(KeyError, match=f"^'{name}'$"):
        headers[name]
    assert not headers.__contains__(1)


def test_multi_dict() -> None:
    values = MultiDict([("a", "1"), ("b", ""), ("a", "2")])
    assert (values["a"], values.getlist("a"), values.get("c"), values.getlist("c")) == ("1", ["1", "2"], None, [])
    assert (list(values), len(values), "b" in values) == (["a", "b"], 2, True)
    values.getlist("a").append("3")
    assert values.getlist("a") == ["1", "2"]
    assert repr(values) == "MultiDict({'a': ['1', '2'], 'b': ['']})"


@given(st.lists(st.tuples(st.text(), st.text())))
def test_query_reads_what_was_encoded(pairs: list[tuple[str, str]]) -> None:
    pairs = [(k, v) for k, v in pairs if (k + v).isprintable()]
    query = parse_query(urlencode(pairs))
    assert [(k, v) for k in query for v in query.getlist(k)] == sorted(
        pairs, key=lambda pair: list(query).index(pair[0])
    )


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60))
def test_query_reads_as_urllib_does(text: str) -> None:
    expected = parse_qsl(text, keep_blank_values=True)
    query = parse_query(text)
    assert sum(len(query.getlist(name)) for name in query) == len(expected)
    assert all(value in query.getlist(name) for name, value in expected)


@pytest.mark.parametrize(
    ("values", "cookies"),
    [
        ([], {}),
        (["a=1; b=2"], {"a": "1", "b": "2"}),
        (["a=1", "b=2"], {"a": "1", "b": "2"}),
        (["a=1;b = 2 ;;"], {"a": "1", "b": "2"}),
        (["a=1; a=2"], {"a": "1"}),
        (['a="x y"; b="; c=""'], {"a": "x y", "b": '"', "c": ""}),
        (["a; =1; b=; c==="], {"b": "", "c": "=="}),
        (["$Version=1; é=ü"], {"$Version": "1", "é": "ü"}),
    ],
)
def test_cookies(values: list[str], cookies: dict[str, str]) -> None:
    assert parse_cookies(values) == cookies


@given(st.lists(st.text()))
def test_cookies_of_any_text(values: list[str]) -> None:
    for name, value in parse_cookies(values).items():
        assert name
        assert ";" not in name + value


def application() -> HTTPListener:
    app = HTTPListener()

    @app.get("/query")
    async def query(request: Request) -> dict[str, list[str]]:
        assert request.query is request.query
        return {name: request.query.getlist(name) for name in request.query}

    @app.get("/rest")
    async def rest(request: Request) -> list[object]:
        assert request.headers is request.headers
        assert request.cookies is request.cookies
        return [dict(request.headers), request.header("X-A"), request.header("x-none", "-"), request.cookies]

    @app.get("/scheme")
    async def scheme(request: Request) -> list[object]:
        return [request.scheme, request.is_disconnected()]

    return app


def test_over_a_socket(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            assert (
                await server.get("/query?b=1&a=%C3%BC+x&b=&c")
            ).body.decode() == '{"b":["1",""],"a":["ü x"],"c":[""]}'
            assert (await server.get("/query")).body == b"{}"
            assert (await server.get("/scheme")).body == b'["http",false]'
            fields = b"X-A: 1\r\nCookie: s=1\r\nx-a:2 \r\ncookie: t=2\r\n"
            response = await server.ask(b"GET http://y/rest HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
            assert response.body == b'[{"host":"y","x-a":"1, 2","cookie":"s=1, t=2"},"1, 2","-",{"s":"1","t":"2"}]'

    runner.run(main())


def test_fields_of_a_query_are_bounded(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving(application()) as server:
            assert (await server.get("/query?" + "&".join("a" * MAX_QUERY_FIELDS))).status == 200
            response = await server.get("/query?" + "&".join("a" * (MAX_QUERY_FIELDS + 1)))
            assert (response.status, response.body) == (400, b"a query has at most 1000 fields\n")

    runner.run(main())


@pytest.mark.parametrize("lost", [False, True])
def test_a_handler_sees_that_its_client_has_gone(runner: asyncio.Runner, lost: bool) -> None:
    app = HTTPListener()
    seen: list[Request] = []

    @app.get("/")
    async def wait(request: Request) -> str:
        assert not request.is_disconnected()
        seen.append(request)
        await until(request.is_disconnected)
        seen.append(request)
        return "late"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await until(lambda: len(seen) == 1)
            if lost:
                client.writer.transport.abort()
            else:
                client.writer.write_eof()
                assert (await client.receive()).body == b"late"
            await until(lambda: len(seen) == 2)

    runner.run(main())
