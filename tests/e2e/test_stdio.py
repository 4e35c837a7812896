"""stdin, stdout and stderr that are closed when a command starts."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import APPS, COMMAND, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NAMES = ("stdin", "stdout", "stderr")
WAYS = [closed for count in range(4) for closed in itertools.combinations((0, 1, 2), count)]
CTL = [sys.executable, "-m", "tiny_listener.cli.ctl"]


def launcher(closed: tuple[int, ...]) -> list[str]:
    return ["sh", "-c", f'exec "$@" {" ".join(f"{fd}>&-" for fd in closed)}', "sh"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_starts_whatever_is_closed(tmp_path: Path, workers: int) -> None:
    with contextlib.ExitStack() as stack:
        servers = {}
        for closed in WAYS:
            log = ("--log-file", str(tmp_path / f"log{closed}")) if 2 in closed else ()
            options = ("--workers", str(workers), *log)
            run = serving("starts:app", *options, launcher=launcher(closed), until_ready=False)
            servers[closed] = stack.enter_context(run)
        for closed, server in servers.items():
            wait_for(server.is_ready)
            for pid in (server.process.pid, *server.workers()):
                taken = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)}
                assert all(taken[fd] == "/dev/null" for fd in closed), (closed, taken)
                assert not any(what.startswith("socket:") for what in taken.values())
            said = (tmp_path / f"log{closed}").read_text() if 2 in closed else server.log
            words = f"Closed at the start: {', '.join(NAMES[fd] for fd in closed)}; using /dev/null instead"
            assert (words in said) is bool(closed), (closed, said)
            if workers > 1 or 0 in closed:
                assert server.get("/stdin") == (200, b"/dev/null ''")


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_what_ends_at_once_ends_well(closed: tuple[int, ...], tmp_path: Path) -> None:
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    for words, code in (
        ([*COMMAND, "--version"], 0),
        ([*COMMAND, "--help"], 0),
        ([*COMMAND, "--check", "web:app"], 0),
        ([*COMMAND, "--check", "nosuch:app"], 1),
        ([*COMMAND, "--nosuch"], 2),
        ([*CTL, "--help"], 0),
        ([*CTL, "status"], 1),
    ):
        done = subprocess.run(
            [*launcher(closed), *words], capture_output=True, text=True, cwd=APPS, env=env, check=False
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), (words, done.stderr)
