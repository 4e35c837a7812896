"""Code that the listener runs may await its shutdown: it is not waited for by what waits for it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.waiting import wait_for
from tiny_listener import Event, Listener
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient

Stop = Callable[[], Coroutine[Any, Any, None]]


async def directly(stop: Stop) -> None:
    await stop()


async def gathered(stop: Stop) -> None:
    await asyncio.gather(stop(), asyncio.sleep(0))


async def in_a_group(stop: Stop) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(stop())


async def when_it_was_suspended(stop: Stop) -> None:
    await asyncio.sleep(0)
    await stop()


class App(Listener[Any]):
    """Leaves in a way, and from a place.

    :ivar seen: what happened, in order
    :ivar answers: what a client over TCP was sent
    """

    def __init__(self, where: str, way: Callable[[Stop], Awaitable[None]]) -> None:
        super().__init__()
        self.where, self.way = where, way
        self.seen: list[str] = []
        self.answers: list[bytes] = []
        self.client = threading.Thread(target=self.ask)
        self.address = ("", 0)

    async def leave(self, where: str) -> None:
        if where == self.where:
            await self.way(self.graceful_shutdown)
            self.seen.append("left")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.leave("connection")
        writer.write(b"bye")
        writer.close()

    def ask(self) -> None:
        with socket.create_connection(self.address, 10) as client:
            self.answers.append(client.makefile("rb").read())

    async def listen(self) -> None:
        await self.leave("listen")
        if self.where in {"event", "hook"}:
            self.trigger_event("leave")
        elif self.where == "task":
            self.task = asyncio.create_task(self.leave("task"))
        elif self.where == "connection":
            server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
            self.address = server.sockets[0].getsockname()
            self.client.start()


@pytest.mark.parametrize("way", [directly, gathered, in_a_group, when_it_was_suspended])
@pytest.mark.parametrize("where", ["event", "hook", "connection", "listen", "task"])
def test_who_awaits_it_within_ends(
    where: str, way: Callable[[Stop], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    app = App(where, way)

    @app.on_event("leave")
    async def leave() -> None:
        await app.leave("event")

    @app.before_event
    async def before() -> None:
        await app.leave("hook")

    @app.shutdown
    async def end() -> None:
        app.seen.append("shut down")

    app.attach(Host(graceful_timeout=60))
    caplog.set_level(logging.WARNING)
    app.run()
    assert sorted(app.seen) == ["left", "shut down"]
    assert "Cancelled after" not in caplog.text
    if where == "connection":
        app.client.join()
        assert app.answers == [b"bye"]


def test_a_request_that_stops_the_server_has_its_answer() -> None:
    app = HTTPListener()

    @app.get("/leave")
    async def leave() -> str:
        await app.graceful_shutdown()
        return "bye"

    with TestClient(app) as client:
        assert client.get("/leave").text == "bye"
        wait_for(lambda: app.lifecycle.is_stopping)


def test_who_is_outside_waits_for_the_end(runner: asyncio.Runner) -> None:
    app = App("nowhere", directly)
    ended: list[Event] = []
    release = asyncio.Event()

    @app.on_event("waits")
    async def waits(event: Event) -> None:
        await release.wait()
        ended.append(event)

    async def main() -> None:
        running = asyncio.create_task(app.main())
        await asyncio.sleep(0)
        app.trigger_event("waits")
        stopping = asyncio.create_task(app.graceful_shutdown())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not stopping.done()
        release.set()
        await stopping
        assert ended
        await running

    runner.run(main())
