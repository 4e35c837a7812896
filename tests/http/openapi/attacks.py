"""What schemathesis is told of the shop, and of bodies here; test_schemathesis.py names it."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Ask for order 1, which is there, instead of for a number that nobody has."""
    if path_parameters and isinstance(path_parameters.get("number"), int):
        path_parameters["number"] = 1
    return path_parameters


@schemathesis.hook
def filter_body(context: Any, body: Any) -> bool:
    """Leave 22.0 out: to JSON Schema it is an integer, to msgspec a float, which no `int` takes."""
    return not has_whole_float(body)


def has_whole_float(value: Any) -> bool:
    """Whether there is one anywhere in a JSON value."""
    if isinstance(value, dict):
        return any(map(has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(has_whole_float, value))
    return isinstance(value, float) and value.is_integer()
