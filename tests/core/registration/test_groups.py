"""Groups: prefixes, names, hooks and dependencies, and groups within groups."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest

from tiny_listener import Depends, Event, EventAlreadyExists, EventGroup, Listener, RouteError
from tiny_listener.http import Group, Header, HTTPError, HTTPListener, Query, Request, Response
from tiny_listener.http.testing import TestClient

log: list[str] = []


@pytest.fixture(autouse=True)
def _empty_log() -> None:
    log.clear()


def hooks_of(registrar: Any, name: str) -> None:
    @registrar.before_event  # type: ignore[untyped-decorator]
    async def before() -> None:
        log.append(f"before {name}")

    @registrar.after_event  # type: ignore[untyped-decorator]
    async def after() -> None:
        log.append(f"after {name}")

    @registrar.on_error(LookupError)  # type: ignore[untyped-decorator]
    async def on_error() -> None:
        log.append(f"error {name}")


def test_hooks_run_from_the_outside_in_and_back_and_for_their_own_routes_only() -> None:
    app, api, users = HTTPListener(), Group(prefix="/api", name="api"), Group(prefix="/users", name="users")
    for registrar, name in ((app, "app"), (api, "api"), (users, "users")):
        hooks_of(registrar, name)

    @users.get("/{id}")
    async def one(id: int) -> int:  # noqa: A002
        log.append("handler")
        if not id:
            raise LookupError
        return id

    @app.get("/")
    async def home() -> str:
        return "home"

    api.include(users)
    app.include(api)

    @users.get("", max_body=5)
    async def all_of_them() -> str:
        return "all"

    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/api/users/7").json() == 7
        assert log == [
            "before app", "before api", "before users", "handler", "after users", "after api", "after app",
        ]  # fmt: skip
        log.clear()
        assert client.get("/").text == "home"
        assert log == ["before app", "after app"]
        log.clear()
        assert client.get("/api/users/0").status_code == 500
        assert log[-4:] == ["handler", "error users", "error api", "error app"]
        assert client.get("/api/users").text == "all"
        assert client.get("/users/7").status_code == 404
    assert sorted(app.routes) == ["api.users.all_of_them", "api.users.one", "home"]
    assert app.routes["api.users.all_of_them"].opts == {"max_body": 5}


def test_hooks_that_come_later_concern_the_routes_too() -> None:
    app, group = HTTPListener(), Group(prefix="/g")

    @group.get("/x")
    async def x() -> str:
        return "x"

    app.include(group)
    assert app.routes["x"].is_plain
    hooks_of(group, "late")
    assert not app.routes["x"].is_plain
    with TestClient(app) as client:
        client.get("/g/x")
    assert log == ["before late", "after late"]


def test_dependencies_of_an_include_run_before_the_handler_and_its_arguments() -> None:
    app = HTTPListener()

    async def key(x_key: Annotated[str, Header(default="")]) -> None:
        log.append("key")
        if x_key != "secret":
            raise HTTPError(401)

    async def audit(user_id: int) -> None:
        log.append(f"audit {user_id}")

    group = Group(prefix="/{user_id}", dependencies=[Depends(audit)])

    @group.get("/items")
    async def items(user_id: int, n: int) -> list[int]:
        return [user_id, n]

    app.include(group, prefix="/u", dependencies=[Depends(key)])
    with TestClient(app) as client:
        assert client.get("/u/3/items").status_code == 401
        assert client.get("/u/3/items", headers={"x-key": "secret"}).status_code == 422
        assert client.get("/u/3/items?n=1", headers={"x-key": "secret"}).json() == [3, 1]
    assert log == ["key", "key", "audit 3", "key", "audit 3"]


def test_a_prefix_is_for_requests_only() -> None:
    app, group = HTTPListener(), Group(prefix="/api")

    @group.on_event("order {id}")
    async def order(id: int) -> int:  # noqa: A002
        return id

    @group.on_event("GET:/orders")
    async def orders() -> str:
        return "all"

    @group.route("CUSTOM", "/x")
    async def custom() -> str:
        return "custom"

    app.include(group)
    assert [route.path for route in app.routes.values()] == ["order {id}", "GET:/api/orders", "CUSTOM:/api/x"]


def test_a_group_may_be_included_twice_under_two_names() -> None:
    app, group = HTTPListener(), Group()

    @group.get("/x")
    async def x(event: Event) -> str:
        return event.route.name

    app.include(group, prefix="/a", name="a")
    app.include(group, prefix="/b", name="b")
    with TestClient(app) as client:
        assert [client.get(path).text for path in ("/a/x", "/b/x")] == ["a.x", "b.x"]
    with pytest.raises(EventAlreadyExists, match=r"'a.x'.*give one of them \(or its group\) a name="):
        app.include(group, prefix="/c", name="a")


def test_groups_of_events_without_requests() -> None:
    class App(Listener):
        async def listen(self) -> None:
            """Nothing to open."""

    app, group = App(), EventGroup(name="orders")
    hooks_of(group, "orders")

    @group.on_event("order {id}")
    async def order(id: int) -> int:  # noqa: A002
        return id

    @app.on_event("other")
    async def other() -> None:
        """Nothing."""

    app.include(group)

    async def main() -> None:
        assert await app.trigger_event("order 5") == 5
        await app.trigger_event("other")

    asyncio.run(main())
    assert log == ["before orders", "after orders"]
    assert "orders.order" in app.routes


@pytest.mark.parametrize(
    ("prefix", "right"), [("api", "'/api'"), ("/api/", "'/api'"), ("/", "'/'"), ("a/b/", "'/a/b'")]
)
def test_prefixes_that_are_malformed(prefix: str, right: str) -> None:
    with pytest.raises(RouteError, match=f"write {right}, not {prefix!r}"):
        Group(prefix=prefix)
    with pytest.raises(RouteError, match="a prefix begins with a slash"):
        HTTPListener().include(Group(), prefix=prefix)


def test_mistakes_with_groups() -> None:
    outer, inner = Group(), Group()
    outer.include(inner)
    with pytest.raises(RouteError, match="cannot include itself"):
        inner.include(outer)
    with pytest.raises(RouteError, match="cannot include itself"):
        outer.include(outer)
    with pytest.raises(TypeError, match=r"dependencies= takes Depends\(fn\), not"):
        Group(dependencies=[test_mistakes_with_groups])
    with pytest.raises(ValueError, match="must begin with a slash: /x"):
        Group(prefix="/a").get("x")
    with pytest.raises(TypeError, match=r"plain .*is not a coroutine function"):

        @outer.get("/x")  # type: ignore[type-var]
        def plain() -> None: ...


def test_hooks_by_kind_of_source() -> None:
    """A hook that asks for the request concerns requests only; with `| None` it concerns all events."""
    app = HTTPListener()

    @app.before_event
    async def of_requests(request: Request) -> None:
        log.append(f"request {request.path}")

    @app.before_event
    async def of_all(request: Request | None) -> None:
        log.append("all" if request is None else "all, a request")

    @app.after_event
    async def by_query(page: Annotated[int, Query(default=0)]) -> None:
        log.append(f"page {page}")

    @app.on_event("order {id}")
    async def order(id: int) -> int:  # noqa: A002
        return id

    @app.get("/x")
    async def x() -> str:
        await app.trigger_event("order 5")
        return "x"

    with TestClient(app) as client:
        assert client.get("/x?page=3").text == "x"
    assert log == ["request /x", "all, a request", "all", "page 3"]
    assert [hook.name for hook in app.routes["order"].before] == ["of_all"]

    async def main() -> None:
        assert await app.trigger_event("GET:/x") == "x"  # no request, though its route may have some

    log.clear()
    asyncio.run(main())
    assert log == ["all", "all"]


def test_a_hook_may_answer() -> None:
    app = HTTPListener()

    @app.before_event
    async def guard(request: Request) -> Response | None:
        return Response("closed", 503) if request.path == "/closed" else None

    @app.before_event
    async def never_after_an_answer(event: Event) -> str:
        log.append(event.route.name)
        return "a text is no answer"

    @app.after_event
    async def after(event: Event) -> None:
        log.append(f"after {event.result!r}"[:25])

    @app.get("/closed")
    async def closed() -> str:
        raise AssertionError

    @app.get("/open")
    async def opened() -> str:
        return "open"

    with TestClient(app) as client:
        response = client.get("/closed")
        assert (response.status_code, response.text) == (503, "closed")
        assert client.get("/open").text == "open"
    assert log == ["after Response(status=503", "opened", "after 'open'"]
