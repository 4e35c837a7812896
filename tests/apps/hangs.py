"""Hangs in the way that the environment asks for: HANG names it. What it says on stdout comes before it hangs."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import hashlib
import os
import re
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tiny_listener import Event
from tiny_listener.http import HTTPListener

HANG = os.environ.get("HANG", "")
LONG = 1000.0


def say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


class Unheard(BaseException):
    """Neither an Exception nor one of those that leave the loop."""


# --- ways to hang ---------------------------------------------------------------------------------


async def awaits() -> None:
    await asyncio.Event().wait()


async def deaf() -> None:
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(LONG)


async def deaf_to_all() -> None:
    while True:
        with contextlib.suppress(BaseException):
            await asyncio.sleep(LONG)


async def sleeps() -> None:
    time.sleep(LONG)


async def spins() -> None:
    while True:
        pass


async def locked() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


async def matches() -> None:
    re.match(r"(a+)+$", "a" * 60 + "b")  # keeps the GIL, and looks for signals


async def derives() -> None:
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # releases the GIL, and looks for no signals


async def to_thread() -> None:
    await asyncio.to_thread(time.sleep, LONG)


async def in_executor() -> None:
    await asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)


async def many_threads() -> None:
    await asyncio.gather(*(asyncio.to_thread(time.sleep, LONG) for _ in range(40)))


async def own_executor() -> None:
    await asyncio.wrap_future(ThreadPoolExecutor(thread_name_prefix="mine").submit(time.sleep, LONG))


async def own_thread() -> None:
    threading.Thread(target=time.sleep, args=(LONG,), name="mine").start()


async def thread_and_fails() -> None:
    await own_thread()
    raise RuntimeError("broken beside a thread")


async def background() -> None:
    background.task = asyncio.ensure_future(deaf())  # type: ignore[attr-defined]


async def generator() -> None:
    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await deaf()

    generator.left = left = numbers()  # type: ignore[attr-defined]
    await anext(left)


async def at_exit() -> None:
    atexit.register(time.sleep, LONG)


class Finalised:
    def __del__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        sleep(LONG)


async def finaliser() -> None:
    sys.left = Finalised()  # type: ignore[attr-defined]  # a module that the interpreter clears last


def never_ends(sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
    try:
        yield 1
    finally:
        sleep(LONG)


async def plain_generator() -> None:
    sys.left = left = never_ends()  # type: ignore[attr-defined]
    next(left)


async def raises() -> None:
    raise Unheard


async def exits() -> None:
    raise SystemExit(7)


async def interrupts() -> None:
    raise KeyboardInterrupt


async def cancels() -> None:
    raise asyncio.CancelledError


WAYS: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
    way.__name__: way
    for way in (
        awaits, deaf, deaf_to_all, sleeps, spins, locked, matches, derives, to_thread, in_executor, many_threads,
        own_executor, own_thread, thread_and_fails, background, generator, at_exit, finaliser, plain_generator,
        raises, exits, interrupts, cancels,
    )
}  # fmt: skip


class App(HTTPListener):
    async def listen(self) -> None:
        if where == "listen":
            say("hangs")
            await WAYS[way]()
        await super().listen()


app = App()
where, _, way = HANG.partition(":")


@app.startup
async def start() -> None:
    if where == "startup":
        say("hangs")
        await WAYS[way]()


@app.shutdown
async def first() -> None:
    if where == "shutdown":
        say("hangs")
        await WAYS[way]()


@app.shutdown
async def last() -> None:
    say("the last callback")


@app.get("/")
async def home() -> str:
    return "here"


@app.get("/slow")
async def slow() -> str:
    say("slow")
    await asyncio.sleep(0.5)  # long enough to be in flight when the application ends
    return "slow"


@app.get("/wait")
async def wait() -> str:
    say("waits")
    await asyncio.Event().wait()
    return "waited"


@app.get("/leave")
async def leave() -> str:
    app.leaving = asyncio.ensure_future(app.graceful_shutdown())  # type: ignore[attr-defined]
    return "I leave"


@app.get("/hang/{way}")
async def hang(event: Event) -> str:
    say("hangs")
    await WAYS[event.params["way"]]()
    return "hung"


@app.get("/task/{way}")
async def task(event: Event) -> str:
    app.left = asyncio.ensure_future(WAYS[event.params["way"]]())  # type: ignore[attr-defined]
    return "begun"


@app.get("/callback/{way}")
async def callback(event: Event) -> str:
    error = {"exits": SystemExit(7), "interrupts": KeyboardInterrupt(), "raises": Unheard()}[event.params["way"]]

    def fail() -> None:
        raise error

    asyncio.get_running_loop().call_soon(fail)
    return "begun"


if where == "takes signals":
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: say("nothing happens"))

if where == "import":
    say("hangs")
    asyncio.new_event_loop().run_until_complete(WAYS[way]())
