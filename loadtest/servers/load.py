"""What the load tests ask: an API, webhooks, streams, large bodies and lines over TCP, by one listener.

    tiny-listener --app-dir loadtest/servers load:app

Lines over TCP are served where LOAD_TCP_PORT names a port.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import tempfile
import zlib
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tiny_listener import Context, Depends, Param
from tiny_listener.http import Body, FileResponse, HTTPError, HTTPListener, Request, Response

SECRET = b"a secret that the sender of webhooks knows"
FILE_SIZE = 1024 * 1024
PAUSE = 0.02
"""Seconds between two lines of a stream."""


@dataclass
class Item:
    """What the API takes.

    :ivar price: in cents
    """

    name: str
    price: int
    tags: list[str]


class Load(HTTPListener):
    """Serves HTTP, and lines over TCP: each line is an event, and what its handler returns is the answer."""

    async def listen(self) -> None:
        """Open the sockets."""
        await super().listen()
        if port := os.environ.get("LOAD_TCP_PORT"):
            await asyncio.start_server(self.talk, "127.0.0.1", int(port))

    async def talk(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer the lines of one connection, in their order."""
        host, port = writer.get_extra_info("peername")
        ctx: Context = self.new_ctx(f"tcp {host}:{port}")
        try:
            async for line in reader:
                result = await ctx.trigger_event(f"line {line.decode().rstrip()}")
                # Like HTTP's `Connection: close`: a client that sends its next line at once must know it is not read.
                is_last = self.is_draining
                writer.write(f"{result}{' bye' if is_last else ''}\n".encode())
                ctx.events.clear()
                await writer.drain()
                if is_last:
                    break
        except (ConnectionError, ValueError):  # gone, or a line past the limit
            pass
        finally:
            ctx.drop()
            writer.close()


app = Load()


@app.get("/")
async def home() -> str:
    """Greet nobody in particular."""
    return "Welcome!"


@app.get("/user/{username}")
async def hello(username: Param) -> str:
    """Greet somebody."""
    return f"Hello, {username}!"


@app.get("/items/{number:int}")
async def item(number: Param) -> dict[str, object]:
    """Show an item."""
    return {"number": int(number), "name": f"item {number}", "price": int(number) * 100, "tags": ["a", "b"]}


@app.post("/items")
async def add(item: Annotated[Item, Body]) -> Response:
    """Take an item in."""
    return Response(f"{item.name}: {item.price}", 201)


@app.post("/echo")
async def echo(request: Request) -> bytes:
    """Return what was sent."""
    return await request.body()


async def signed(request: Request) -> bytes:
    """Return a webhook's body, if its sender knows the secret."""
    body = await request.body()
    if not hmac.compare_digest(hmac.digest(SECRET, body, hashlib.sha256).hex(), request.header("x-signature") or ""):
        raise HTTPError(401, "the signature does not fit the body")
    return body


@app.post("/webhooks/{sender}")
async def webhook(sender: Param, body: bytes = Depends(signed)) -> Response:
    """Take a webhook in."""
    return Response(f"{sender}: {len(body)}", 202)


@app.get("/stream/{count:int}")
async def stream(count: Param) -> AsyncIterator[str]:
    """Send a number of lines, with a pause before each."""
    for number in range(int(count)):
        await asyncio.sleep(PAUSE)
        yield f"line {number}\n"


@app.post("/upload")
async def upload(request: Request) -> str:
    """Say how much was sent, and its checksum."""
    size = checksum = 0
    async for piece in request.stream():
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
    return f"{size} {checksum}"


@app.on_event("line {number:int} {text:path}")
async def line(number: Param, text: Param) -> str:
    """Answer a line."""
    return f"{number} {text}"


@app.get("/file")
async def file() -> FileResponse:
    """Send a file."""
    return FileResponse(_file())


def _file() -> Path:
    path = Path(tempfile.gettempdir()) / f"tiny-listener-load-{os.getuid()}-{FILE_SIZE}"
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:
            new.write(b"x" * FILE_SIZE)
        Path(new.name).rename(path)  # two workers may come here at once
    return path
