"""Says as whom it runs, and who imported it; opens further ports that a file names."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path

from tiny_listener.http import HTTPListener

IMPORTED_BY = os.getuid()

app = HTTPListener()


@app.startup
async def open_more_ports() -> None:
    for port in Path(os.environ.get("MORE_PORTS", "/dev/null")).read_text().split():
        await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", int(port))


@app.get("/")
async def whoami() -> dict[str, object]:
    with contextlib.suppress(PermissionError):
        os.setuid(0)
    umask = os.umask(0)
    os.umask(umask)
    return {
        "uid": os.getresuid(),
        "gid": os.getresgid(),
        "groups": os.getgroups(),
        "imported by": IMPORTED_BY,
        "home": os.environ.get("HOME"),
        "user": os.environ.get("USER"),
        "umask": umask,
        "open files": len(os.listdir("/proc/self/fd")),
    }


@app.get("/block")
async def block() -> None:
    def wait() -> None:
        threading.Event().wait()

    wait()
