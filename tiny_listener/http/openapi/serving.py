"""The routes that serve the document, and a page that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..registration import Verbs
from ..response import Response, json_bytes
from .page import HEADERS, render

__all__ = ["serve_document"]


def serve_document(app: Verbs, path: str, page: str | None, make: Callable[[], dict[str, Any]]) -> None:
    """Register the routes of the document and of its page.

    The document is made at the first request, when all routes are registered.

    :param path: of the document
    :param page: of the page; None: there is none
    :param make: makes the document
    """
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(make())
        return made

    @app.get(path, name="openapi", include_in_schema=False)
    async def openapi() -> Response:
        return Response(json_bytes(document()), content_type="application/json")

    if page is not None:

        @app.get(page, name="openapi_page", include_in_schema=False)
        async def openapi_page() -> Response:
            return Response(render(document()), headers=HEADERS, content_type="text/html; charset=utf-8")
