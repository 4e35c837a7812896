"""The listener whose events are HTTP requests."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from collections.abc import Callable
from typing import Any, ClassVar

from .._typing import CTX, F
from ..listener import Listener
from .server import HTTPServer
from .settings import HTTPSettings

__all__ = ["HTTPListener"]

logger = logging.getLogger("tiny_listener")


class HTTPListener(Listener[CTX]):
    """A listener that serves HTTP/1.1.

    `@app.get("/user/{name}")` is short for `@app.on_event("GET:/user/{name}")`: requests go the way of all
    events, with the same router, hooks, error handlers and metrics.

    :param settings: how to listen, and the limits; the command line has the last word
    :param options: fields of `HTTPSettings`, in place of or on top of `settings`
    """

    def __init__(self, settings: HTTPSettings | None = None, **options: Any) -> None:
        super().__init__()
        self.settings = dataclasses.replace(settings or HTTPSettings(), **options)
        self.server: HTTPServer | None = None
        self._listening: asyncio.AbstractServer | None = None

    def configure(self, **options: Any) -> None:
        """Replace some of the settings, before the listener runs.

        :raises TypeError: there is no such setting
        """
        self.settings = dataclasses.replace(self.settings, **options)

    def route(self, method: str, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Register the decorated function for requests of a method and a path.

        :param path: a pattern that begins with a slash
        :param name: the route's name; the function's by default
        :param opts: kept as `route.opts`; `max_body` limits the body, in bytes
        :raises ValueError: the path does not begin with a slash
        """
        if not path.startswith("/"):
            raise ValueError(f"the path {path!r} must begin with a slash: /{path}")
        return self.on_event(f"{method}:{path}", name=name, **opts)

    def get(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve GET, and HEAD with it; see `route`."""
        return self.route("GET", path, name=name, **opts)

    def head(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve HEAD; see `route`."""
        return self.route("HEAD", path, name=name, **opts)

    def post(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve POST; see `route`."""
        return self.route("POST", path, name=name, **opts)

    def put(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve PUT; see `route`."""
        return self.route("PUT", path, name=name, **opts)

    def patch(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve PATCH; see `route`."""
        return self.route("PATCH", path, name=name, **opts)

    def delete(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve DELETE; see `route`."""
        return self.route("DELETE", path, name=name, **opts)

    def options(self, path: str, *, name: str | None = None, **opts: Any) -> Callable[[F], F]:
        """Serve OPTIONS, which is otherwise answered with the methods that a path allows; see `route`."""
        return self.route("OPTIONS", path, name=name, **opts)

    title: ClassVar[str] = "HTTP server"
    """What the log calls it."""

    async def listen(self) -> None:
        """Open the listening sockets that the settings name.

        :raises OSError: one of them cannot be opened
        """
        settings = self.settings
        self.server = HTTPServer(self, settings)
        self.add_source(self.server)
        loop = asyncio.get_running_loop()
        if settings.fd is not None:
            server = await loop.create_server(
                self.server, sock=socket.socket(fileno=settings.fd), backlog=settings.backlog
            )
        elif settings.uds is not None:
            server = await loop.create_unix_server(self.server, settings.uds, backlog=settings.backlog)
        else:
            server = await loop.create_server(
                self.server, settings.host or None, settings.port, backlog=settings.backlog
            )
        self._listening = server
        if self.host.slot == 0:
            for sock in server.sockets:
                logger.info("%s listens on %s", self.title, url_of(sock))

    def close(self) -> None:
        """Stop listening and drop all connections, without a drain."""
        if self._listening is not None and self.server is not None:
            self._listening.close()
            self.server.abort()


def url_of(sock: Any) -> str:
    """Return where a browser finds a listening socket."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    host = f"[{name[0]}]" if sock.family == socket.AF_INET6 else name[0]
    return f"http://{host}:{name[1]}"
