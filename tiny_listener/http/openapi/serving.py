"""The routes that serve the document, and a page that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..response import Response, json_bytes
from .document import Info, describe
from .page import HEADERS, render

if TYPE_CHECKING:
    from ..listener import HTTPListener

__all__ = ["serve_document"]


def serve_document(app: HTTPListener[Any], path: str, page: str | None, info: Info) -> None:
    """Register the routes of the document and of its page.

    The document is made at the first request, when all routes are registered.

    :param path: of the document
    :param page: of the page; None: there is none
    """
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(describe(app, info))
        return made

    @app.get(path, name="openapi", include_in_schema=False)
    async def openapi() -> Response:
        return Response(json_bytes(document()), content_type="application/json")

    if page is not None:

        @app.get(page, name="openapi_page", include_in_schema=False)
        async def openapi_page() -> Response:
            return Response(render(document()), headers=HEADERS, content_type="text/html; charset=utf-8")
