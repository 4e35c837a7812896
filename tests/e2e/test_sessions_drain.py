"""Dependencies with a cleanup, when the server stops or reloads: a drain waits for the cleanup, within its time."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests.server import serving
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

PROGRAM = """
import asyncio, os
from pathlib import Path
from tiny_listener import Depends
from tiny_listener.http import HTTPListener

app = HTTPListener()
folder = Path(os.environ["FOLDER"])


def note(what):
    with (folder / "log").open("a") as file:
        file.write(what + "\\n")


async def session():
    try:
        yield "session"
    except BaseException as error:
        note(f"sees {type(error).__name__}")
        raise
    finally:
        note("cleaning up")
        while not (folder / "clean").exists():
            await asyncio.sleep(0.01)
        note("clean")


@app.get("/at-once")
async def at_once(session: str = Depends(session)) -> str:
    note("handled")
    return session


@app.get("/waits")
async def waits(session: str = Depends(session)) -> str:
    note("handled")
    await app.draining
    return session
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sessions.py").write_text(PROGRAM)
    (tmp_path / "log").touch()
    return tmp_path


def log_of(folder: Path) -> list[str]:
    return (folder / "log").read_text().split("\n")[:-1]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("path", ["/at-once", "/waits"])
def test_a_stop_waits_for_a_cleanup(folder: Path, workers: str, path: str) -> None:
    answers: list[tuple[int, bytes]] = []
    with serving("sessions:app", "--workers", workers, cwd=folder, env={"FOLDER": str(folder)}) as server:
        client = threading.Thread(target=lambda: answers.append(server.get(path)))
        client.start()
        wait_for(lambda: "handled" in log_of(folder))
        server.process.send_signal(signal.SIGTERM)
        client.join()
        assert answers == [(200, b"session")]
        wait_for(lambda: log_of(folder)[-1] == "cleaning up")
        assert server.process.poll() is None
        (folder / "clean").touch()
        assert server.process.wait(30) == 0
    assert log_of(folder) == ["handled", "cleaning up", "clean"]


def test_a_cleanup_that_never_ends_is_cut_off_by_the_graceful_timeout(folder: Path) -> None:
    with serving("sessions:app", "--graceful-timeout", "0.3", cwd=folder, env={"FOLDER": str(folder)}) as server:
        assert server.get("/at-once") == (200, b"session")
        wait_for(lambda: log_of(folder)[-1] == "cleaning up")
        assert server.stop() == 0
        assert "Cancelled after the graceful timeout of 0.3 s: Request(GET '/at-once')" in server.log
    assert log_of(folder) == ["handled", "cleaning up"]


def test_a_reload_waits_for_a_cleanup(folder: Path) -> None:
    with serving("sessions:app", "--workers", "2", cwd=folder, env={"FOLDER": str(folder)}) as server:
        before = server.workers()
        assert server.get("/at-once") == (200, b"session")
        wait_for(lambda: log_of(folder)[-1] == "cleaning up")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(set(server.workers()) - set(before)) >= 1)
        (folder / "clean").touch()
        wait_for(lambda: not set(server.workers()) & set(before))
    assert log_of(folder) == ["handled", "cleaning up", "clean"]
