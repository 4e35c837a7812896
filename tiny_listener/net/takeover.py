"""Servers at the sockets of a sibling: a worker that takes them over accepts there as it does at its own.

Datagrams of a sibling's socket go to the protocol of our own endpoint (see `datagrams`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from .accepting import stop_accepting

__all__ = ["Recipe", "Takeover"]

Recipe: TypeAlias = Callable[[socket.socket], Awaitable[Any]]
"""Opens a server at a sibling's socket, like the server that the application opened at its own socket of the same
address."""


class Takeover:
    """The servers of a loop at sockets that it has taken over.

    :param servers: the loop's servers, which a drain closes and waits for
    :ivar on_failure: called with the slot of sockets that cannot be served
    """

    def __init__(self, servers: list[Any]) -> None:
        self._servers = servers
        self.on_failure: Callable[[int], None] = lambda _slot: None
        self._recipes: dict[tuple[int, int, Any], tuple[Recipe, Any]] = {}
        self._taken_over: dict[int, list[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def learn(self, sock: socket.socket, server: Any, recipe: Recipe) -> None:
        """Remember how to open a server at a sibling's socket.

        :param sock: our own; all workers' sockets of one address have the same name
        :param server: our own; while it serves, a sibling's socket with that name may be served too
        """
        self._recipes[_name(sock)] = recipe, server

    def take_over(self, slot: int, sockets: Sequence[socket.socket]) -> None:
        """Start accepting from those sockets whose address is served here; close our copies of the others.

        :param slot: the sibling's slot, to hand them back by
        """
        self.hand_back(slot)
        self._taken_over[slot] = []
        self._start(self._open(self._taken_over[slot], slot, sockets))

    def hand_back(self, slot: int) -> None:
        """Stop accepting from the sockets of this slot; connections stay open."""
        for server in self._taken_over.pop(slot, ()):
            self._end(server)

    async def _open(self, opened: list[Any], slot: int, sockets: Sequence[socket.socket]) -> None:
        for number, sock in enumerate(sockets):
            known = self._recipes.get(_name(sock))
            if known is None or not known[1].is_serving():
                sock.close()
                continue
            recipe, own = known
            try:
                server = await recipe(sock)
            except OSError:  # such as EMFILE; the supervisor tries again, with another worker or later
                for rest in sockets[number:]:
                    rest.close()
                if self._taken_over.get(slot) is opened:
                    self.hand_back(slot)
                    self.on_failure(slot)
                return
            self._servers.append(server)
            if self._taken_over.get(slot) is opened and own.is_serving():
                opened.append(server)
            else:  # handed back, or drained, meanwhile
                self._end(server)

    def _end(self, server: Any) -> None:
        stop_accepting(server)
        self._start(self._forget(server))

    async def _forget(self, server: Any) -> None:
        await server.wait_closed()  # a drain waits for its connections until then
        with contextlib.suppress(ValueError):
            self._servers.remove(server)

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _name(sock: socket.socket) -> tuple[int, int, Any]:
    return sock.family, sock.type, sock.getsockname()
