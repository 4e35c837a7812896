"""Ours, with 300 routes more: a page of metrics as long as those of large applications.

tiny-listener --app-dir loadtest/servers many_routes:app
"""

from __future__ import annotations

from hello import app  # type: ignore[import-not-found]

__all__ = ["app"]


async def resource() -> str:
    """Answer."""
    return "a resource"


for number in range(300):
    app.add_on_event_hook(resource, f"GET:/api/v1/resource{number}/{{id}}", name=f"resource{number}")
