"""The application whose requests are counted. In a tree whose handlers ask for a `Request`, they do."""

from __future__ import annotations

from typing import Any

import msgspec

from tiny_listener import Param
from tiny_listener.http import HTTPError, HTTPListener, Request, Response


class Order(msgspec.Struct):
    """A body."""

    item: str
    count: int


def make() -> Any:
    """Return the application."""
    from tiny_listener import http  # noqa: PLC0415

    app = HTTPListener()

    @app.get("/user/{username}")
    async def hello(username: Param) -> str:
        return f"Hello, {username}!"

    @app.get("/dict")
    async def dictionary() -> dict[str, Any]:
        return {"id": 7, "name": "Bob", "ok": True}

    @app.get("/response")
    async def response() -> Response:
        return Response("Hello, Bob!", 200, {"x-request-id": "abc", "cache-control": "no-store"})

    @app.get("/none")
    async def none() -> None: ...

    @app.get("/error")
    async def error() -> None:
        raise HTTPError(404, "no such thing")

    @app.post("/orders")
    async def order(order: Order) -> dict[str, Any]:
        return {"item": order.item, "count": order.count}

    if hasattr(http, "Query"):
        _with_types(app)
    else:
        _with_requests(app)
    return app


def _with_types(app: HTTPListener) -> None:
    @app.get("/items/{id}/parts/{name}")
    async def part(id: int, name: str) -> str:  # noqa: A002
        return f"{id}{name}"

    @app.get("/query")
    async def query(q: str) -> str:
        return q


def _with_requests(app: HTTPListener) -> None:
    @app.get("/items/{id:int}/parts/{name}")
    async def part(id: Param, name: Param) -> str:  # noqa: A002
        return f"{id}{name}"

    @app.get("/query")
    async def query(request: Request) -> str:
        return str(request.query["q"])
