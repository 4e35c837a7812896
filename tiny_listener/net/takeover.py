"""Servers at sockets of a sibling: a worker that is lent them accepts there as it does at its own.

The datagrams of a sibling's socket come to the protocol of our own endpoint (see `datagrams`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from .accepting import stop_accepting

__all__ = ["Borrower", "Recipe"]

Recipe: TypeAlias = Callable[[socket.socket], Awaitable[Any]]
"""Opens at a socket the server that the application opened at its own socket of the same address."""


class Borrower:
    """The servers of a loop at sockets that are lent to it.

    :param servers: the loop's, which a drain closes and waits for
    :ivar on_failure: called with the number of a loan that cannot be served
    """

    def __init__(self, servers: list[Any]) -> None:
        self._servers = servers
        self.on_failure: Callable[[int], None] = lambda _lender: None
        self._recipes: dict[tuple[int, int, Any], tuple[Recipe, Any]] = {}
        self._borrowed: dict[int, list[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def learn(self, sock: socket.socket, server: Any, recipe: Recipe) -> None:
        """Remember how a server is opened at a sibling's socket.

        :param sock: ours; all workers' sockets of one address have one name
        :param server: ours: while it serves, a sibling's socket of that name may be served too
        """
        self._recipes[_name(sock)] = recipe, server

    def borrow(self, lender: int, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept from those sockets whose address is served here; close our copy of the others.

        :param lender: a number to give them back by
        """
        self.give_back(lender)
        self._borrowed[lender] = []
        self._start(self._open(self._borrowed[lender], lender, sockets))

    def give_back(self, lender: int) -> None:
        """Accept no longer from what was lent under this number; connections stay."""
        for server in self._borrowed.pop(lender, ()):
            self._end(server)

    async def _open(self, opened: list[Any], lender: int, sockets: Sequence[socket.socket]) -> None:
        for number, sock in enumerate(sockets):
            known = self._recipes.get(_name(sock))
            if known is None or not known[1].is_serving():
                sock.close()
                continue
            recipe, own = known
            try:
                server = await recipe(sock)
            except OSError:  # such as EMFILE; whoever lends tries again, with another worker or later
                for rest in sockets[number:]:
                    rest.close()
                if self._borrowed.get(lender) is opened:
                    self.give_back(lender)
                    self.on_failure(lender)
                return
            self._servers.append(server)
            if self._borrowed.get(lender) is opened and own.is_serving():
                opened.append(server)
            else:  # given back, or drained, meanwhile
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
