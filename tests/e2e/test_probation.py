"""Reloads to code that boots and ends a moment later: the old code keeps every slot that it has."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.probes import alive, load, versions
from tests.server import Server, command, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The file that says which version of the application there is."""
    file = tmp_path / "version"
    file.write_text("1")
    return file


def reload(server: Server) -> subprocess.CompletedProcess[str]:
    """Reload by the command, and wait for what becomes of it."""
    args = [sys.executable, "-m", "tiny_listener.cli.ctl", "--pid", str(server.process.pid), "reload"]
    return subprocess.run(args, capture_output=True, text=True, timeout=60, check=False)


def reload_status(server: Server) -> dict[str, object]:
    """Return what the server says of its last reload."""
    found: dict[str, object] = json.loads(server.admin("/status.json")[1])["reload"]
    return found


def code_versions(server: Server) -> dict[int, int]:
    """Return which reload brought the code that each slot is served by."""
    found = json.loads(server.admin("/status.json")[1])["processes"]
    return {one["slot"]: one["version"] for one in reversed(found) if one["state"] == "ready"}


def replaced(server: Server, first: set[int]) -> bool:
    """Whether every worker is another than at first."""
    now = set(server.workers())
    return len(now) == len(first) and not first & now and server.is_ready()


@pytest.mark.parametrize("after", ["0.02", "0.3", "0.9"])
@pytest.mark.parametrize(
    ("how", "words", "code"),
    [
        ("kill", "killed by SIGKILL (by hand, or out of memory?)", -9),
        ("exit", "", None),
        ("exit 0", "", None),
        ("exception", "", None),
        ("term", "", None),
    ],
)
def test_code_that_ends_on_probation_replaces_nobody(
    version: Path, how: str, after: str, words: str, code: int | None
) -> None:
    options = ["--workers", "3", "--reload-probation", "3"]  # more than a busy machine adds to what it ends after
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text(f"ends,{how},{after},all")
        done = reload(server)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.match(rf"Error: the reload failed: worker 0 {re.escape(words)}.*as soon as it was ready", done.stderr)
        assert "the workers with the old code keep serving" in server.log
        wait_for(lambda: server.workers() == first)
        assert server.is_ready()
        assert versions(server) == {"1"}
        status = reload_status(server)
        assert status["state"] == "failed"
        if code is not None:
            assert status["exit_code"] == code
        assert server.total("tiny_listener_last_reload_successful") == 0
        assert server.total("tiny_listener_reloads_total", outcome="failed") == 1
        assert server.total("tiny_listener_reloads_total", outcome="done") == 0
        version.write_text("2")
        assert reload(server).returncode == 0
        wait_for(lambda: replaced(server, set(first)))
        assert versions(server) == {"2"}


@pytest.mark.parametrize("slot", ["0", "1", "2"])
def test_code_that_ends_in_one_slot_leaves_the_old_code_there(version: Path, slot: str) -> None:
    with serving("changing:app", "--workers", "3", env={"VERSION_FILE": str(version)}) as server:
        version.write_text(f"ends,kill,0.3,{slot}")
        done = reload(server)
        assert done.returncode == 1
        assert f"worker {slot} killed by SIGKILL" in done.stderr
        wait_for(lambda: len(server.workers()) == 3)
        assert server.is_ready()
        assert code_versions(server)[int(slot)] == 0
        assert [v for s, v in code_versions(server).items() if s > int(slot)] == [0] * (2 - int(slot))


def test_code_that_hangs_on_probation_replaces_nobody(version: Path) -> None:
    options = ["--workers", "2", "--hang-timeout", "1"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text("ends,hang,0.3,all")
        done = reload(server)
        assert done.returncode == 1
        assert "worker 0 hung for 1 s as soon as it was ready" in done.stderr
        assert "in the_line_that_hangs" in server.log
        wait_for(lambda: server.workers() == first)
        assert versions(server) == {"1"}


def test_a_hang_on_probation_does_not_wait_for_the_hang_timeout(version: Path) -> None:
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text("ends,hang,0.5,all")
        assert re.search(r"worker [01] hung for 5 s as soon as it was ready", reload(server).stderr)
        assert "its event loop has been blocked for 5 s (on probation)" in server.log
        wait_for(lambda: server.workers() == first)


def test_the_old_ones_serve_all_the_while_and_no_request_is_lost(version: Path) -> None:
    with serving("changing:app", "--workers", "3", env={"VERSION_FILE": str(version)}) as server:
        version.write_text("2")
        with load(server) as outcomes:
            began = time.monotonic()
            done = reload(server)
            took = time.monotonic() - began
        assert done.stdout.startswith("3 workers reloaded within ")
        assert took >= 2.0  # one probation for the first, one for all the others
        assert set(outcomes) == {"200"}, outcomes


def test_a_longer_probation_and_none(version: Path) -> None:
    ends = "ends,kill,1.3,all"
    for seconds, code in (("2", 1), ("0", 0)):
        options = ["--workers", "2", "--reload-probation", seconds]
        version.write_text("1")
        with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
            version.write_text(ends)
            assert reload(server).returncode == code


def test_a_second_reload_during_a_probation_takes_its_place(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "3"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = set(server.workers())
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "2" in versions(server))  # the new code serves alongside the old
        version.write_text("3")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: replaced(server, first))
        assert versions(server) == {"3"}
        assert reload_status(server) == {"version": 2, "state": "done", "failure": None, "exit_code": 0}
        assert server.log.count("is withdrawn") == 1


def on_probation(server: Server, first: list[int]) -> int:
    """Return the worker that is on probation, once it serves."""

    def found() -> set[int]:
        return {json.loads(server.get("/")[1])["pid"] for _ in range(20)} - set(first)

    return wait_for(found).pop()


def test_a_stop_during_a_probation(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "60"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        server.process.send_signal(signal.SIGHUP)
        new = on_probation(server, first)
        with load(server, 2) as outcomes:
            pass
        assert set(outcomes) == {"200"}
        assert server.stop() == 0
        assert not any(map(alive, [*first, new]))
        assert "ERROR" not in server.log


def test_workers_come_and_go_during_a_probation(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "3"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        on_probation(server, first)
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: set(code_versions(server)) == {0, 1, 2})
        server.process.send_signal(signal.SIGTTOU)
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: reload_status(server)["state"] == "done")
        wait_for(lambda: code_versions(server) == {0: 1, 1: 1, 2: 1})
        wait_for(lambda: len(server.workers()) == 3)  # the old ones have drained
        assert versions(server) == {"2"}


def test_the_slot_on_probation_is_taken_away(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "2"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        os.kill(first[1], signal.SIGKILL)  # so that its slot gets the new code first
        wait_for(lambda: "killed by SIGKILL" in server.log and server.is_ready())
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        on_probation(server, server.workers())
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: reload_status(server)["state"] == "done")
        wait_for(lambda: len(server.workers()) == 1)  # the old one has drained
        assert versions(server) == {"2"}
        assert server.is_ready()


def test_an_old_worker_that_dies_is_followed_by_the_one_on_probation(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "3"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        old = next(p["pid"] for p in json.loads(server.admin("/status.json")[1])["processes"] if p["slot"] == 0)
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        new = on_probation(server, first)
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: old not in server.workers() and server.is_ready())
        assert new in server.workers()
        assert reload_status(server)["state"] == "running"
        wait_for(lambda: reload_status(server)["state"] == "done")
        assert new in server.workers()


def test_a_successor_by_recycling_is_on_probation_too(version: Path) -> None:
    options = ["--workers", "2", "--max-requests", "50"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text("ends,kill,0.5,all")
        wait_for(lambda: server.get("/")[0] == 200 and "is being replaced: it has dispatched" in server.log)
        wait_for(lambda: "as soon as it was ready: the workers with the old code keep serving" in server.log)
        wait_for(lambda: server.workers() == first)
        assert server.is_ready()
        assert reload_status(server) is None


def test_a_reload_with_mended_code_does_not_wait_for_what_broken_code_waits_for(version: Path) -> None:
    options = ["--workers", "2", "--reload-probation", "0.2"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        version.write_text("broken")
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)

        def delays() -> dict[str, float]:
            found = re.findall(r"Worker (\d) .* the next one starts in ([0-9.]+) s", server.log)
            return {slot: float(delay) for slot, delay in found}

        wait_for(lambda: len(delays()) == 2 and min(delays().values()) > 4, 60)
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "Reload 1 is done" in server.log)
        (took,) = re.findall(r"Reload 1 is done after ([0-9.]+) s", server.log)
        assert float(took) < 4
        assert server.is_ready()
        wait_for(lambda: len(server.workers()) == 2)  # the old ones have drained
        assert versions(server) == {"2"}


@pytest.mark.parametrize("killed", [1, 2])
def test_a_reload_with_mended_code_does_not_wait_for_code_that_hangs_as_it_boots(
    version: Path, tmp_path: Path, killed: int
) -> None:
    os.mkfifo(tmp_path / "fifo")
    options = ["--workers", "2", "--boot-timeout", "60"]
    with serving("changing:app", *options, env={"VERSION_FILE": str(version)}) as server:
        version.write_text(str(tmp_path / "fifo"))  # its import waits until somebody writes there
        for pid in server.workers()[:killed]:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: server.log.count("the next one starts now") == killed and len(server.workers()) == 2)
        server.process.send_signal(signal.SIGHUP)  # now it boots as a successor too, where one serves
        wait_for(lambda: "SIGHUP: reloading" in server.log)
        version.write_text("2")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: versions(server) == {"2"} if killed == 2 else "2" in versions(server))
        assert "killing it" not in server.log


@pytest.mark.parametrize(("value", "code"), [("0", 0), ("0.5", 0), ("-0.1", 2), ("soon", 2), ("nan", 2), ("inf", 2)])
def test_what_a_probation_may_be(value: str, code: int) -> None:
    done = command("--workers", "2", "--reload-probation", value, "--check", "web:app")
    assert done.returncode == code
    assert done.stderr.count("\n") == (1 if code else 0)


def test_one_process_has_no_probation() -> None:
    done = command("--reload-probation", "2", "web:app")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --reload-probation needs a supervisor: add --workers 2, or omit it")
