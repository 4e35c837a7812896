"""Starts programs in each way that there is; each says which signals it ignores or blocks, and what it has open."""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tiny_listener import Event
from tiny_listener.http import HTTPListener

app = HTTPListener()
# The shell reads its state by itself: while it forks it blocks all signals.
LOOK = (
    "while read -r line; do case $line in Sig*) echo $line;; esac; done </proc/self/status; "
    "for fd in /proc/$$/fd/*; do echo $fd $(readlink $fd); done"
)


@app.startup
async def listen() -> None:
    await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)


def into_a_file(run: Callable[[str], object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run(f"({LOOK}) >{folder}/out")
        return (Path(folder) / "out").read_text()


def by_subprocess() -> str:
    return into_a_file(lambda script: subprocess.run(["/bin/sh", "-c", script], close_fds=False, check=True))


def by_system() -> str:
    return into_a_file(os.system)


def by_posix_spawn() -> str:
    def run(script: str) -> None:
        os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", script], os.environ), 0)

    return into_a_file(run)


def by_fork_and_exec() -> str:
    def run(script: str) -> None:
        if (pid := os.fork()) == 0:
            os.execv("/bin/sh", ["sh", "-c", script])
        os.waitpid(pid, 0)

    return into_a_file(run)


def write_handlers(path: str) -> None:
    wanted = {signal.SIGINT: signal.default_int_handler}
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN)
    others = [sig.name for sig in numbers if signal.getsignal(sig) != wanted.get(sig, signal.SIG_DFL)]
    text = Path("/proc/self/status").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("SigIgn", "SigBlk"))]
    Path(path).write_text("\n".join([*lines, *(f"handles {name}" for name in others)]))


def by_multiprocessing() -> str:
    with tempfile.TemporaryDirectory() as folder:
        child = multiprocessing.get_context("fork").Process(target=write_handlers, args=(f"{folder}/out",))
        child.start()
        child.join()
        return (Path(folder) / "out").read_text()


@app.get("/asyncio")
async def by_asyncio() -> str:
    child = await asyncio.create_subprocess_exec("/bin/sh", "-c", LOOK, stdout=subprocess.PIPE, close_fds=False)
    return (await child.communicate())[0].decode()


@app.get("/stdin")
async def read_stdin() -> str:
    return f"{os.readlink(f'/proc/self/fd/{sys.stdin.fileno()}')} {sys.stdin.read()!r}"


@app.get("/thread/{way}")
async def in_a_thread(event: Event) -> str:
    return await asyncio.to_thread(globals()[f"by_{event.params['way']}"])


@app.get("/{way}")
async def start(event: Event) -> str:
    return str(globals()[f"by_{event.params['way']}"]())
