"""What `hello.py` does, for granian's own interface: `granian --interface rsgi rsgi:app`."""

from __future__ import annotations

import asyncio
from typing import Any

TEXT = [("content-type", "text/plain; charset=utf-8")]
BYTES = [("content-type", "application/octet-stream")]


async def app(scope: Any, protocol: Any) -> None:
    """Greet by the path, or send back what came."""
    path: str = scope.path
    if path.startswith("/user/") and scope.method == "GET":
        protocol.response_str(200, TEXT, f"Hello, {path[6:]}!")
    elif path == "/echo" and scope.method == "POST":
        protocol.response_bytes(200, BYTES, await protocol())
    elif path == "/stream":
        transport = protocol.response_stream(200, TEXT)
        for _ in range(20):
            await transport.send_str("piece\n")
            await asyncio.sleep(0.25)
    else:
        protocol.response_str(404, TEXT, "Page Not Found\n")
