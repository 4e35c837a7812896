"""Says which version of it was imported; a file next to the test says which that is."""

import asyncio
import gc
import os
import signal
import sys
import threading
import time
from pathlib import Path

from tiny_listener.http import HTTPListener

VERSION = Path(os.environ["VERSION_FILE"]).read_text()
if VERSION.startswith("/"):  # a fifo: the version is what somebody writes to it
    VERSION = Path(VERSION).read_text()
if VERSION.startswith("broken"):
    raise RuntimeError("this version is broken" if VERSION == "broken" else VERSION)

app = HTTPListener()

if "ABORTED_FILE" in os.environ:
    signal.signal(signal.SIGABRT, lambda *_: Path(os.environ["ABORTED_FILE"]).touch())


def an_exception() -> None:
    raise KeyboardInterrupt("of no use")


def the_line_that_hangs() -> None:
    threading.Event().wait()


ENDS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: sys.exit(7),
    "exit 0": lambda: sys.exit(0),
    "exception": an_exception,
    "hang": the_line_that_hangs,
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
}
"""How code ends that was ready."""

FROZEN = gc.get_freeze_count()


async def ready() -> None:
    """Wait until the supervisor was told that this worker is ready, which is when it froze what start-up made."""
    while gc.get_freeze_count() == FROZEN:
        await asyncio.sleep(0.005)


if VERSION.startswith("ends,"):  # how, how many seconds after it is ready, and in which slots
    _, HOW, AFTER, SLOTS = VERSION.split(",")

    async def end_once_ready() -> None:
        await ready()
        asyncio.get_running_loop().call_later(float(AFTER), ENDS[HOW])

    @app.startup
    async def end() -> None:
        if SLOTS == "all" or str(app.slot) in SLOTS:
            app.ending = asyncio.ensure_future(end_once_ready())  # type: ignore[attr-defined]


if VERSION == "dies":  # as soon as it is ready

    async def die_once_ready() -> None:
        await ready()
        os._exit(9)

    @app.startup
    async def die() -> None:
        app.dying = asyncio.ensure_future(die_once_ready())  # type: ignore[attr-defined]


@app.get("/")
async def version() -> dict[str, object]:
    return {"version": VERSION, "pid": os.getpid()}


@app.get("/compute")
async def compute() -> str:
    """Hold the loop for six tenths of a second."""
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        pass
    return "done"


@app.get("/frozen")
async def frozen() -> int:
    return gc.get_freeze_count()


@app.get("/block")
async def block() -> None:
    def the_blocking_line() -> None:
        threading.Event().wait()

    the_blocking_line()


@app.get("/wait")
async def wait() -> None:
    await the_waiting_call()


async def the_waiting_call() -> None:
    await asyncio.sleep(3600)


@app.get("/grow")
async def grow() -> int:
    app.hoard = bytearray(300 * 2**20)  # type: ignore[attr-defined]
    app.hoard[::4096] = b"x" * len(app.hoard[::4096])  # type: ignore[attr-defined]
    return len(app.hoard)  # type: ignore[attr-defined]
