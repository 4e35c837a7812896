"""A bare ASGI application that does what `hello.py` does, for uvicorn: `uvicorn asgi:app`."""

from __future__ import annotations

import asyncio
from typing import Any

TEXT = [(b"content-type", b"text/plain; charset=utf-8")]
BYTES = [(b"content-type", b"application/octet-stream")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Greet by the path, or send back what came."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path: str = scope["path"]
    status, headers = 200, TEXT
    if path.startswith("/user/") and scope["method"] == "GET":
        body = f"Hello, {path[6:]}!".encode()
    elif path == "/echo" and scope["method"] == "POST":
        body, headers = b"", BYTES
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
    elif path == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b"piece\n", "more_body": True})
            await asyncio.sleep(0.25)
        await send({"type": "http.response.body"})
        return
    else:
        status, body = 404, b"Page Not Found\n"
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
