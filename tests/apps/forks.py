"""Makes children by fork, which stay until somebody ends them."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tiny_listener import Event
from tiny_listener.http import HTTPListener

app = HTTPListener()
kept: list[Any] = []


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def stay() -> None:
    say(f"child {os.getpid()}")
    while True:
        signal.pause()


def fork_and(do: Callable[[], None]) -> None:
    if os.fork() == 0:
        try:
            do()
        except BaseException as exc:
            say(f"the child failed: {exc!r}")
        finally:
            os._exit(0)


def by_fork() -> None:
    fork_and(stay)


def by_fork_of_a_fork() -> None:
    def fork_and_stay() -> None:
        fork_and(stay)
        stay()

    fork_and(fork_and_stay)


def by_multiprocessing() -> None:
    process = multiprocessing.get_context("fork").Process(target=stay, daemon=True)
    process.start()
    kept.append(process)


def by_a_pool() -> None:
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    kept.append(pool)
    pool.submit(stay)


def before_exec() -> None:
    code = "import os, signal; os.write(1, b'child %d\\n' % os.getpid()); signal.pause()"
    kept.append(subprocess.Popen([sys.executable, "-c", code], preexec_fn=lambda: None))  # noqa: PLW1509


def and_tidy_up() -> None:
    """A child that ends the connections it has copies of, as a library's own hook or the collector may."""

    def tidy_up() -> None:
        if app.http.server is not None:
            for connection in list(app.http.server.connections):
                connection.transport.abort()
            app.http.server.connections.clear()
        gc.collect()
        stay()

    fork_and(tidy_up)


def and_write() -> None:
    """A child that writes to the connections that it has copies of, and closes them."""
    connections = app.http.server.connections if app.http.server is not None else ()
    fds = [connection.transport.get_extra_info("socket").fileno() for connection in connections]

    def write() -> None:
        for fd in fds:
            os.write(fd, b"HTTP/1.1 500 Nobody\r\n\r\n")
            os.close(fd)
        stay()

    fork_and(write)


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way
    for way in (by_fork, by_fork_of_a_fork, by_multiprocessing, by_a_pool, before_exec, and_tidy_up, and_write)
}

where, _, at_start = os.environ.get("FORK", "").partition(":")
if where == "import":
    WAYS[at_start]()


@app.startup
async def start() -> None:
    if where == "startup":
        WAYS[at_start]()


@app.get("/")
async def home() -> str:
    return str(os.getpid())


@app.get("/fork/{way}")
async def fork(event: Event) -> str:
    WAYS[event.params["way"]]()
    return "forked"


@app.get("/thread/{way}")
async def fork_in_a_thread(event: Event) -> str:
    await asyncio.to_thread(WAYS[event.params["way"]])
    return "forked"


@app.get("/task/{way}")
async def fork_after_a_suspension(event: Event) -> str:
    await asyncio.sleep(0)
    WAYS[event.params["way"]]()
    return "forked"


@app.get("/returns")
async def returns() -> str:
    """The child comes back into the loop that it has a copy of."""
    pid = os.fork()
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])) if pid else "served by a child"


@app.get("/exits")
async def exits() -> str:
    pid = os.fork()
    if pid == 0:
        sys.exit(5)
    os.waitpid(pid, 0)
    return "ended"


@app.get("/own")
async def own() -> str:
    """A child uses what the application has opened itself."""
    reader, writer = os.pipe()

    def write() -> None:
        os.write(writer, b"from the child")

    fork_and(write)
    os.close(writer)
    with os.fdopen(reader) as file:
        return file.read()
