"""HTTP as a source of events: its listening sockets and their server."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

from ..core.source import Source
from ..net.addresses import name_of
from ..net.inherited import open_inherited
from ..net.many_servers import ManyServers
from .h1.server import HTTPServer
from .settings import HTTPSettings
from .tls import tls_context

if TYPE_CHECKING:
    from ..core.listener import Listener

__all__ = ["HTTPSource"]

logger = logging.getLogger("tiny_listener")


class HTTPSource(Source):
    """Serves HTTP/1.1. Each request becomes an event of the listener that opens the source.

    An `HTTPListener` has one. Add more with `add_source` to listen on further addresses.

    :param settings: addresses and limits
    """

    name = "http"
    title = "HTTP server"
    """Its name in the log line when it listens."""
    server_class = HTTPServer
    """The class of its server."""

    def __init__(self, settings: HTTPSettings | None = None) -> None:
        self.settings = settings or HTTPSettings()
        self.server: HTTPServer | None = None
        """None until the source is opened."""
        self.listening: asyncio.AbstractServer | None = None

    async def open(self, listener: Listener[Any]) -> None:
        """Open the listening sockets of the settings.

        :raises OSError: one of them cannot be opened
        :raises CannotLoad: the TLS files cannot be loaded
        """
        tls = tls_context(self.settings)
        self.server = self.server_class(listener, self.settings)
        server: Any = await self._listen(self.server, tls)
        self.listening = server
        if listener.host.slot == 0:
            for sock in server.sockets:
                logger.info("%s listens on %s://%s", self.title, self.server.scheme, name_of(sock))

    async def _listen(self, connections: HTTPServer, tls: Any) -> asyncio.AbstractServer:
        settings = self.settings
        options: dict[str, Any] = {"backlog": settings.backlog}
        if tls is not None:
            options["ssl"] = tls
            options["ssl_handshake_timeout"] = settings.header_timeout
            options["ssl_shutdown_timeout"] = settings.linger_timeout
        loop = asyncio.get_running_loop()
        if settings.fd is not None:
            fds = (settings.fd,) if isinstance(settings.fd, int) else settings.fd
            return ManyServers([await _listen_at_inherited(fd, connections, options) for fd in fds], loop)
        if settings.uds is not None:
            if settings.uds_mode is not None:
                options["mode"] = settings.uds_mode
            return await loop.create_unix_server(connections, settings.uds, **options)
        return await loop.create_server(connections, settings.host or None, settings.port, **options)

    @property
    def in_flight(self) -> int:
        """See `Source`: requests."""
        return 0 if self.server is None else self.server.in_flight

    @property
    def open_connections(self) -> int:
        """See `Source`."""
        return 0 if self.server is None else self.server.open_connections

    def drain(self) -> None:
        """See `Source`."""
        if self.server is not None:
            self.server.drain()

    async def wait_drained(self) -> None:
        """See `Source`."""
        if self.server is not None:
            await self.server.wait_drained()

    def abort(self) -> list[str]:
        """See `Source`."""
        return [] if self.server is None else self.server.abort()

    def close(self) -> None:
        """Stop listening and drop all connections, without a drain."""
        if self.listening is not None:
            self.listening.close()
        self.abort()


async def _listen_at_inherited(fd: int, connections: HTTPServer, options: dict[str, Any]) -> asyncio.AbstractServer:
    loop = asyncio.get_running_loop()
    sock = open_inherited(fd)
    create: Any = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
    return await create(connections, sock=sock, **options)  # type: ignore[no-any-return]
