"""A listener for HTTP requests."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from ..core.aliases import CTX
from ..core.listener import Listener
from .registration import Verbs
from .settings import HTTPSettings
from .source import HTTPSource

if TYPE_CHECKING:
    from .openapi import Info

__all__ = ["HTTPListener"]


class HTTPListener(Verbs, Listener[CTX]):
    """A listener that serves HTTP/1.1.

    `@app.get("/user/{name}")` is short for `@app.on_event("GET:/user/{name}")`: requests are events, with the same
    router, hooks, error handlers and metrics.

    :param settings: addresses and limits; the command line overrides them
    :param options: fields of `HTTPSettings`; they override `settings`
    """

    source_class: ClassVar[type[HTTPSource]] = HTTPSource
    """The class of its HTTP source."""

    def __init__(self, settings: HTTPSettings | None = None, **options: Any) -> None:
        super().__init__()
        self.http = self.source_class(dataclasses.replace(settings or HTTPSettings(), **options))
        """The source that `listen()` opens."""
        self.info: Info | None = None
        """What its OpenAPI document says of itself; see `openapi`."""

    @property
    def settings(self) -> HTTPSettings:
        """Addresses and limits."""
        return self.http.settings

    def configure(self, **options: Any) -> None:
        """Replace some of the settings before the listener runs.

        :raises TypeError: a setting does not exist
        """
        self.http.settings = dataclasses.replace(self.http.settings, **options)

    def openapi(
        self,
        path: str = "/openapi.json",
        *,
        page: str | None = "/docs",
        title: str = "API",
        version: str = "0.1.0",
        description: str = "",
    ) -> None:
        """Serve the OpenAPI 3.1 document of the routes for requests, and a page that shows it.

        :param path: of the document
        :param page: of the page, which loads nothing from elsewhere; None: there is none
        :param title: of the application
        :param version: of the application
        :param description: Markdown
        """
        from .openapi import Info, serve_document  # noqa: PLC0415 - only applications that ask for it load this

        self.info = Info(title, version, description)
        serve_document(self, path, page, self.info)

    async def listen(self) -> None:
        """Open the HTTP source.

        :raises OSError: a listening socket cannot be opened
        :raises CannotLoad: the TLS files cannot be loaded
        """
        await self.open_source(self.http)

    def close(self) -> None:
        """Stop listening and drop all connections, without a drain."""
        self.http.close()
