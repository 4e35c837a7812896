"""The application that most tests run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tiny_listener import Context, Event, Param
from tiny_listener.http import HTTPListener, Request, Response

app = HTTPListener()
other = HTTPListener()
not_a_listener = 42


@dataclass
class Point:
    x: int
    y: int


@app.on_error(KeyError)
async def missing(event: Event) -> Response:
    return Response(f"no {event.error}", 418, {"x-handled": "yes"})


@app.get("/")
async def home() -> str:
    return "Welcome!"


@app.get("/user/{username}")
async def hello(username: Param) -> str:
    return f"Hello, {username}!"


@app.get("/number/{n:int}")
async def number(n: Param) -> dict[str, int]:
    return {"n": n}


@app.get("/pid")
async def pid(ctx: Context) -> dict[str, int]:
    return {"pid": os.getpid(), "slot": ctx.listener.slot, "env": int(os.environ.get("TINY_LISTENER_SLOT", "-1"))}


@app.get("/bytes")
async def octets() -> bytes:
    return b"\x00\x01"


@app.get("/list")
async def a_list() -> list[int]:
    return [1, 2]


@app.get("/point")
async def point() -> Point:
    return Point(1, 2)


@app.get("/none")
async def none() -> None:
    return None


@app.get("/object")
async def an_object() -> object:
    return object()


@app.get("/response")
async def response() -> Response:
    return Response("made", 201, {"x-one": "1"}, content_type="text/x-made")


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    for piece in ("one\n", "", "two\n"):
        await asyncio.sleep(0)
        yield piece


@app.get("/broken-stream")
async def broken_stream() -> AsyncIterator[bytes]:
    yield b"begun"
    raise RuntimeError("midway")


@app.get("/fail")
async def fail() -> None:
    raise ValueError("deliberate")


@app.get("/handled")
async def handled() -> None:
    raise KeyError("thing")


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return await request.body()


@app.post("/small", max_body=10)
async def small(request: Request) -> str:
    return await request.text()


@app.post("/pieces")
async def pieces(request: Request) -> str:
    return str(sum([len(piece) async for piece in request.stream()]))


@app.post("/json")
async def json(request: Request) -> dict[str, object]:
    return {"got": await request.json()}


@app.post("/ignore")
async def ignore() -> str:
    return "ignored"


@app.get("/slow")
async def slow() -> str:
    await asyncio.sleep(0.5)  # long enough to be in flight when a signal comes
    return "slow"
