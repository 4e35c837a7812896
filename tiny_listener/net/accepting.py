"""The end of accepting, which loses no connection that was accepted."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["stop_accepting"]


def stop_accepting(server: Any) -> None:
    """Close a server: nothing more is accepted from its sockets; connections stay.

    asyncio's own event loop hands a connection that it has accepted to a task, which finds no server two iterations
    later, when that was closed meanwhile, and drops the connection. So here such a server stops to listen first, and is
    closed when those tasks have begun. uvloop's accepts in one piece.
    """
    if not isinstance(server, asyncio.Server):
        server.close()
        return
    loop = server.get_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    loop.call_soon(loop.call_soon, server.close)
