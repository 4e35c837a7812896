"""The application that `hostile.py` attacks: what innocents ask, what attackers ask, and what is left of both."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from tiny_listener import Param, new_event_loop
from tiny_listener.http import HTTPError, HTTPListener, Request, Response, StreamingResponse
from tiny_listener.net.loop import AsyncioLoop


class Application(HTTPListener):
    """An application on the event loop that the environment names."""

    def setup_event_loop(self) -> asyncio.AbstractEventLoop:
        """Return it."""
        return AsyncioLoop() if os.environ.get("HOSTILE_LOOP") == "asyncio" else new_event_loop()


app = Application()
kept: list[Any] = []


class Own(BaseException):
    """An exception that is no Exception."""


KINDS = {
    "own": Own,
    "generator": GeneratorExit,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "recursion": RecursionError,
    "memory": MemoryError,
    "value": ValueError,
}


class Trap:
    """Yields what asyncio takes for no future."""

    def __await__(self) -> Any:
        yield ("sleep", 1)


# --- what innocents ask -----------------------------------------------------------------------------


@app.get("/plain/{token}")
async def plain(token: Param) -> str:
    return f"plain {token}"


@app.get("/wait/{token}")
async def wait(token: Param) -> str:
    await asyncio.sleep(0.001)
    return f"waited {token}"


@app.get("/json/{token}")
async def json(token: Param) -> dict[str, str]:
    return {"token": str(token)}


@app.post("/echo")
async def echo(request: Request) -> bytes:
    return await request.body()


@app.get("/stream/{token}")
async def stream(token: Param) -> AsyncIterator[str]:
    for number in range(3):
        yield f"{token} {number}\n"
        await asyncio.sleep(0.001)


@app.get("/refused/{token}")
async def refused(token: Param) -> str:
    raise HTTPError(409, f"refused {token}")


# --- what attackers ask -----------------------------------------------------------------------------


@app.get("/raise/{kind}")
async def raise_at_once(kind: Param) -> str:
    raise KINDS[str(kind)]("deliberate")


@app.get("/raise-late/{kind}")
async def raise_late(kind: Param) -> str:
    await asyncio.sleep(0.001)
    raise KINDS[str(kind)]("deliberate")


@app.get("/raise-in-stream/{kind}")
async def raise_in_stream(kind: Param) -> AsyncIterator[str]:
    yield "one"
    await asyncio.sleep(0)
    raise KINDS[str(kind)]("deliberate")


@app.get("/short/{kind}")
async def short(kind: Param) -> StreamingResponse:
    async def pieces() -> AsyncIterator[Any]:
        yield "one"
        yield {"item": 5, "text": "\udce9", "end": ""}[str(kind)]

    return StreamingResponse(pieces(), length=400)


@app.get("/unsendable/{kind}")
async def unsendable(kind: Param) -> Any:
    if kind == "late":
        await asyncio.sleep(0)
    if kind == "header":
        response = Response("x")
        response.headers.raw.append((b"a", b"b\r\nc: d"))
        return response
    return {"surrogate": "\udce9", "late": {"name": "\udce9"}, "object": object()}[str(kind)]


@app.get("/trap")
async def trap() -> str:
    await Trap()
    return "the secret of another"


@app.get("/cancel-later")
async def cancel_later() -> str:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_later(0.01, task.cancel)
    return "done at once"


@app.get("/cancel-itself")
async def cancel_itself() -> str:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


@app.get("/keep-task")
async def keep_task() -> str:
    kept.append(asyncio.current_task())
    del kept[:-10]
    return "kept"


@app.get("/events")
async def events() -> AsyncIterator[str]:
    yield "first\n"
    await asyncio.Event().wait()


@app.get("/large")
async def large() -> bytes:
    return b"x" * 4_000_000


@app.get("/blob")
async def blob() -> bytes:
    return b"x" * 16_000


@app.post("/slow-body")
async def slow_body(request: Request) -> str:
    await asyncio.sleep(0.05)
    return str(len(await request.body()))


@app.post("/unread")
async def unread() -> str:
    return "not read"


# --- what is left -----------------------------------------------------------------------------------


@app.get("/state")
async def state() -> dict[str, int]:
    server = app.http.server
    assert server is not None
    return {
        "pid": os.getpid(),
        "connections": len(server.connections),
        "in flight": len(server.exchanges),
        "tasks": len(asyncio.all_tasks()) - server.pool.idle,
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
