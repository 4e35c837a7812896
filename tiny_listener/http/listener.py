"""The listener whose events are HTTP requests."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import socket
from collections.abc import Callable
from typing import Any, ClassVar

from ..core.aliases import CTX, F
from ..core.listener import Listener
from ..net.addresses import name_of
from ..net.inherited import open_inherited
from ..net.many_servers import ManyServers
from .h1.server import HTTPServer
from .settings import HTTPSettings
from .tls import tls_context

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

        def register(fn: F) -> F:
            self.add_on_event_hook(fn, f"{method}:{path}", name=name, **opts).is_http = True
            return fn

        return register

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

    server_class: ClassVar[type[HTTPServer]] = HTTPServer
    """What makes its connections."""

    async def listen(self) -> None:
        """Open the listening sockets that the settings name.

        :raises OSError: one of them cannot be opened
        :raises CannotLoad: TLS is asked for, and its files are not what they should be
        """
        settings = self.settings
        options: dict[str, Any] = {"backlog": settings.backlog}
        if (context := tls_context(settings)) is not None:
            options["ssl"] = context
            options["ssl_handshake_timeout"] = settings.header_timeout
            options["ssl_shutdown_timeout"] = settings.linger_timeout
        self.server = self.server_class(self, settings)
        self.add_source(self.server)
        loop = asyncio.get_running_loop()
        server: Any
        if settings.fd is not None:
            server = await self._listen_at_inherited(settings.fd, options)
        elif settings.uds is not None:
            if settings.uds_mode is not None:
                options["mode"] = settings.uds_mode
            server = await loop.create_unix_server(self.server, settings.uds, **options)
        else:
            server = await loop.create_server(self.server, settings.host or None, settings.port, **options)
        self._listening = server
        if self.host.slot == 0:
            for sock in server.sockets:
                logger.info("%s listens on %s://%s", self.title, self.server.scheme, name_of(sock))

    async def _listen_at_inherited(self, fds: int | tuple[int, ...], options: dict[str, Any]) -> asyncio.AbstractServer:
        loop = asyncio.get_running_loop()
        servers = []
        for fd in (fds,) if isinstance(fds, int) else fds:
            sock = open_inherited(fd)
            create: Any = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            servers.append(await create(self.server, sock=sock, **options))
        return ManyServers(servers, loop)

    def close(self) -> None:
        """Stop listening and drop all connections, without a drain."""
        if self._listening is not None and self.server is not None:
            self._listening.close()
            self.server.abort()
