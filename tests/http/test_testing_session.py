"""The client that asks an application in process, over several requests: cookies, forms, redirects; and what ends a
test.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener import Event
from tiny_listener.http import HTTPListener, Request, Response, Upload, redirect
from tiny_listener.http.testing import TestClient
from tiny_listener.http.testing.client import MAX_REDIRECTS
from tiny_listener.http.testing.cookies import Cookies, read_cookie


@pytest.fixture
def client() -> TestClient:
    return TestClient(application())


def application() -> HTTPListener:  # noqa: C901 - many small handlers
    app = HTTPListener()

    @app.get("/set")
    async def set_cookies(request: Request) -> Response:
        response = Response("set")
        for line in request.query.getlist("line"):
            response.headers.append((b"set-cookie", line.encode()))
        return response

    @app.route("GET", "/cookies/{rest:path}")
    async def cookies(request: Request) -> dict[str, str]:
        return request.cookies

    @app.post("/login")
    async def login() -> Response:
        response = redirect("/cookies/home", 303)
        response.set_cookie("session", "s1", secure=True, httponly=True)
        return response

    @app.get("/logout")
    async def logout() -> Response:
        response = Response("bye")
        response.delete_cookie("session")
        return response

    @app.post("/form")
    async def form(request: Request) -> dict[str, Any]:
        with await request.form() as form:
            fields: list[Any] = []
            for name in dict.fromkeys(form):
                for value in form.getlist(name):
                    if isinstance(value, Upload):
                        content = (await value.read()).decode("latin-1")
                        fields.append([name, value.filename, value.content_type, content])
                    else:
                        fields.append([name, value])
        kind = request.header("content-type", "") or ""
        return {"fields": fields, "kind": kind.partition(";")[0]}

    @app.get("/to/{status:int}")
    async def to_get(event: Event, request: Request) -> Response:
        return redirect(request.query["url"], event.params["status"])

    @app.post("/to/{status:int}")
    async def to_post(event: Event, request: Request) -> Response:
        return redirect(request.query["url"], event.params["status"])

    for method in ("GET", "HEAD", "POST", "PUT"):

        @app.route(method, "/seen", name=f"seen_{method}")
        async def seen(request: Request) -> dict[str, str]:
            body = await request.text()
            return {
                "method": request.method,
                "body": body,
                "query": request.query_string,
                "type": request.headers.get("content-type", ""),
            }

    @app.get("/loop/{number:int}")
    async def loop(event: Event) -> Response:
        return redirect(f"../loop/{event.params['number'] + 1}")

    @app.get("/down/{number:int}")
    async def down(event: Event) -> Any:
        number: int = event.params["number"]
        return redirect(f"/down/{number - 1}") if number else "down"

    return app


# --- cookies --------------------------------------------------------------------------------------


def test_a_session(client: TestClient) -> None:
    assert client.get("/cookies/").json() == {}
    response = client.post("/login", follow_redirects=True)
    assert response.json() == client.get("/cookies/a").json() == {"session": "s1"}
    assert response.history[0].cookies == client.cookies == {"session": "s1"}
    assert response.cookies == {}
    assert client.get("/logout").cookies == {}
    assert client.get("/cookies/").json() == {}
    assert not client.cookies


def test_cookies_by_hand(client: TestClient) -> None:
    client.cookies["a"] = "1"
    client.cookies.update(b="2")
    assert client.get("/cookies/").json() == {"a": "1", "b": "2"}
    assert client.get("/cookies/", cookies={"b": "3", "c": "4"}).json() == {"a": "1", "b": "3", "c": "4"}
    assert dict(client.cookies) == {"a": "1", "b": "2"}
    assert repr(client.cookies) == "Cookies({'a': '1', 'b': '2'})"
    client.get("/set", params={"line": ["a=5; Path=/", "b=; Path=/; Max-Age=0"]})
    assert client.get("/cookies/").json() == {"a": "5"}
    del client.cookies["a"]
    assert "a" not in client.cookies
    client.cookies["a"] = "6"
    client.cookies.clear()
    assert client.get("/cookies/").json() == {}


@pytest.mark.parametrize(
    ("line", "sent_to", "not_to"),
    [
        ("a=1; Path=/cookies", ["/cookies/", "/cookies/x"], ["/set"]),
        ("a=1; Path=/cookies/x", ["/cookies/x", "/cookies/x/y"], ["/cookies/", "/cookies/xy"]),
        ("a=1; Path=/cookies/x/", ["/cookies/x/", "/cookies/x/y"], ["/cookies/"]),
        ("a=1; Path=cookies", ["/cookies/"], []),  # no path: that of the request's folder
        ("a=1", ["/cookies/", "/set"], []),
        ("a=1; Domain=testserver", ["/cookies/"], []),
        ("a=1; Domain=.TESTSERVER", ["/cookies/"], []),
        ("a=1; Domain=other.example", [], ["/cookies/"]),
        ("a=1; Domain=server", [], ["/cookies/"]),
        ("a=1; Secure; HttpOnly; SameSite=None", ["/cookies/"], []),
        ("a=1; Max-Age=1", ["/cookies/"], []),
        ("a=1; Max-Age=0", [], ["/cookies/"]),
        ("a=1; Max-Age=-1", [], ["/cookies/"]),
        ("a=1; Max-Age=soon", ["/cookies/"], []),
        ("a=1; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", ["/cookies/"], []),
        ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", [], ["/cookies/"]),
        ("a=1; Expires=Thu, 01-Jan-1970 00:00:00 GMT", [], ["/cookies/"]),
        ("a=1; Expires=Fri, 01 Jan 2100 00:00:00 GMT", ["/cookies/"], []),
        ("a=1; Expires=never", ["/cookies/"], []),
        ("=1", [], ["/cookies/"]),
        ("a", [], ["/cookies/"]),
    ],
)
def test_what_is_sent_back(client: TestClient, line: str, sent_to: list[str], not_to: list[str]) -> None:
    client.get("/set", params={"line": line})
    for path in sent_to:
        assert client.cookies.sent_to("testserver", path) == {"a": "1"}
    for path in not_to:
        assert client.cookies.sent_to("testserver", path) == {}
    expected = {"a": "1"} if "/cookies/" in sent_to else {}
    assert client.get("/cookies/").json() == expected


def test_the_time_of_a_cookie_is_over() -> None:
    now = 1000.0
    cookies = Cookies(lambda: now)
    cookies.keep(["a=1; Max-Age=10", "b=2"], "h", "/")
    now = 1009.9
    assert cookies == {"a": "1", "b": "2"}
    now = 1010.0
    assert cookies == cookies.sent_to("h", "/") == {"b": "2"}


def test_hosts(client: TestClient) -> None:
    host = {"host": "Shop.example:8080"}
    client.get("/set", params={"line": ["a=1", "b=2; Domain=shop.example", "c=3; Domain=example"]}, headers=host)
    assert client.get("/cookies/", headers=host).json() == {"a": "1", "b": "2", "c": "3"}
    assert client.get("/cookies/", headers={"host": "www.shop.example"}).json() == {"b": "2", "c": "3"}
    assert client.get("/cookies/").json() == {}
    assert read_cookie("a=1; Domain=0.0.1", "127.0.0.1", "/", 0) is None


def test_a_longer_path_wins_and_replaces_nothing(client: TestClient) -> None:
    client.get("/set", params={"line": ["a=1; Path=/", "a=2; Path=/cookies"]})
    assert client.get("/cookies/").json() == {"a": "2"}
    assert client.cookies["a"] == "2"
    client.get("/set", params={"line": "a=; Path=/cookies; Max-Age=0"})
    assert client.get("/cookies/").json() == {"a": "1"}


texts = st.text(st.sampled_from("ab=; /.,Path=Domain=h.eMax-Age=0Expires"), max_size=40)


@given(st.lists(texts, max_size=4), texts.map(lambda text: f"/{text}"))
def test_no_set_cookie_raises_or_reaches_another_host(lines: list[str], path: str) -> None:
    cookies = Cookies()
    cookies.keep(lines, "h.e", path)
    assert cookies.sent_to("other", path) == {}
    assert set(cookies.sent_to("h.e", path)) <= set(cookies)


# --- bodies ---------------------------------------------------------------------------------------


def test_a_form(client: TestClient) -> None:
    data = {"name": "Jürgen & Co", "tag": ["a", "b"], "n": 1, "yes": True, "no": None}
    found = client.post("/form", data=data).json()
    expected = [["name", "Jürgen & Co"], ["tag", "a"], ["tag", "b"], ["n", "1"], ["yes", "true"], ["no", ""]]
    assert found == {"fields": expected, "kind": "application/x-www-form-urlencoded"}
    assert client.post("/form", data=[("a", "1"), ("a", "2")]).json()["fields"] == [["a", "1"], ["a", "2"]]
    assert client.post("/form", data={}).json()["fields"] == []


def test_files(client: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("notes")
    with path.open("rb") as opened:
        found = client.post(
            "/form",
            data={"a": ["1", 2]},
            files={
                "bytes": b"\0\r\n--x",
                "text": io.StringIO("text"),
                "opened": opened,
                "pair": ('ü"\r\n.png', b"png"),
                "three": ("x", b"{}", "application/json"),
            },
        ).json()
    assert found["kind"] == "multipart/form-data"
    assert found["fields"] == [
        ["a", "1"],
        ["a", "2"],
        ["bytes", "upload", "application/octet-stream", "\0\r\n--x"],
        ["text", "upload", "application/octet-stream", "text"],
        ["opened", "notes.txt", "text/plain", "notes"],
        ["pair", "ü%22%0D%0A.png", "image/png", "png"],  # as a browser would send it
        ["three", "x", "application/json", "{}"],
    ]
    several = client.post("/form", files=[("f", ("1", b"a")), ("f", ("2", b"b"))]).json()["fields"]
    assert [field[:2] for field in several] == [["f", "1"], ["f", "2"]]


def test_bodies_that_contradict_each_other(client: TestClient) -> None:
    for options in ({"content": b"x", "json": 1}, {"json": 1, "data": {}}, {"content": "x", "files": {}}):
        with pytest.raises(ValueError, match="a request has one body: give"):
            client.post("/form", **options)
    wrong: Any
    for wrong in ((), ("name",), ("name", b"", "a/b", {})):
        with pytest.raises(TypeError, match="the file 'f' is content, "):
            client.post("/form", files={"f": wrong})


names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9).filter(
    # A browser does not escape a backslash, and in quotes two of them are read as one (RFC 9110 section 5.6.4).
    lambda name: "\\\\" not in name
)


@given(
    st.dictionaries(
        names, st.text(st.characters(exclude_categories=["Cs"]), max_size=9) | st.binary(max_size=9), max_size=4
    )
)
def test_forms_come_back(files: dict[str, Any]) -> None:
    found = TestClient(application()).post("/form", files=files).json()["fields"]
    assert [(name.replace("%22", '"'), content) for name, _, _, content in found] == [
        (name.replace("%22", '"'), (one.encode() if isinstance(one, str) else one).decode("latin-1"))
        for name, one in files.items()
    ]


# --- redirects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_methods_after_a_redirect(client: TestClient, status: int) -> None:
    response = client.post(f"/to/{status}?url=/seen?x=1", json={"a": 1}, follow_redirects=True)
    keeps = status in (307, 308)
    assert response.json() == {
        "method": "POST" if keeps else "GET",
        "body": '{"a":1}' if keeps else "",
        "query": "x=1",
        "type": "application/json" if keeps else "",
    }
    assert response.url == "http://testserver/seen?x=1"
    assert [(one.status_code, one.url) for one in response.history] == [
        (status, f"http://testserver/to/{status}?url=/seen?x=1")
    ]
    assert client.get(f"/to/{status}?url=/seen", follow_redirects=True).json()["method"] == "GET"
    head = client.head(f"/to/{status}?url=/seen", follow_redirects=True)
    assert (head.status_code, head.content, head.url) == (200, b"", "http://testserver/seen")


def test_they_are_followed_only_if_that_is_asked_for(client: TestClient) -> None:
    response = client.get("/to/302?url=/seen")
    assert (response.status_code, response.history, response.url) == (302, [], "http://testserver/to/302?url=/seen")
    following = TestClient(application(), follow_redirects=True)
    assert following.get("/to/302?url=/seen").status_code == 200
    assert following.get("/to/302?url=/seen", follow_redirects=False).status_code == 302


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("seen?x", "/to/seen?x"),
        ("../seen%23#frag", "/seen%23"),
        ("//TESTSERVER/seen", "/seen"),
        ("http://testserver", "/"),
        ("/seen?y=ü z", "/seen?y=%C3%BC%20z"),
    ],
)
def test_where_a_redirect_leads(client: TestClient, url: str, target: str) -> None:
    response = client.get("/to/302", params={"url": url}, follow_redirects=True)
    assert response.url == f"http://testserver{target}"


@pytest.mark.parametrize(
    "url", ["http://other.example/", "//other.example/x", "https://testserver/", "http://testserver:81/"]
)
def test_other_origins_are_not_reached(client: TestClient, url: str) -> None:
    with pytest.raises(ValueError, match=f"redirects to {url}, which is of another origin: a TestClient reaches only"):
        client.get("/to/302", params={"url": url}, follow_redirects=True)


def test_redirects_without_end(client: TestClient) -> None:
    with pytest.raises(ValueError, match=r"^/loop/1 was redirected more than 20 times, at last to \.\./loop/22$"):
        client.get("/loop/1", follow_redirects=True)
    response = client.get(f"/down/{MAX_REDIRECTS}", follow_redirects=True)
    assert (response.text, len(response.history)) == ("down", MAX_REDIRECTS)
    with pytest.raises(ValueError, match="more than 20 times"):
        client.get(f"/down/{MAX_REDIRECTS + 1}", follow_redirects=True)


# --- what ends a test -----------------------------------------------------------------------------


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("path", ["/fails", "/skips", "/interrupts", "/leaves", "/late", "/streams", "/depends"])
def test_what_is_for_the_test_is_raised_in_any_case(path: str, *, raises: bool) -> None:
    app = HTTPListener()

    @app.before_event
    async def hook(request: Request) -> None:
        if request.path == "/depends":
            pytest.fail("seen")

    @app.get("/{what}")
    async def handler(request: Request) -> Any:
        match request.path:
            case "/fails":
                pytest.fail("seen")
            case "/skips":
                pytest.skip("seen")
            case "/interrupts":
                raise KeyboardInterrupt("seen")
            case "/leaves":
                pytest.exit("seen")
            case "/late":
                return await late()
        return stream()

    async def late() -> None:
        pytest.fail("seen")

    async def stream() -> AsyncIterator[str]:
        yield "begun"
        pytest.fail("seen")

    client = TestClient(app, raise_server_exceptions=raises)
    kinds = (pytest.fail.Exception, pytest.skip.Exception, pytest.exit.Exception, KeyboardInterrupt)
    with pytest.raises(kinds, match="seen"):
        client.get(path)


def test_other_exceptions_are_answered_unless_they_are_raised() -> None:
    app = HTTPListener()

    @app.get("/")
    async def leave() -> None:
        raise SystemExit(3)

    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    with pytest.raises(SystemExit):
        TestClient(app).get("/")


@pytest.mark.parametrize("data", ["a=1", b"a=1"])
def test_a_body_as_it_is_is_no_form(data: Any) -> None:
    with TestClient(HTTPListener()) as client, pytest.raises(TypeError, match="write content= for a body as it is"):
        client.post("/", data=data)
