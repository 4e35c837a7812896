"""Spellings of annotations that once were silently taken for something else."""

from decimal import Decimal
from typing import Annotated, Any, NewType, Optional

import pytest

from tiny_listener import Depends, RouteError
from tiny_listener.http import Header, HTTPListener
from tiny_listener.http.testing import TestClient

UserId = NewType("UserId", int)
Ratio = NewType("Ratio", float)
Flag = NewType("Flag", bool)


async def token() -> str:
    return "of the dependency"


class Callable:
    async def __call__(self) -> str:
        return ""


def answer(annotation: Any, target: str, default: Any = None, path: str = "/") -> tuple[int, str]:
    app = HTTPListener()

    async def handler(x: Any = default) -> str:
        return repr(x)

    handler.__annotations__["x"] = annotation
    app.get(path)(handler)
    with TestClient(app) as client:
        response = client.get(target, headers={"x": "of the header"})
        return response.status_code, response.text if response.status_code == 200 else ""


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str | None, Header],
        Annotated[str, Header] | None,
        Optional[Annotated[str, Header("x")]],  # noqa: UP045
        None | Annotated[str, Header()],
    ],
)
def test_a_marker_counts_within_a_union_with_none(annotation: Any) -> None:
    assert answer(annotation, "/?x=query") == (200, "'of the header'")


def test_a_dependency_counts_within_a_union_with_none() -> None:
    assert answer(Annotated[str, Depends(token)] | None, "/?x=query") == (200, "'of the dependency'")


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (UserId, "5", "5"),
        (UserId, "1e2", None),
        (UserId, "5.0", None),
        (Ratio, "nan", None),
        (Ratio, "inf", None),
        (Flag, "on", "True"),
        (int | float, "1.5", "1.5"),
        (int | float, "nan", None),
        (Decimal, "1E+500", "Decimal('1E+500')"),
        (Decimal, "NaN", None),
        (Decimal, "sNaN", None),
    ],
)
def test_texts_are_converted_as_strictly_as_to_the_type_itself(annotation: Any, text: str, value: str | None) -> None:
    status, found = answer(annotation, f"/?x={text.replace('+', '%2B')}")
    assert (status, found) == ((422, "") if value is None else (200, value))


def test_an_integer_of_a_path_that_no_float_can_hold_is_not_found() -> None:
    assert answer(float, "/5", path="/{x:int}") == (200, "5.0")
    assert answer(float, f"/{'9' * 400}", path="/{x:int}") == (404, "")


def test_bytes_are_no_field_of_a_request() -> None:
    app = HTTPListener()
    with pytest.raises(RouteError, match="bytes"):

        @app.get("/")
        async def handler(x: bytes) -> None: ...


def test_a_class_whose_objects_are_coroutine_functions_is_none_itself() -> None:
    cls: Any = Callable
    app = HTTPListener()
    with pytest.raises(TypeError, match="Callable"):
        app.get("/")(cls)
    with pytest.raises(TypeError, match="Callable"):
        Depends(cls)
    app.get("/")(cls())
