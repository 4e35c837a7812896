"""Arguments from a request: where each comes from, what does not fit, and what comes first."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener import Depends, RouteError
from tiny_listener.http import Cookie, Header, HTTPError, HTTPListener, InvalidRequest, Query, Request
from tiny_listener.http.testing import TestClient

PROBLEM = "application/problem+json"


class Color(enum.Enum):
    RED = "red"


class Order(msgspec.Struct):
    item: str
    count: Annotated[int, msgspec.Meta(ge=1)] = 1


def answer(app: HTTPListener, method: str, url: str, **options: Any) -> Any:
    with TestClient(app) as client:
        return client.request(method, url, **options)


def errors(response: Any) -> list[tuple[str, str, str, str]]:
    """The errors of a problem, after a look at the rest of it."""
    problem = response.json()
    assert response.headers["content-type"] == PROBLEM
    assert (problem["type"], problem["status"]) == ("about:blank", response.status_code)
    assert problem["title"]
    assert problem["detail"]
    return [(one["in"], one["name"], one["path"], one["message"]) for one in problem["errors"]]


@pytest.mark.parametrize(
    ("kind", "query", "value"),
    [
        (str, "v=a+b", "a b"),
        (str, "v=", ""),
        (int, "v=7", 7),
        (int | None, "v=7", 7),
        (float, "v=.5", 0.5),
        (bool, "v=on", True),
        (uuid.UUID, "v=12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        (Color, "v=red", "red"),
        (dt.date, "v=2026-11-28", "2026-11-28"),
        (dt.datetime, "v=2026-11-28T10:00:00Z", "2026-11-28T10:00:00Z"),
        (list[int], "v=1&v=2", [1, 2]),
        (list[Color], "v=red", ["red"]),
        (set[str], "v=a&v=a", ["a"]),
        (Annotated[int, msgspec.Meta(le=9)], "v=9", 9),
        (Annotated[int, Query("other")], "other=3", 3),
        (int, "v=1&v=2", 1),
    ],
)
def test_a_query_field_is_converted(kind: Any, query: str, value: Any) -> None:
    app = HTTPListener()

    async def handler(v: Any) -> Any:
        return [v]

    handler.__annotations__["v"] = kind
    app.get("/")(handler)
    response = answer(app, "GET", f"/?{query}")
    assert (response.status_code, response.json()) == (200, [value])


@pytest.mark.parametrize(
    ("kind", "query", "message"),
    [
        (int, "", "missing"),
        (int | None, "", "missing"),
        (list[int], "", "missing"),
        (int, "v=", "must be a whole number"),
        (int, "v=x", "must be a whole number"),
        (float, "v=inf", "must be a finite number"),
        (bool, "v=2", "must be true or false (also 1, on, yes, or 0, off, no)"),
        (Color, "v=blue", "Invalid enum value 'blue'"),
        (list[int], "v=1&v=x", "value 2 must be a whole number"),
        (Annotated[int, msgspec.Meta(le=9)], "v=10", "Expected `int` <= 9"),
        (Annotated[list[int], msgspec.Meta(max_length=1)], "v=1&v=2", "Expected `array` of length <= 1"),
    ],
)
def test_a_query_field_that_does_not_fit(kind: Any, query: str, message: str) -> None:
    app = HTTPListener()

    async def handler(v: Any) -> None:
        """Never called."""

    handler.__annotations__["v"] = kind
    app.get("/")(handler)
    response = answer(app, "GET", f"/?{query}")
    assert response.status_code == 422
    assert errors(response) == [("query", "v", "", message)]


def test_headers_and_cookies() -> None:
    app = HTTPListener()

    @app.get("/")
    async def handler(
        *,
        user_agent: Annotated[str, Header],
        size: Annotated[int, Header("x-size")],
        session: Annotated[uuid.UUID, Cookie],
        tags: Annotated[list[str], Header("x-tag")],
        theme: str = Cookie(default="light"),
        level: int = Header("x-level", default=3),
    ) -> list[Any]:
        return [user_agent, size, session, tags, theme, level]

    fields = [
        ("User-Agent", "x"),
        ("X-Size", "7"),
        ("X-Tag", "a"),
        ("x-tag", "b"),
        ("Cookie", f"session={uuid.UUID(int=1)}"),
    ]
    response = answer(app, "GET", "/", headers=fields)
    assert response.json() == ["x", 7, str(uuid.UUID(int=1)), ["a", "b"], "light", 3]
    broken = [("X-Size", "big"), ("Cookie", "=; session=?; ;;theme"), ("X-Level", "9" * 641)]
    response = answer(app, "GET", "/", headers=broken)
    assert response.status_code == 422
    assert errors(response) == [
        ("header", "user-agent", "", "missing"),
        ("header", "x-size", "", "must be a whole number"),
        ("cookie", "session", "", "Invalid UUID"),
        ("header", "x-tag", "", "missing"),
        ("header", "x-level", "", "must be a whole number"),
    ]


def everything() -> HTTPListener:
    app = HTTPListener()

    @app.post("/{shop:int}")
    async def order(
        shop: int, page: int, key: Annotated[str, Header("x-key")], order: Order, session: Annotated[str, Cookie]
    ) -> Order:
        return order

    return app


@pytest.mark.parametrize(
    ("body", "kind", "status", "last"),
    [
        (b'{"item":1}', "application/json", 422, ("body", "", "$.item", "Expected `str`, got `int`")),
        (b'{"item":"a","count":0}', "application/json", 422, ("body", "", "$.count", "Expected `int` >= 1")),
        (b"{}", "application/json", 422, ("body", "", "", "Object missing required field `item`")),
        (b'{"item":', "application/json", 400, ("body", "", "", "the body is not JSON: Input data was truncated")),
        (b"x=1", "text/plain", 415, ("body", "", "", "the body must be JSON; content-type: application/json")),
    ],
)
def test_all_problems_are_in_one_answer(body: bytes, kind: str, status: int, last: tuple[str, ...]) -> None:
    response = answer(everything(), "POST", "/1?page=x", content=body, headers={"content-type": kind})
    assert response.status_code == status
    assert errors(response) == [
        ("query", "page", "", "must be a whole number"),
        ("header", "x-key", "", "missing"),
        ("cookie", "session", "", "missing"),
        last,
    ]


def test_more_query_fields_than_any_form_has() -> None:
    query = "&".join(f"a{number}=1" for number in range(1000))
    app = HTTPListener()

    @app.get("/")
    async def handler(a999: int, a0: int) -> int:
        return a999 + a0

    assert answer(app, "GET", f"/?{query}").json() == 2
    response = answer(app, "GET", f"/?{query}&b=1", headers={"content-length": "0"})
    assert response.status_code == 400
    assert errors(response) == [("query", "", "", "a query has at most 1000 fields")]


def test_a_path_that_cannot_be_converted_is_that_of_no_page() -> None:
    app = HTTPListener()

    @app.get("/items/{id}")
    async def item(id: int, page: int) -> list[int]:  # noqa: A002
        return [id, page]

    assert answer(app, "GET", "/items/3?page=1").json() == [3, 1]
    response = answer(app, "GET", "/items/three?page=x")
    assert (response.status_code, response.text) == (404, "Page Not Found\n")


def test_dependencies_come_before_the_fields_and_the_body() -> None:
    app = HTTPListener()
    log: list[str] = []

    async def find_user(authorization: Annotated[str, Header(default="")]) -> str:
        log.append("user")
        if not authorization:
            raise HTTPError(401)
        return authorization

    async def admin(user: str = Depends(find_user)) -> str:
        log.append("admin")
        if user != "root":
            raise HTTPError(403)
        return user

    @app.post("/")
    async def handler(page: int, order: Order, admin: str = Depends(admin)) -> list[Any]:
        return [page, order, admin]

    assert answer(app, "POST", "/?page=x", content=b"{").status_code == 401
    assert answer(app, "POST", "/?page=x", content=b"{", headers={"authorization": "bob"}).status_code == 403
    assert answer(app, "POST", "/", json={"item": "a"}, headers={"authorization": "root"}).status_code == 422
    response = answer(app, "POST", "/?page=1", json={"item": "a"}, headers={"authorization": "root"})
    assert response.json() == [1, {"item": "a", "count": 1}, "root"]
    assert log == ["user", *["user", "admin"] * 3]


def test_a_dependency_whose_own_arguments_do_not_fit_does_not_run_and_the_others_do() -> None:
    app = HTTPListener()
    log: list[str] = []

    async def paging(page: int, size: int) -> int:
        raise AssertionError

    async def audit() -> AsyncIterator[None]:
        log.append("open")
        try:
            yield
        finally:
            log.append("close")

    @app.get("/")
    async def handler(size: int, paging: int = Depends(paging), _: None = Depends(audit)) -> None:
        """Never called."""

    with TestClient(app) as client:
        assert errors(client.get("/?page=x")) == [
            ("query", "page", "", "must be a whole number"),
            ("query", "size", "", "missing"),  # asked for twice, told once
        ]
    assert log == ["open", "close"]


def test_an_error_handler_sees_all_problems() -> None:
    app = everything()

    @app.on_error(InvalidRequest)
    async def own(error: InvalidRequest) -> dict[str, Any]:
        return {"wrong": [one["name"] for one in error.errors]}

    response = answer(app, "POST", "/1", json={"item": "a"})
    assert response.json() == {"wrong": ["page", "x-key", "session"]}


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_query_is_answered_with_a_value_or_a_problem(name: str, value: str) -> None:
    response = CLIENT.get("/", params=[("n", value), (name, value)])
    assert response.status_code in (200, 422)
    if response.status_code == 422:
        assert {place for place, *_ in errors(response)} == {"query"}
    else:
        assert response.json() == [int(value), value]


APP = HTTPListener()
CLIENT = TestClient(APP)


@APP.get("/")
async def number_and_text(n: int, text: Annotated[str, Query("n")]) -> list[Any]:
    return [n, text]


def test_events_without_a_request_take_their_data() -> None:
    import asyncio

    app = HTTPListener()

    @app.get("/")
    async def handler(page: int, key: str = Header("x-key", default="none")) -> list[Any]:
        return [page, key]

    async def main() -> None:
        assert await app.trigger_event("GET:/", data={"page": 3}) == [3, "none"]

    asyncio.run(main())


class Plain:
    """Nothing that a text stands for."""


MISTAKES: list[tuple[Any, str]] = [
    (Annotated[Plain, Query], r"'v' is in the query, whose fields are texts: annotate it with str, int"),
    (Annotated[dict[str, int], Header], r"'v' is in the header, whose fields are texts"),
    (Annotated[str, Header("x y")], r"'v' names a header 'x y': a header name has no such character"),
    (Annotated[str, Cookie("a=b")], r"'v' names a cookie 'a=b'"),
    (Annotated[list[str], Cookie], r"'v' is a cookie, which has one value"),
    (dict[str, int], r"'v' \(dict\[str, int\]\) cannot be injected.*a query field has a type such as str"),
    (list[Order], r"'v' \(list\[.*Order\]\) cannot be injected.*a Struct, dataclass or TypedDict is the body"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message"), MISTAKES)
def test_mistakes_in_signatures(kind: Any, message: str) -> None:
    app = HTTPListener()

    async def handler(v: Any) -> None:
        """Never called."""

    handler.__annotations__["v"] = kind
    with pytest.raises(RouteError, match=rf"handler \(test_parameters.py:\d+\): the argument {message}"):
        app.get("/")(handler)


def test_a_default_where_the_name_should_be() -> None:
    with pytest.raises(TypeError, match=r"Query\(5\): the first argument is the name; for a default value write"):
        Query(5)  # type: ignore[arg-type]


def test_fields_of_requests_are_for_requests() -> None:
    app = HTTPListener()
    with pytest.raises(RouteError, match=r"'key' is a Header of a request, and no request has this event: .*by Data"):

        @app.on_event("order {id}")
        async def handler(id: int, key: Annotated[str, Header]) -> None:  # noqa: A002
            """Never called."""


def test_a_request_may_be_optional() -> None:
    import asyncio

    app = HTTPListener()

    @app.on_event("order")
    async def order(request: Request | None) -> bool:
        return request is None

    async def main() -> None:
        assert await app.trigger_event("order")

    asyncio.run(main())
