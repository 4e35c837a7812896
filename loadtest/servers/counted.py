"""What `make exactness` asks and counts: requests of every outcome, events that are no requests, a metric of its own.

LINES_PORT=8025 tiny-listener --app-dir loadtest/servers counted:app

Each line that comes over TCP is an event; its answer is a line that names the event's outcome.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from prometheus_client import Counter

from tiny_listener import Context, Event, EventNotFound, Param
from tiny_listener.http import HTTPError, HTTPListener, Request, Response

greetings = Counter("exactness_greetings", "Greetings, by politeness.", ["politeness"])


class Counted(HTTPListener[Context]):
    """HTTP, and lines over TCP."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: set[asyncio.Task[None]] = set()
        """One for each line that is in flight."""

    async def listen(self) -> None:
        """Open both."""
        await super().listen()
        await asyncio.start_server(self.welcome, "127.0.0.1", int(os.environ["LINES_PORT"]))

    def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the line of a client that has connected."""
        task = asyncio.ensure_future(self.take_line(reader, writer))
        self.lines.add(task)
        task.add_done_callback(self.lines.discard)

    async def take_line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Make an event of a line, and say what became of it."""
        try:
            line = (await reader.readline()).decode().strip()
            try:
                await self.trigger_event(f"line {line}", timeout=0.001 if line.startswith("late") else None)
                answer = "ok"
            except EventNotFound:
                answer = "not found"
            except TimeoutError:
                answer = "timeout"
            except ValueError:
                answer = "error"
            writer.write(f"{answer}\n".encode())
            await writer.drain()
        finally:
            writer.close()


app = Counted()


@app.shutdown
async def finish_lines() -> None:
    """Answer those who have connected: a drain waits for events that run, not for lines that are still read."""
    while app.lines:
        await asyncio.wait(app.lines)


@app.get("/user/{username}")
async def hello(username: Param) -> str:
    """Greet somebody."""
    greetings.labels("polite").inc()
    return f"Hello, {username}!"


@app.post("/echo")
async def echo(request: Request) -> bytes:
    """Return what was sent."""
    return await request.body()


@app.get("/slow/{number:int}")
async def slow(number: Param) -> dict[str, int]:
    """Wait a little."""
    await asyncio.sleep(0.005)
    return {"number": number}


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    """Answer in pieces."""
    for _ in range(3):
        yield b"piece\n"
        await asyncio.sleep(0)


@app.get("/refuse")
async def refuse() -> None:
    """Reject the request."""
    raise HTTPError(403)


@app.get("/gone")
async def gone() -> Response:
    """Answer with a status of its own."""
    return Response("it was here", 410)


@app.get("/fail")
async def fail() -> None:
    """Fail."""
    raise ValueError("deliberate")


@app.post("/work/{number:int}")
async def work(event: Event, number: Param) -> str:
    """Let two other events do it, of which one fails."""
    await event.ctx.trigger_event(f"step {number} of work")
    try:
        await event.ctx.trigger_event(f"broken step {number}")
    except ValueError:
        return "done, but for one step"
    return "done"


@app.on_event("step {number:int} of work")
async def step(number: Param) -> None:
    """Do a part of it."""


@app.on_event("broken step {number:int}")
async def broken_step(number: Param) -> None:
    """Fail to do a part of it."""
    raise ValueError(number)


@app.on_event("line note {text:path}")
async def note(text: Param) -> None:
    """Take a note."""
    greetings.labels("curt").inc()


@app.on_event("line late {text:path}")
async def late(text: Param) -> None:
    """Take longer than anybody waits."""
    await asyncio.sleep(60)


@app.on_event("line wrong {text:path}")
async def wrong(text: Param) -> None:
    """Fail."""
    raise ValueError(text)
