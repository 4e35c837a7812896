"""Workers that are replaced while they serve: reload, recycling, hangs. Nothing is lost by it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.probes import alive, load, occupy, versions
from tests.server import command, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_a_reload_brings_new_code_and_loses_nothing(version: Path) -> None:
    with serving("changing:app", "--workers", "3", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        with load(server) as outcomes:
            for number in ("2", "3", "4"):
                version.write_text(number)
                before = set(server.workers())
                server.process.send_signal(signal.SIGHUP)
                wait_for(lambda before=before: len(server.workers()) == 3 and not before & set(server.workers()))  # type: ignore[misc]
                assert server.is_ready()
        assert versions(server) == {"4"}
        assert set(outcomes) == {"200"}, outcomes
        assert not any(map(alive, first))
        counted = server.total("tiny_listener_dispatch_seconds_count")
        assert counted == outcomes["200"] + 40


def test_a_second_reload_during_the_first_is_honoured(version: Path) -> None:
    with serving("changing:app", "--workers", "3", env={"VERSION_FILE": str(version)}) as server:
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "is being replaced: reload" in server.log)
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: versions(server) == {"2"} and len(server.workers()) == 3)


MEETING = """
import os, pathlib, time
from tiny_listener.http import HTTPListener

folder = pathlib.Path(os.environ["FOLDER"])
if (folder / "meet").exists():
    (folder / f"here.{os.getpid()}").touch()
    while len(list(folder.glob("here.*"))) < int((folder / "meet").read_text()):
        time.sleep(0.01)

app = HTTPListener()


@app.get("/")
async def index():
    return "hello"
"""
"""Boots when as many boot as `meet` says; at once without the file."""


def test_a_reload_replaces_as_many_at_a_time_as_it_may(tmp_path: Path) -> None:
    (tmp_path / "meeting.py").write_text(MEETING)
    options = ("--workers", "4", "--reload-batch", "2", "--app-dir", str(tmp_path))
    with serving("meeting:app", *options, env={"FOLDER": str(tmp_path)}) as server:
        before = set(server.workers())
        (tmp_path / "meet").write_text("2")  # one at a time would wait forever
        with load(server, 4) as outcomes:
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 4 and not before & set(server.workers()))
        assert set(outcomes) == {"200"}, outcomes


def test_a_new_version_that_cannot_boot_leaves_the_old_one_serving(version: Path) -> None:
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "before it was ready: the old workers keep serving" in server.log)
        assert server.log.count("RuntimeError: this version is broken") == 1
        assert server.workers() == first
        assert versions(server) == {"1"}
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: versions(server) == {"2"} and len(server.workers()) == 2)


def test_a_reload_that_fails_does_not_swallow_the_next(version: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text(str(gate))
        server.process.send_signal(signal.SIGHUP)
        with gate.open("w") as opened:  # when the new worker reads, it knows only the broken version
            version.write_text("2")
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("SIGHUP: reloading 2 workers") == 2)
            opened.write("broken at the gate")
        wait_for(lambda: len(server.workers()) == 2 and not set(first) & set(server.workers()))
        assert versions(server) == {"2"}
        assert server.log.count("RuntimeError: broken at the gate") == 1


def test_a_worker_that_dies_while_its_successor_boots(version: Path) -> None:
    with serving("changing:app", "--workers", "1", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        server.process.send_signal(signal.SIGHUP)
        for pid in first:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(server.workers()) == 2 and not set(first) & set(server.workers()) and server.is_ready())
        assert versions(server) == {"1"}


def test_a_drain_is_bounded_when_a_worker_is_replaced(version: Path) -> None:
    with serving("stuck:app", "--workers", "2", "--graceful-timeout", "0.3") as server:
        first = set(server.workers())
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "in flight" in server.log)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 2 and not first & set(server.workers()))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--max-requests", "100", "--max-requests-jitter", "20"], "events (--max-requests)"),
        (["--max-lifetime", "1"], "it has lived for 1 s (--max-lifetime)"),
    ],
)
def test_recycling_loses_nothing(version: Path, options: list[str], reason: str) -> None:
    with serving("changing:app", "--workers", "2", *options, env={"VERSION_FILE": str(version)}) as server:
        first = set(server.workers())
        with load(server) as outcomes:
            wait_for(lambda: not first & set(server.workers()))
        assert set(outcomes) == {"200"}, outcomes
        assert reason in server.log


def test_new_code_that_dies_once_it_is_ready_does_not_reach_every_worker(version: Path) -> None:
    with serving("changing:app", "--workers", "6", env={"VERSION_FILE": str(version)}) as server:
        first = set(server.workers())
        version.write_text("dies")
        with load(server) as outcomes:
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: "as soon as it was ready: the workers with the old code keep serving" in server.log)
            seen = outcomes["200"]
            wait_for(lambda: outcomes["200"] > seen + 200)
        assert len(first & set(server.workers())) >= 3, server.log
        status = json.loads(server.admin("/status.json")[1])["reload"]
        assert status["state"] == "failed"
        assert "exited with code 9 as soon as it was ready" in status["failure"]
        assert status["exit_code"] == 9
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: not first & set(server.workers()) and len(server.workers()) == 6 and server.is_ready())
        assert versions(server) == {"2"}


def test_a_reload_says_that_preloaded_code_stays(version: Path) -> None:
    options = ["--workers", "2", "--preload"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Reload 1 is done" in server.log)
        assert "--preload keeps the code of the start; only a restart brings new code" in server.log
        assert versions(server) == {"1"}


def test_a_worker_that_takes_too_much_memory(version: Path) -> None:
    with serving("changing:app", "--workers", "2", "--max-rss", "200", env={"VERSION_FILE": str(version)}) as server:
        first = set(server.workers())
        assert server.get("/grow")[0] == 200
        wait_for(lambda: "MiB of memory (--max-rss 200)" in server.log)
        wait_for(lambda: len(server.workers()) == 2 and len(first & set(server.workers())) == 1)


def test_a_worker_that_hangs_is_replaced_and_its_stack_shown(version: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = set(server.workers())
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "hung for 1 s" in server.log)
            assert client.recv(1) == b""
        wait_for(lambda: len(server.workers()) == 2 and len(first & set(server.workers())) == 1)
        assert "its event loop has been blocked for 1 s (--hang-timeout)" in server.log
        assert "in the_blocking_line" in server.log
        wait_for(server.is_ready)
        assert server.log.count("been blocked") == 1


def test_a_worker_that_computes_for_less_than_the_limit_is_left_alone(version: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        workers = server.workers()
        for _ in range(4):
            assert server.get("/compute") == (200, b"done")
        assert server.workers() == workers
        assert "been blocked" not in server.log


def test_a_worker_that_is_stopped_hangs_too(version: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first, second = server.workers()
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: "hung for 1 s" in server.log)
        wait_for(lambda: not alive(first) and len(server.workers()) == 2 and server.is_ready())
        assert second in server.workers()


def test_a_worker_that_hangs_is_told_to_abort_before_it_is_killed(version: Path, tmp_path: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1"]
    env = {"VERSION_FILE": str(version), "ABORTED_FILE": str(tmp_path / "aborted")}
    with serving("changing:app", *options, env=env) as server, contextlib.ExitStack() as clients:
        occupy(server, "/wait", clients)
        blocking = clients.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        blocking.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for((tmp_path / "aborted").exists)
        wait_for(lambda: "hung for 1 s" in server.log)
        assert re.search(r"Task \S+ waits: .*the_waiting_call", server.log)


def test_a_successor_that_does_not_get_ready_is_killed_by_the_boot_limit_alone(version: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    options = ["--workers", "2", "--hang-timeout", "1", "--boot-timeout", "3"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        workers = server.workers()
        version.write_text(str(tmp_path / "fifo"))  # its import waits until somebody writes there
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "is not ready after 3 s (--boot-timeout): killing it" in server.log)
        wait_for(lambda: "was killed after 3 s (--boot-timeout) before it was ready: the old workers" in server.log)
        wait_for(lambda: server.workers() == workers)
        assert "been blocked" not in server.log
        assert versions(server) == {"1"}


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["each", "preload"])
def test_what_start_up_made_is_frozen(version: Path, options: list[str]) -> None:
    with serving("changing:app", "--workers", "2", *options, env={"VERSION_FILE": str(version)}) as server:
        assert int(server.get("/frozen")[1]) > 10_000


@pytest.mark.parametrize("count", [1, 2])
def test_usr2_shows_the_stacks_of_every_worker(version: Path, count: int) -> None:
    with serving("changing:app", "--workers", str(count), env={"VERSION_FILE": str(version)}) as server:
        workers = server.workers()
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: server.log.count("Current thread") == count)
        assert server.workers() == workers
        assert server.is_ready()


def test_usr2_shows_the_tasks_too_even_of_a_process_that_is_blocked(version: Path) -> None:
    call = r"wait \(changing\.py:\d+\) > the_waiting_call \(changing\.py:\d+\) > sleep "
    where = re.compile(rf"^WARNING:  Task \S+ waits: (.* > )?{call}", re.MULTILINE)
    with (
        serving("changing:app", env={"VERSION_FILE": str(version)}) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
        socket.create_connection(("127.0.0.1", server.port)) as blocking,
    ):

        def shown(*, blocked: bool) -> bool:
            server.process.send_signal(signal.SIGUSR2)
            return where.search(server.log) is not None and ("in the_blocking_line" in server.log) == blocked

        client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: shown(blocked=False))
        blocking.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: shown(blocked=True))
        before = len(where.findall(server.log))
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: len(where.findall(server.log)) > before)
        server.process.kill()


@pytest.mark.parametrize("sig", [signal.SIGQUIT, signal.SIGHUP])
def test_a_worker_that_is_signalled_itself_is_replaced(version: Path, sig: signal.Signals) -> None:
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first, second = server.workers()
        for ignored in (signal.SIGINT, signal.SIGTTIN, signal.SIGTTOU):
            os.kill(first, ignored)
        os.kill(second, sig)
        wait_for(lambda: f"killed by {sig.name}" in server.log)
        wait_for(lambda: first in server.workers() and second not in server.workers() and server.is_ready())


def test_a_supervisor_that_was_suspended_kills_no_worker(version: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1.2"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        everybody = [server.process.pid, *server.workers()]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        stopped = time.monotonic()
        wait_for(lambda: time.monotonic() > stopped + 2.5)  # as long as a machine that was suspended
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        seen = time.monotonic()
        wait_for(lambda: time.monotonic() > seen + 2 and server.is_ready())
        assert server.workers() == everybody[1:]
        assert "been blocked" not in server.log


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-requests", "5"], "--max-requests needs a supervisor: add --workers 2"),
        (["--hang-timeout", "5"], "--hang-timeout needs a supervisor"),
        (["--reload-batch", "2"], "--reload-batch needs a supervisor: add --workers 2, or omit it"),
        (["--workers", "2", "--reload-batch", "0"], "0 is not in the range x>=1"),
        (["--control-socket", "x"], "--control-socket needs a supervisor: add --workers 2, or omit it"),
        (["--workers", "2", "--max-requests-jitter", "5"], "does nothing without --max-requests"),
        (["--workers", "2", "--max-lifetime", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_options_that_contradict_each_other(options: list[str], message: str) -> None:
    done = command(*options, "web:app")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
