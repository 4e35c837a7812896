"""Tells what it sees of who asks through a proxy."""

from __future__ import annotations

from tiny_listener.http import HTTPListener, Request

app = HTTPListener()


@app.get("/origin")
async def origin(request: Request) -> dict[str, object]:
    return {
        "client": request.client and request.client[0],
        "scheme": request.scheme,
        "host": request.header("host"),
        "url": str(request.url),
    }


@app.get("/user/{name}")
async def user() -> str:
    return "Hello!"


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return await request.body()
