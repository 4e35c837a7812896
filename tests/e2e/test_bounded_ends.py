"""Each process ends in time, whatever its application's handlers, threads and callbacks do."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.probes import LATE, PATIENT
from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

GRACEFUL = 0.3
"""Seconds; with one more each of these stops has to be over."""

LEFT = {
    "awaits": "Cancelled after",
    "deaf": "task 'Task-",
    "deaf_to_all": "task 'Task-",
    "sleeps": "the main thread, in sleeps (hangs.py:",
    "spins": "the main thread, in spins (hangs.py:",
    "locked": "the main thread, in locked (hangs.py:",
    "matches": "in matches",
    "derives": "the main thread, in derives (hangs.py:",
    "to_thread": "thread 'asyncio_0'",
    "in_executor": "thread 'asyncio_0'",
    "many_threads": "thread 'asyncio_0'",
    "own_executor": "thread 'mine_0'",
    "own_thread": "thread 'mine'",
    "background": "task 'Task-",
    "generator": "an asynchronous generator",
    "at_exit": "atexit callbacks",
    "finaliser": "in __del__",
    "plain_generator": "in never_ends",
}
"""Ways to hang, and what the log of one process says of each."""
KEEP_THE_GIL = {"matches", "finaliser", "plain_generator"}
"""Ways that only faulthandler ends, with exit code 1."""


@contextlib.contextmanager
def asked(server: Server, path: str) -> Iterator[socket.socket]:
    """A client that has asked for a path."""
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield client


def one_or_many(way: str, workers: str) -> int:
    """Return the exit code of a command whose stop had to be forced."""
    return 1 if workers == "1" and way in KEEP_THE_GIL else 0


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("way", LEFT)
def test_a_stop_ends_whatever_a_handler_does(way: str, workers: str) -> None:
    options = ("--workers", workers, "--graceful-timeout", str(GRACEFUL))
    with serving("hangs:app", *options) as server, asked(server, f"/hang/{way}"):
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(GRACEFUL + 1 + LATE) == one_or_many(way, workers)
        if workers == "1":
            assert LEFT[way] in server.log
        assert "never retrieved" not in server.log
        assert "Task was destroyed" not in server.log


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("way", LEFT)
def test_a_second_signal_ends_it_at_once(way: str, sig: int) -> None:
    with serving("hangs:app", *PATIENT) as server, asked(server, f"/hang/{way}"), asked(server, "/wait"):
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(sig)
        # One that is blocked says nothing: what is looked at is that it does not end. For the others, that it drains.
        if "the main thread" not in LEFT[way] and way != "matches":
            wait_for(lambda: server.admin("/readyz")[0] == 503)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.1)
        server.process.send_signal(sig)
        assert server.process.wait(LATE) == one_or_many(way, "1")


@pytest.mark.parametrize("way", ["sleeps", "spins", "deaf", "derives", "to_thread"])
def test_a_second_signal_ends_workers_at_once(way: str) -> None:
    with serving("hangs:app", "--workers", "2", *PATIENT) as server, asked(server, f"/hang/{way}"):
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining 2 workers" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LATE) == 0


@pytest.mark.parametrize("way", ["sleeps", "spins", "matches", "deaf"])
@pytest.mark.parametrize(("workers", "code"), [("1", -signal.SIGQUIT), ("2", 0)])
def test_quit_ends_it_at_once(way: str, workers: str, code: int) -> None:
    with serving("hangs:app", "--workers", workers, *PATIENT) as server, asked(server, f"/hang/{way}"):
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(signal.SIGQUIT)
        assert server.process.wait(LATE) == code


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("way", [*LEFT, "raises", "exits", "interrupts", "cancels"])
def test_a_stop_ends_whatever_a_shutdown_callback_does(way: str, workers: str) -> None:
    env = {"HANG": f"shutdown:{way}"}
    options = ("--workers", workers, "--graceful-timeout", str(GRACEFUL))
    with serving("hangs:app", *options, env=env) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(GRACEFUL + 1 + LATE) == one_or_many(way, workers)
        if way in ("raises", "exits", "interrupts"):
            assert server.log.count("Shutdown callback first failed") == int(workers)
        if way not in ("sleeps", "spins", "locked", "matches", "derives"):  # they block the loop
            assert server.log.count("the last callback") == int(workers)


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("way", ["awaits", "deaf", "to_thread", "sleeps"])
def test_a_second_signal_does_not_wait_for_a_shutdown_callback(way: str, workers: str) -> None:
    env = {"HANG": f"shutdown:{way}"}
    with serving("hangs:app", "--workers", workers, *PATIENT, env=env) as server:
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LATE) == 0


def test_a_worker_that_was_signalled_itself_ends_in_time_though_it_is_blocked() -> None:
    options = ("--workers", "2", "--graceful-timeout", str(GRACEFUL), "--hang-timeout", "0")
    with serving("hangs:app", *options) as server:
        for worker in server.workers():
            before = server.log.count("hangs")
            with asked(server, "/hang/sleeps"):
                wait_for(lambda n=before: server.log.count("hangs") > n)  # type: ignore[misc]
                blocked = [pid for pid in server.workers() if "nanosleep" in _where(pid)]
                assert blocked
                os.kill(blocked[0], signal.SIGTERM)
                wait_for(lambda pid=blocked[0]: pid not in server.workers(), GRACEFUL + 1 + LATE)  # type: ignore[misc]
                assert worker
        assert "the main thread, in sleeps" in server.log
        wait_for(server.is_ready)


def _where(pid: int) -> str:
    """Return the function of the kernel that a process waits in."""
    return Path(f"/proc/{pid}/wchan").read_text()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize("way", ["awaits", "sleeps", "derives"])
def test_a_module_that_takes_signals_when_it_is_imported_does_not_keep_them(way: str, sig: int) -> None:
    options = ("--graceful-timeout", str(GRACEFUL))
    with serving("hangs:app", *options, env={"HANG": "takes signals"}) as server, asked(server, f"/hang/{way}"):
        wait_for(lambda: "hangs" in server.log)
        server.process.send_signal(sig)
        assert server.process.wait(GRACEFUL + 1 + LATE) == 0
        assert "nothing happens" not in server.log


def test_a_stop_by_the_application_is_bounded_too() -> None:
    with serving("hangs:app", "--graceful-timeout", str(GRACEFUL)) as server, asked(server, "/hang/own_thread"):
        wait_for(lambda: "hangs" in server.log)
        assert server.get("/leave")[0] == 200
        assert server.process.wait(GRACEFUL + 1 + LATE) == 0
        assert "thread 'mine'" in server.log


def test_a_forced_end_removes_the_files(tmp_path: Path) -> None:
    uds, pid_file = tmp_path / "web.sock", tmp_path / "pid"
    options = ("--graceful-timeout", str(GRACEFUL), "--uds", str(uds), "--pid-file", str(pid_file))
    with serving("hangs:app", *options, pass_port=False) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(uds))
        client.sendall(b"GET /hang/sleeps HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "hangs" in server.log)
        assert pid_file.exists()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(GRACEFUL + 1 + LATE) == 0
    assert not uds.exists()
    assert not pid_file.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_ends_in_time_is_not_forced(workers: str) -> None:
    with serving("hangs:app", "--workers", workers, *PATIENT) as server, asked(server, "/slow") as client:
        wait_for(lambda: "slow" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert client.makefile("rb").read().endswith(b"slow")
        assert server.process.wait(20) == 0
        assert server.log.count("the last callback") == int(workers)
        for word in ("Cancelled", "Left behind", "force"):
            assert word not in server.log


def test_the_supervisor_ends_though_a_thread_of_a_preloaded_application_does_not() -> None:
    with serving("hangs:app", "--workers", "2", "--preload", env={"HANG": "import:own_thread"}) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LATE) == 0
        assert "thread 'mine'" in server.log
