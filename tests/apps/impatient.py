"""An application with little patience: for tests of clients that take their time."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tiny_listener.http import FileResponse, HTTPListener, HTTPSettings, Request

app = HTTPListener(HTTPSettings(header_timeout=1.0, body_timeout=1.0, write_timeout=1.0, keep_alive_timeout=1.0))


@app.get("/")
async def home() -> str:
    return "here"


@app.post("/")
async def take(request: Request) -> dict[str, int]:
    return {"size": len(await request.body())}


@app.get("/big")
async def big() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b"x" * 65536


@app.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)
