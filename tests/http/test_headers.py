"""One mapping of header fields, for responses, errors and requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.http import FileResponse, Headers, HTTPError, HTTPListener, Request, Response
from tiny_listener.http.headers import ReceivedHeaders
from tiny_listener.http.testing import TestClient

names = st.sampled_from(["a", "A", "b", "x-one", "X-One", "Set-Cookie", "set-cookie"])
values = st.text("abc, ;=\xe9", max_size=6).map(str.strip)


def test_fields_of_a_response() -> None:
    response = Response("x", headers=[("X-One", "1"), ("x-one", "2")])
    headers = response.headers
    assert headers is response.headers
    assert (headers["content-type"], headers["X-ONE"]) == ("text/plain; charset=utf-8", "1, 2")
    assert (headers.getlist("x-one"), list(headers), len(headers)) == (["1", "2"], ["content-type", "x-one"], 2)
    headers["x-One"] = "3"
    headers.add("Set-Cookie", "a=1")
    headers.add("set-cookie", "b=2")
    headers["Content-Type"] = "text/html"
    assert headers.raw == [
        (b"Content-Type", b"text/html"),
        (b"x-One", b"3"),
        (b"Set-Cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]
    assert response.content_type == b"text/html"
    assert headers.setdefault("x-one", "4") == "3"
    assert headers.setdefault("x-two", "5") == "5"
    headers.update({"x-two": "6"}, vary="Origin")
    assert (headers.pop("X-TWO"), headers.pop("x-two", None)) == ("6", None)
    del headers["SET-COOKIE"]
    assert dict(headers) == {"content-type": "text/html", "x-one": "3", "vary": "Origin"}
    headers.clear()
    assert (len(headers), response.content_type, bool(headers)) == (0, b"", False)
    with pytest.raises(KeyError, match="'x-one'"):
        del headers["x-one"]


def test_what_was_a_list_of_bytes_in_earlier_snapshots_still_is_one() -> None:
    response = Response("x")
    response.headers.append((b"x", b"y"))
    response.headers += [(b"x", b"z")]  # type: ignore[operator]
    response.headers.extend({"a": "b"})
    response.headers.append((b"content-type", b"text/html"))
    assert response.headers.raw == [(b"content-type", b"text/html"), (b"x", b"y"), (b"x", b"z"), (b"a", b"b")]
    response.headers = [(b"x", b"1")]
    assert response.headers == {"content-type": "text/html", "x": "1"}
    response.headers = {"Content-Type": "text/css"}
    assert response.headers == {"content-type": "text/css"}
    response.content_type = b"text/a"
    response.content_type = "text/b"
    assert response.content_type == b"text/b"


SETTERS: dict[str, Callable[[Headers, str, str], Any]] = {
    "assigned": lambda headers, name, value: headers.__setitem__(name, value),
    "added": lambda headers, name, value: headers.add(name, value),
    "a default": lambda headers, name, value: headers.setdefault(name, value),
    "updated": lambda headers, name, value: headers.update({name: value}),
    "appended": lambda headers, name, value: headers.append((name.encode(), value.encode("utf-8"))),
    "made": lambda _, name, value: Headers({name: value}),
    "of a response": lambda _, name, value: Response("x", headers={name: value}),
    "of an error": lambda _, name, value: HTTPError(400, headers={name: value}),
    "of a file": lambda _, name, value: FileResponse("x", headers={name: value}),
}


@pytest.mark.parametrize("how", SETTERS)
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a b", "c", "'a b' is not a header name: RFC 9110 section 5.1"),
        ("", "c", "'' is not a header name"),
        ("a", "b\r\nc: d", "the value of the header 'a' has a control character"),
        ("a", "\0", "control character"),
        ("Date", "x", "the server writes the header 'Date' itself"),
        ("content-length", "1", "the server writes the header 'content-length' itself"),
        ("Transfer-Encoding", "x", "the server writes"),
        ("connection", "close", "the server writes"),
    ],
)
def test_what_http_does_not_allow_is_refused_where_it_is_set(how: str, name: str, value: str, message: str) -> None:
    headers = Headers({"b": "1"})
    with pytest.raises(ValueError, match=message):
        SETTERS[how](headers, name, value)
    assert headers == {"b": "1"}


def test_values_beyond_latin_1_and_a_second_content_type_are_refused() -> None:
    headers = Headers()
    with pytest.raises(ValueError, match="beyond Latin-1"):
        headers["a"] = "\u20ac"
    headers.add("Content-Type", "a/b")
    with pytest.raises(ValueError, match="a response has only one Content-Type: replace it with headers"):
        headers.add("content-type", "c/d")


@pytest.mark.parametrize(
    "change",
    [
        lambda headers: headers.add("a", "1"),
        lambda headers: headers.__setitem__("a", "1"),
        lambda headers: headers.__delitem__("a"),
        lambda headers: headers.append((b"a", b"1")),
        lambda headers: headers.setdefault("a", "1"),
        lambda headers: headers.update(a="1"),
        lambda headers: headers.extend([("a", "1")]),
        lambda headers: headers.clear(),
        lambda headers: headers.pop("b"),
    ],
)
def test_headers_that_were_received_are_read_only(change: Callable[[Headers], Any]) -> None:
    headers = ReceivedHeaders([(b"b", b"2")])
    with pytest.raises(TypeError, match=r"the header '[ab]' cannot be changed: .* those of a response are response"):
        change(headers)
    assert headers.raw == [(b"b", b"2")]


def test_a_handler_cannot_change_its_request_and_may_pass_its_fields_on() -> None:
    app = HTTPListener()

    @app.get("/change")
    async def change(request: Request) -> str:
        request.headers["x"] = "1"
        return "changed"

    @app.get("/copy")
    async def copy(request: Request) -> Response:
        return Response("x", headers=[(n, v) for n, v in request.headers.items() if n.startswith("x-")])

    @app.get("/error")
    async def error() -> str:
        failure = HTTPError(429, "wait", {"retry-after": "1"})
        failure.headers["Retry-After"] = "2"
        failure.headers.add("set-cookie", "a=1")
        failure.headers.add("set-cookie", "b=1")
        raise failure

    client = TestClient(app)
    with pytest.raises(TypeError, match="read-only"):
        client.get("/change")
    assert client.get("/copy", headers={"x-a": "1"}).headers["x-a"] == "1"
    response = client.get("/error")
    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert response.headers.getlist("set-cookie") == ["a=1", "b=1"]


@given(st.lists(st.tuples(names, values, st.sampled_from(["add", "set", "del", "default"])), max_size=12))
def test_headers_behave_as_a_dict_of_lists_with_lower_case_keys(steps: list[tuple[str, str, str]]) -> None:
    headers, model = Headers(), dict[str, list[str]]()
    for name, value, what in steps:
        key = name.lower()
        if what == "add":
            headers.add(name, value)
            model.setdefault(key, []).append(value)
        elif what == "set":
            headers[name] = value
            model[key] = [value]
        elif what == "default":
            headers.setdefault(name, value)
            model.setdefault(key, [value])
        elif key in model:
            del headers[name]
            del model[key]
        else:
            assert name not in headers
        assert {key: headers.getlist(key.upper()) for key in headers} == model
        assert dict(headers) == {key: ", ".join(values) for key, values in model.items()}
        assert len(headers) == len(model)
