"""Programs that an application starts begin with the signals of any program, and with nothing of the server's open."""

from __future__ import annotations

import re
import signal
import socket

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

WAYS = ("subprocess", "system", "posix_spawn", "fork_and_exec", "multiprocessing", "asyncio")
SIGNALS = (1 << 31) - 1
"""Those with names (signal(7)); what comes after them is the C library's, and real-time signals."""
PYTHONS = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)
"""What each program in Python ignores, and so what it starts, unless `subprocess` does."""


def look(server: Server, way: str) -> None:
    text = server.get(f"/{way}")[1].decode()
    ignored, blocked = (int(re.search(rf"{name}:\s*(\w+)", text)[1], 16) for name in ("SigIgn", "SigBlk"))  # type: ignore[index]
    assert (ignored & SIGNALS & ~PYTHONS, blocked) == (0, 0), (way, text)
    assert "handles" not in text, (way, text)
    opened = dict(re.findall(r"/fd/(\d+) (\S+)", text))
    own = {opened.pop(number, "") for number in "012"}
    if way == "asyncio":  # with close_fds=False uvloop leaves the child a pipe of its own
        opened = {number: what for number, what in opened.items() if not what.startswith("pipe:")}
    ours = {what for what in opened.values() if re.search("socket|anon_inode|memfd|pipe|zero|/log", what)}
    assert ours - own == set(), (way, text)


@pytest.mark.parametrize("workers", [1, 2])
def test_programs_begin_as_any_other(workers: int) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        fd, port = listening.fileno(), listening.getsockname()[1]
        options = ("--fd", str(fd), "--workers", str(workers))
        with serving("starts:app", *options, port=port, pass_port=False, pass_fds=(fd,)) as server:
            for way in WAYS:
                look(server, way)
                if way != "asyncio":
                    look(server, f"thread/{way}")
            if workers > 1:
                before = set(server.workers())
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda: len(server.workers()) == workers and not before & set(server.workers()))
                for way in WAYS:
                    look(server, way)
