"""A listener for HTTP requests."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from ..core.aliases import CTX, H
from ..core.listener import Listener
from ..core.registration.foreign import instead_of
from .addons.response_hooks import OnResponse, ResponseHooks
from .addons.static import add_static
from .cloudevents.face import CloudEventsFace
from .registration import Verbs
from .settings import HTTPSettings
from .source import HTTPSource

if TYPE_CHECKING:
    from .openapi import Info

__all__ = ["Addon", "HTTPListener"]

R = TypeVar("R", bound="OnResponse")


class Addon(Protocol):
    """What `HTTPListener.use` installs."""

    def install(self, app: HTTPListener[Any]) -> None:
        """Register its hooks and routes."""


class HTTPListener(CloudEventsFace, Verbs, Listener[CTX]):
    """A listener that serves HTTP/1.1.

    `@app.get("/user/{name}")` is short for `@app.on_event("GET:/user/{name}")`: requests are events, with the same
    router, hooks, error handlers and metrics.

    :param settings: addresses and limits; the command line overrides them
    :param options: fields of `HTTPSettings`; they override `settings`
    """

    source_class: ClassVar[type[HTTPSource]] = HTTPSource
    """The class of its HTTP source."""

    def __init__(self, settings: HTTPSettings | None = None, **options: Any) -> None:
        unknown = options.keys() - HTTPSettings.__dataclass_fields__.keys()
        if unknown:
            name = min(unknown)
            raise TypeError(f"HTTPListener has no setting {name!r}{instead_of('setting', name)}")
        super().__init__()
        self.response_hooks = ResponseHooks()
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
        from .openapi import Info, describe, serve_document  # noqa: PLC0415 - loaded by applications that ask for it

        self.info = info = Info(title, version, description)
        serve_document(self, path, page, lambda: describe(self, info))

    def on_response(self, fn: R) -> R:
        """Run the decorated function for every response before it is sent, those that the server makes itself (404,
        405, 413, 431 ...) included: `async def hook(request: Request | None, response: Response) -> Response | None`.

        It may change the response, or return another. `request` is None if no head could be parsed. If it fails, the
        response is a 500. Hooks run in the order of registration, after those of `on_status`.

        :raises TypeError: it is not `async def`, or does not take two arguments
        """
        self.response_hooks.add_on_response(fn)
        return fn

    def on_status(self, *statuses: int) -> Callable[[H], H]:
        """Let the decorated function make the body of responses with one of these statuses that the server or an
        `HTTPError` made: `async def page(request: Request | None)`, or `(request, response)`.

        It returns what a handler may return, or None for the response as it is. The status stays, unless it returns a
        `Response` with another than 200.

        :raises TypeError: it is not `async def`, or takes other arguments; no status is given
        :raises ValueError: a status is not from 200 to 599
        """
        for status in statuses:
            if callable(status):
                raise TypeError("on_status() takes a status: write @app.on_status(404)")
            if not isinstance(status, int) or not 200 <= status <= 599:
                raise ValueError(f"a status of on_status() must be from 200 to 599, not {status!r}")
        if not statuses:
            raise TypeError("on_status() takes at least one status: write @app.on_status(404)")

        def register(fn: H) -> H:
            self.response_hooks.add_on_status(statuses, fn)
            return fn

        return register

    def use(self, addon: Addon) -> None:
        """Install an addon, such as `CORS(...)`: its `install(app)` registers hooks and routes.

        :raises TypeError: it is a class, or has no such method
        """
        if isinstance(addon, type):
            raise TypeError(f"use() takes an addon, not its class: write app.use({addon.__name__}(...))")
        if not callable(getattr(addon, "install", None)):
            raise TypeError(f"use() takes an addon, which has a method install(app); {type(addon).__name__} has none")
        addon.install(self)

    def static(
        self,
        prefix: str,
        folder: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        cache_control: str | None = None,
        precompressed: bool = True,
    ) -> None:
        """Serve the files of a folder below a prefix, for GET and HEAD, by one route; see `FileResponse`. What is not
        in it is 404.

        :param index: the page of a folder; None: folders are 404
        :param cache_control: the Cache-Control of each file
        :param precompressed: whether a client that accepts it gets `app.js.br`, `.zst` or `.gz` for `app.js`, if such a
            file lies next to it
        :raises ValueError: the folder does not exist, or an argument is invalid
        """
        add_static(self, prefix, folder, index=index, cache_control=cache_control, precompressed=precompressed)

    async def listen(self) -> None:
        """Open the HTTP source.

        :raises OSError: a listening socket cannot be opened
        :raises CannotLoad: the TLS files cannot be loaded
        """
        await self.open_source(self.http)

    def close(self) -> None:
        """Stop listening and drop all connections, without a drain."""
        self.http.close()
