"""The OpenAPI document of types that share names, and of values that JSON has no form for, is valid all the same."""

# mypy: disable-error-code=empty-body

import json
import math
from typing import Any

import msgspec
import pydantic
from openapi_spec_validator import validate

from tiny_listener.http import HTTPListener
from tiny_listener.http.openapi import Info, describe


class Problem(msgspec.Struct):
    code: int


class Model(pydantic.BaseModel):
    item: int


class Limits(msgspec.Struct):
    most: float = math.inf
    name: str = "\udce9"
    default: float = 1.5


def factory(kind: type) -> tuple[Any, Any]:
    class Item(msgspec.Struct):
        value: kind  # type: ignore[valid-type]
        next: "Item | None" = None

    class Box(msgspec.Struct):
        item: Item

    Item.__annotations__["next"] = Item | None
    return Item, Box


def document(app: HTTPListener) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(describe(app, Info())))
    validate(found)
    return found


def body_of(found: dict[str, Any], path: str) -> dict[str, Any]:
    schema = found["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    while "$ref" in schema:
        schema = found["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    properties: dict[str, Any] = schema["properties"]
    if "item" in properties and "$ref" in properties["item"]:
        inner: dict[str, Any] = found["components"]["schemas"][properties["item"]["$ref"].rpartition("/")[2]]
        return inner["properties"]  # type: ignore[no-any-return]
    return properties


def test_classes_of_one_qualified_name_are_told_apart() -> None:
    app = HTTPListener()
    for kind in (int, str):
        for cls in factory(kind):

            async def create(body: Any) -> None: ...

            create.__annotations__["body"] = cls
            app.post(f"/{kind.__name__}/{cls.__name__}", name=f"{kind}{cls}")(create)
    found = document(app)
    for path, kind_of_value in (("int", "integer"), ("str", "string")):
        assert body_of(found, f"/{path}/Item")["value"] == {"type": kind_of_value}
        assert body_of(found, f"/{path}/Box")["value"] == {"type": kind_of_value}


def test_the_name_of_the_problem_is_free() -> None:
    app = HTTPListener()

    class Model(msgspec.Struct):
        other: str

    inner = Model
    outer = globals()["Model"]

    @app.post("/problem")
    async def problem(body: Problem) -> None: ...

    async def plain(body: Any) -> None: ...

    async def nested(body: Any) -> None: ...

    plain.__annotations__["body"] = inner
    nested.__annotations__["body"] = outer
    app.post("/plain")(plain)
    app.post("/nested")(nested)
    found = document(app)
    assert body_of(found, "/problem") == {"code": {"type": "integer"}}
    assert "errors" in found["components"]["schemas"]["Problem"]["properties"]
    assert list(body_of(found, "/plain")) == ["other"]
    assert list(body_of(found, "/nested")) == ["item"]


def test_defaults_that_json_has_no_form_for_are_left_out() -> None:
    app = HTTPListener()

    @app.post("/limits")
    async def limits(body: Limits, most: float = math.inf, name: str = "\udce9") -> None: ...

    found = document(app)
    assert body_of(found, "/limits") == {
        "most": {"type": "number"},
        "name": {"type": "string"},
        "default": {"type": "number", "default": 1.5},
    }
