"""Models of pydantic, where it is installed: as bodies, as payloads and as results."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Annotated, Any

import pytest

pydantic = pytest.importorskip("pydantic")

from tiny_listener import EventDataError  # noqa: E402
from tiny_listener.http import Body, HTTPListener  # noqa: E402
from tiny_listener.http.testing import TestClient  # noqa: E402


class Item(pydantic.BaseModel):  # type: ignore[name-defined, misc]
    name: str
    count: Annotated[int, pydantic.Field(ge=1)] = 1


class Order(pydantic.BaseModel):  # type: ignore[name-defined, misc]
    items: list[Item]
    note: str | None = None


def application() -> HTTPListener:
    app = HTTPListener()

    @app.post("/order")
    async def order(order: Order) -> Order:
        return order

    @app.post("/items")
    async def items(items: Annotated[list[Item], Body]) -> dict[str, Any]:
        return {"items": items, "total": sum(item.count for item in items)}

    @app.post("/maybe")
    async def maybe(order: Order | None = None) -> bool:
        return order is None

    @app.on_event("placed")
    async def placed(order: Order) -> int:
        return len(order.items)

    return app


def test_a_model_is_the_body_and_the_result() -> None:
    with TestClient(application()) as client:
        response = client.post("/order", json={"items": [{"name": "tea"}]})
        assert response.json() == {"items": [{"name": "tea", "count": 1}], "note": None}
        assert response.headers["content-type"] == "application/json"
        response = client.post("/items", json=[{"name": "tea", "count": 2}])
        assert response.json() == {"items": [{"name": "tea", "count": 2}], "total": 2}
        assert client.post("/maybe").json() is True


def test_all_problems_of_a_model_are_told() -> None:
    with TestClient(application()) as client:
        response = client.post("/order", json={"items": [{"count": 0}, {"name": 3}], "note": 7})
        assert response.status_code == 422
        assert [one["path"] for one in response.json()["errors"]] == [
            "$.items[0].name", "$.items[0].count", "$.items[1].name", "$.note",
        ]  # fmt: skip
        response = client.post("/order", content=b"{", headers={"content-type": "application/json"})
        assert (response.status_code, len(response.json()["errors"])) == (400, 1)
        assert client.post("/order", content=b"{}").status_code == 415


def test_a_model_is_all_data_of_another_event() -> None:
    app = application()

    async def main() -> None:
        assert await app.trigger_event("placed", data={"items": [{"name": "tea"}]}) == 1
        with pytest.raises(EventDataError, match=r"placed .*data: Field required at \$\.items"):
            await app.trigger_event("placed", data={"x": 1})

    asyncio.run(main())


def test_an_application_without_models_does_not_import_pydantic() -> None:
    code = "import sys, tiny_listener.http, tiny_listener.http.openapi; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
