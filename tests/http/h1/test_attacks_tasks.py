"""Attacks on the tasks, the contexts and the log that requests share."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.memory import MemoryTransport
from tests.http.walls import Counting, get, http_of, in_time, until
from tiny_listener import Event, Param
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPError, HTTPListener, Request, Response
from tiny_listener.http.h1.server import HTTPServer

variable: contextvars.ContextVar[str] = contextvars.ContextVar("attacked", default="")
request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id")


class NotesError(Exception):
    """An exception whose notes cannot be read, which the formatter of a traceback does."""

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise SystemExit(7)


class TracebackError(Exception):
    """An exception whose traceback cannot be shortened."""

    def with_traceback(self, _tb: Any) -> Any:
        raise TypeError("deliberate")


def needs_a_request(record: logging.LogRecord) -> bool:
    """Filter as many applications do: it adds what it finds in a context variable; there is none."""
    record.request_id = request_id.get()
    return True


@pytest.mark.parametrize("suspends", [False, True])
@pytest.mark.parametrize("kind", [NotesError, TracebackError, ValueError])
@pytest.mark.parametrize("access_log", [False, True])
def test_an_exception_that_cannot_be_logged_stays_with_its_connection(
    runner: asyncio.Runner, access_log: bool, kind: type[Exception], suspends: bool
) -> None:
    """Whatever a log handler, a filter or an exception of the application's does when it is logged."""
    app = HTTPListener(access_log=access_log)
    observer = Counting()
    app.attach(Host(observer=observer))
    logger = logging.getLogger("tiny_listener")

    @app.get("/raise")
    async def fails() -> str:
        if suspends:
            await asyncio.sleep(0)
        raise kind("deliberate")

    @app.get("/")
    async def home() -> str:
        return "home"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        await first.feed(get("/raise"))
        await second.feed(get("/"))
        await until(lambda: second.written)
        await until(lambda: first.written or first.is_lost, "the request that failed has an end")
        assert not server.exchanges
        await until(lambda: len(observer.outcomes) == 2, "both are counted")
        server.abort()

    raised: list[str] = []
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        handler = logging.StreamHandler(nowhere)
        if kind is ValueError:
            handler.addFilter(needs_a_request)
        logger.addHandler(handler)
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            runner.run(in_time(main()))
        except BaseException as exc:
            raised.append(f"{type(exc).__name__}")  # pytest cannot write it, either
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate
    assert not raised


@pytest.mark.parametrize("suspends", [False, True])
def test_an_attribute_of_a_task_is_not_anothers(runner: asyncio.Runner, suspends: bool) -> None:
    """Libraries that are older than contextvars keep what belongs to a request as an attribute of its task."""
    app = HTTPListener()

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        task: Any = asyncio.current_task()
        before = getattr(task, "user", "nobody")
        task.user = name
        del task
        if suspends:
            await asyncio.sleep(0)
        return str(before)

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            answers = [(await client.ask(get(f"/{n}"))).body for n in range(5)]
            assert answers == [b"nobody"] * 5

    runner.run(in_time(main()))


def test_who_lists_tasks_before_the_first_request_does_not_hide_a_kept_task(runner: asyncio.Runner) -> None:
    """A monitor holds the list of all tasks while the first request comes; later a handler keeps its task."""
    app = HTTPListener()
    kept: list[Any] = []

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/keep")
    async def keep() -> str:
        kept.append(asyncio.current_task())
        return "kept"

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await until(lambda: http_of(server).pool.idle)
            monitor = asyncio.all_tasks()
            await client.ask(get("/"))
            monitor.clear()
            for _ in range(4):
                await client.ask(get("/keep"))
            assert len(set(map(id, kept))) == 4

    runner.run(in_time(main()))


def cancel_by_its_class() -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.Task.cancel(task)


def cancel_what_it_waits_for() -> None:
    task: Any = asyncio.current_task()
    if task._fut_waiter is not None:
        task._fut_waiter.cancel()


@pytest.mark.parametrize("cancel", [cancel_by_its_class, cancel_what_it_waits_for])
def test_however_a_task_is_cancelled_no_other_request_is(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture, cancel: Callable[[], None]
) -> None:
    app = HTTPListener()

    @app.get("/cancel")
    async def cancels() -> str:
        cancel()
        return "cancelled"

    @app.get("/wait")
    async def waits() -> str:
        await asyncio.sleep(0)
        return "waited"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        await first.feed(get("/cancel"))
        await second.feed(get("/wait"))
        await until(lambda: first.written and second.written)
        assert second.written.endswith(b"waited")
        server.abort()

    runner.run(in_time(main()))
    assert not caplog.records


@pytest.mark.parametrize("suspends", [False, True])
def test_what_a_task_shows_of_itself_is_of_its_own_request(runner: asyncio.Runner, suspends: bool) -> None:
    """Its coroutine, by which some tell tasks apart; and its context (Python 3.12 and later)."""
    app = HTTPListener()
    coroutines: list[Any] = []

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        if suspends:
            await asyncio.sleep(0)
        task: Any = asyncio.current_task()
        coroutines.append(task.get_coro())
        if not hasattr(task, "get_context"):
            return str(name)
        before = task.get_context().get(variable) or ""
        variable.set(name)
        return str(before + (task.get_context().get(variable) or "nobody"))

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert [(await client.ask(get(f"/{n}"))).body for n in range(4)] == [b"0", b"1", b"2", b"3"]
            assert len(set(map(id, coroutines))) == 4

    runner.run(in_time(main()))


class User:
    """Who asks: it is found by injection, and kept for libraries that look it up themselves."""

    before = ""

    @classmethod
    def from_event(cls, event: Event) -> User:
        user = cls()
        user.before = variable.get()
        variable.set(event.params["name"])
        return user


@pytest.mark.parametrize("hooks", [False, True])
def test_what_an_argument_sets_is_the_handlers_and_nobody_elses(runner: asyncio.Runner, hooks: bool) -> None:
    app = HTTPListener()
    if hooks:

        @app.before_event
        async def nothing() -> None: ...

    @app.get("/{name}")
    async def handler(name: Param, user: User) -> str:
        return f"{user.before or 'nobody'} {variable.get() or 'nobody'}"

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        ends = [MemoryTransport(server) for _ in range(3)]
        for number, end in enumerate(ends):
            await end.feed(get(f"/{number}"))
        await until(lambda: all(end.written for end in ends))
        bodies = [bytes(end.written).partition(b"\r\n\r\n")[2] for end in ends]
        assert bodies == [b"nobody 0", b"nobody 1", b"nobody 2"]
        server.abort()

    runner.run(in_time(main()))


def test_a_log_line_is_written_in_no_other_requests_context(runner: asyncio.Runner) -> None:
    """A handler that takes its body lets the server read on; what is read then is of all connections."""
    app = HTTPListener(access_log=True)
    seen: list[tuple[str, str]] = []
    release = asyncio.Event()

    @app.post("/body")
    async def takes(request: Request) -> str:
        variable.set("the one with the body")
        async for _ in request.stream():
            pass
        await release.wait()
        return "done"

    @app.get("/")
    async def home() -> str:
        return "home"

    def look(record: logging.LogRecord) -> bool:
        seen.append((record.getMessage(), variable.get()))
        return True

    async def main() -> None:
        server = HTTPServer(app, app.settings)
        await until(lambda: server.pool.idle)
        first, second = MemoryTransport(server), MemoryTransport(server)
        head = b"POST /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        await first.feed(head + b"49000\r\n" + b"x" * 0x49000 + b"\r\n" + b"1\r\nx\r\n" * 3000)
        await until(lambda: server._reading_on and server._will_work)
        await second.feed(get("/"))
        await until(lambda: second.written)
        release.set()
        server.abort()

    logger = logging.getLogger("tiny_listener.access")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addFilter(look)
    try:
        runner.run(in_time(main()))
    finally:
        logger.removeFilter(look)
        logger.setLevel(level)
    assert {value for line, value in seen if '"GET / ' in line} == {""}


class NamedError(HTTPError):
    """An error whose response names the request, as its hooks did."""

    def response(self) -> Response:
        return Response(f"request {variable.get()}", self.status)


@pytest.mark.parametrize("late", [False, True])
def test_a_response_that_is_raised_is_made_in_the_context_of_its_request(runner: asyncio.Runner, late: bool) -> None:
    app = HTTPListener()

    @app.get("/{name}")
    async def handler(name: Param) -> str:
        variable.set(name)
        if late:
            await asyncio.sleep(0)
        raise NamedError(404)

    async def main() -> None:
        async with serving(app) as server:
            assert (await server.get("/one")).body == b"request one"

    runner.run(in_time(main()))
