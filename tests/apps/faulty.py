"""Whose workers do on request what no worker should."""

import os
import socket
import time
from pathlib import Path

from tiny_listener.http import HTTPListener

app = HTTPListener()


def line() -> int:
    """The file descriptor of the line to the supervisor."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            with socket.socket(fileno=os.dup(fd)) as sock:
                if sock.type == socket.SOCK_SEQPACKET:
                    return fd
        except OSError:
            continue
    raise LookupError("no SEQPACKET socket is open")


@app.startup
async def die_where_told() -> None:
    if "DIE" in os.environ and Path(os.environ["DIE"]).exists():
        os._exit(9)


@app.get("/")
async def who() -> str:
    return str(app.slot)


@app.get("/close")
async def close() -> None:
    with socket.socket(fileno=os.dup(line())) as sock:
        sock.shutdown(socket.SHUT_RDWR)


@app.get("/deaf")
async def deaf() -> None:
    with socket.socket(fileno=os.dup(line())) as sock:
        sock.shutdown(socket.SHUT_RDWR)
    time.sleep(3600)


@app.get("/garble")
async def garble() -> None:
    os.write(line(), b"\xc1 no message")


@app.get("/die")
async def die() -> None:
    os._exit(5)
