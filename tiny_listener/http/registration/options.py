"""The options of routes for requests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...core.registration.options import PUBLISHED_CHECKS, ROUTE_CHECKS, EventOptions, OptionCheck, RouteOptions, flag

__all__ = ["ALL_CHECKS", "HTTP_CHECKS", "AnyOptions", "HTTPOptions"]


class HTTPOptions(RouteOptions, total=False):
    """The options of a route for requests, in addition to those of every route."""

    max_body: int
    """Maximum bytes of the body; when exceeded 413. It takes precedence over `HTTPSettings.max_body`."""
    cancel_on_disconnect: bool
    """Whether the handler is cancelled when its client disconnects."""
    summary: str
    """A line for the OpenAPI document; by default the first line of the handler's docstring."""
    description: str
    """Text for the OpenAPI document; by default the rest of the docstring."""
    tags: list[str]
    """Groups in the OpenAPI document."""
    deprecated: bool
    """Whether the OpenAPI document says that clients should not use it."""
    include_in_schema: bool
    """Whether the OpenAPI document has it; by default True."""
    responses: Mapping[int, Any]
    """For the OpenAPI document: by status, a type or a text, in addition to the handler's own result."""


class AnyOptions(HTTPOptions, EventOptions, total=False):
    """The options of `on_event`, whose pattern says whether a route is one of requests."""


def size(value: Any) -> str | None:
    """Check a number of bytes."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return None if is_number and value >= 0 else "a number of bytes"


def text(value: Any) -> str | None:
    """Check a text."""
    return None if isinstance(value, str) else "a text"


def texts(value: Any) -> str | None:
    """Check a list of texts."""
    is_list = isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
    return None if is_list else "a list of texts"


def by_status(value: Any) -> str | None:
    """Check a dict by status."""
    is_one = isinstance(value, Mapping) and all(isinstance(one, int) and 100 <= one <= 599 for one in value)
    return None if is_one else "a dict whose keys are statuses, from 100 to 599"


HTTP_CHECKS: Final[dict[str, OptionCheck]] = {
    **ROUTE_CHECKS,
    "max_body": size,
    "cancel_on_disconnect": flag,
    "summary": text,
    "description": text,
    "tags": texts,
    "deprecated": flag,
    "include_in_schema": flag,
    "responses": by_status,
}
ALL_CHECKS: Final[dict[str, OptionCheck]] = {**HTTP_CHECKS, **PUBLISHED_CHECKS}
