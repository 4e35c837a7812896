"""What handlers return by mistake: the failure says what to write."""

from __future__ import annotations

from typing import Any

import pytest

from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient


async def fetch() -> dict[str, int]:
    return {"a": 1}


def answer(value: Any) -> Any:
    app = HTTPListener()

    @app.get("/")
    async def handler() -> Any:
        return value() if callable(value) else value

    with TestClient(app) as client:
        return client.get("/")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (({"a": 1}, 201), r"a tuple with the status 201: return Response\(body, 201\), or a list if this is JSON"),
        (("text", 404), r"a tuple with the status 404"),
        (([], 200, {"x-a": "b"}), r"a tuple with the status 200"),
        ((None, 599), r"a tuple with the status 599"),
        (fetch, r"a handler returned the coroutine fetch\(\): write `return await fetch\(...\)`"),
        (object, r"a handler returned object, which is not a response"),
    ],
)
def test_what_is_no_result(value: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        answer(value)


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ((1, 2), [1, 2]),
        ((4.5, 201), [4.5, 201]),  # a place, not a body and a status
        (("a", 99), ["a", 99]),
        (("a", 600), ["a", 600]),
        (("a", True), ["a", True]),
        (("a", 200, 3, 4), ["a", 200, 3, 4]),
        ([{"a": 1}, 201], [{"a": 1}, 201]),
        ((), []),
    ],
)
def test_other_tuples_are_json(value: Any, body: list[Any]) -> None:
    assert answer(value).json() == body
