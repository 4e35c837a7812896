"""Stops accepting without losing a connection that was accepted."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["stop_accepting"]


def stop_accepting(server: Any) -> None:
    """Close a server: nothing more is accepted from its sockets; connections stay open.

    asyncio's own event loop passes an accepted connection to a task. If the server is closed meanwhile, the task finds
    no server two iterations later and drops the connection. So here such a server first stops listening, and is closed
    once those tasks have started. uvloop accepts in one step.
    """
    if not isinstance(server, asyncio.Server):
        server.close()
        return
    loop = server.get_loop()
    for sock in server.sockets:
        loop.remove_reader(sock.fileno())
    loop.call_soon(loop.call_soon, server.close)
