"""Ours, with 300 routes more, or ROUTES: a page of metrics as long as those of large applications.

tiny-listener --app-dir loadtest/servers many_routes:app
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from hello import app  # type: ignore[import-not-found]

from tiny_listener import Param

__all__ = ["app"]


def resource(number: int) -> Callable[[Param], Awaitable[str]]:
    """Return the handler of a resource: each route has one of its own."""

    async def handler(id: Param) -> str:  # noqa: A002
        return f"resource {number}: {id}"

    return handler


for number in range(int(os.environ.get("ROUTES", "300"))):
    app.add_on_event_hook(resource(number), f"GET:/api/v1/resource{number}/{{id}}", name=f"resource{number}")
