"""Several servers, one for each socket, with the interface of one server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from .accepting import stop_accepting

__all__ = ["ManyServers"]


class ManyServers(asyncio.AbstractServer):
    """Several servers of one protocol, one for each socket, with the interface of one server."""

    def __init__(self, servers: Sequence[Any], loop: asyncio.AbstractEventLoop) -> None:
        self._servers = servers
        self._loop = loop
        self._closed: asyncio.Future[None] = loop.create_future()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return tuple(sock for server in self._servers for sock in server.sockets)

    def close(self) -> None:
        """Stop accepting; connections stay open."""
        for server in self._servers:
            stop_accepting(server)
        if not self._closed.done():
            self._closed.set_result(None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether connections are accepted."""
        return all(server.is_serving() for server in self._servers)

    async def start_serving(self) -> None:
        """Start accepting, if `start_serving=False` was requested."""
        for server in self._servers:
            await server.start_serving()

    async def serve_forever(self) -> None:
        """Accept until cancelled or closed."""
        await self.start_serving()
        try:
            await asyncio.shield(self._closed)
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise

    async def wait_closed(self) -> None:
        """Wait until the servers are closed."""
        for server in self._servers:
            await server.wait_closed()
