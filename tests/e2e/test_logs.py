"""The logs of many processes, in one pipe or one file: every line whole, and none lost when the file is renamed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.probes import load
from tests.server import APPS, COMMAND, command, free_port, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def entries(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_four_workers_and_the_supervisor_arrive_whole_through_a_pipe() -> None:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "--workers", "4", "--port", str(port), "--admin-port", "0", "--access-log", "--log-format", "json",
         "--control-socket", "", "web:app"],
        cwd=APPS, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[bytes] = []
    stdout = process.stdout
    reader = threading.Thread(target=lambda: lines.extend(stdout))
    reader.start()
    try:
        wait_for(lambda: any(b"are ready" in line for line in lines))
        # Their lines are longer than the kernel takes in one piece: what is not cut would be torn.
        clients = [threading.Thread(target=ask_often, args=(port, number)) for number in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    finally:
        process.terminate()
        process.wait(15)
        reader.join()
        stdout.close()
    found = entries(b"".join(lines).decode())
    accesses = [entry for entry in found if entry["logger"] == "tiny_listener.access"]
    assert len(accesses) == 8 * 50
    assert {entry["slot"] for entry in accesses} <= {0, 1, 2, 3}
    assert len({entry["pid"] for entry in accesses}) > 1
    assert {entry["status"] for entry in accesses} == {200}
    assert all(0 < entry["duration"] < 5 for entry in accesses)
    assert {entry.get("cut", False) for entry in accesses} == {True, False}


def ask_often(port: int, number: int) -> None:
    for turn in range(50):
        query = f"?{str(number) * 6000}" if turn % 2 else ""
        assert request(port, f"/user/Bob{query}")[0] == 200


@pytest.mark.parametrize("workers", [1, 3])
def test_no_line_is_lost_when_the_file_is_renamed_under_load(tmp_path: Path, workers: int) -> None:
    log = tmp_path / "web.log"
    with serving("web:app", "--workers", str(workers), "--access-log", "--log-file", str(log)) as server:
        with load(server) as outcomes:
            for turn in range(5):
                log.rename(tmp_path / f"web.log.{turn}")
                server.process.send_signal(signal.SIGUSR1)
                wait_for(lambda: log.exists() and "reopened" in log.read_text())
                seen = outcomes["200"]
                wait_for(lambda seen=seen: outcomes["200"] > seen + 50)  # type: ignore[misc]
                wait_for(lambda: '"GET / HTTP/1.1" 200' in log.read_text())
        assert set(outcomes) == {"200"}
        assert server.stop() == 0
        assert server.log == ""  # nothing of it went to stderr
    lines = [line for file in tmp_path.iterdir() for line in file.read_text().splitlines()]
    assert sum('"GET / HTTP/1.1" 200 OK' in line for line in lines) == outcomes["200"]
    assert len(list(tmp_path.iterdir())) == 6
    assert all(line.startswith(("INFO: ", "WARNING: ")) for line in lines), lines


def test_a_successor_and_stacks_are_in_the_file_too(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    options = ("--workers", "2", "--log-file", str(log), "--log-format", "json", "--access-log")
    with serving("web:app", *options) as server:
        log.rename(tmp_path / "old")
        server.process.send_signal(signal.SIGUSR1)
        wait_for(log.exists)
        first, second = server.workers()
        os.kill(first, signal.SIGKILL)
        # Until it is reaped, the killed one is still listed.
        wait_for(lambda: any(entry["level"] == "error" for entry in entries(log.read_text())))
        wait_for(lambda: server.workers() not in ([], [second]) and server.is_ready())
        fields = next(entry for entry in entries(log.read_text()) if entry["level"] == "error")
        assert (fields["slot"], fields["pid"]) == (0, first)
        assert fields["reason"] == "killed by SIGKILL (by hand, or out of memory?)"
        assert fields["duration"] > 0
        assert all(server.get("/")[0] == 200 for _ in range(20))
        wait_for(lambda: {entry.get("slot") for entry in entries(log.read_text()) if "client" in entry} == {0, 1})
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: log.read_text().count("Current thread") == 2)
        assert server.log == ""


@pytest.mark.parametrize("style", ["text", "json"])
def test_stacks_of_many_workers_are_whole(style: str) -> None:
    workers, times = 6, 5
    with serving("web:app", "--workers", str(workers), "--log-format", style) as server:
        for n in range(1, times + 1):
            server.process.send_signal(signal.SIGUSR2)
            wait_for(lambda n=n: server.log.count("wrote its stacks:") == n * workers)  # type: ignore[misc]
        if style == "json":
            stacks = [entry["stacks"] for entry in entries(server.log) if "stacks" in entry]
            assert len(stacks) == workers * times
            assert all(one.count("Current thread") == 1 for one in stacks)
            return
        frame = re.compile(r'  (  File ".*", line (\d+|\?{3}) in \S+|Current thread .* \(most recent call first\):|)$')
        rest = [line for line in server.log.splitlines() if frame.match(line) is None]
        assert all(line.startswith(("INFO: ", "WARNING: ")) for line in rest), rest
        assert server.log.count("Current thread") == workers * times


def test_one_process_writes_its_stacks_to_the_file(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    with serving("web:app", "--log-file", str(log)) as server:
        server.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: "Current thread" in log.read_text())
        assert server.get("/")[0] == 200
        assert server.log == ""


def test_a_file_that_cannot_be_opened_at_first_or_later(tmp_path: Path) -> None:
    done = command("--log-file", "/no/such/folder/log", "web:app")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: cannot write the log file /no/such/folder/log: No such file or directory (--log-file)\n"
    )
    folder = tmp_path / "logs"
    folder.mkdir()
    with serving("web:app", "--workers", "2", "--access-log", "--log-file", str(folder / "log")) as server:
        folder.rename(tmp_path / "moved")
        server.process.send_signal(signal.SIGUSR1)
        log = tmp_path / "moved" / "log"
        words = f"SIGUSR1: cannot reopen {folder / 'log'}: No such file or directory; the old file stays in use"
        wait_for(lambda: words in log.read_text())
        assert server.get("/")[0] == 200
        wait_for(lambda: '"GET / HTTP/1.1" 200' in log.read_text())


@pytest.mark.parametrize("workers", [1, 2])
def test_usr1_without_a_file_ends_nobody(workers: int) -> None:
    with serving("web:app", "--workers", str(workers), start_new_session=True) as server:
        os.killpg(server.process.pid, signal.SIGUSR1)
        wait_for(lambda: "SIGUSR1: there is no --log-file to reopen" in server.log)
        assert server.get("/")[0] == 200
        assert server.stop() == 0
        assert "killed" not in server.log


def test_a_traceback_of_an_application_that_cannot_boot_is_a_line_for_machines_and_shown_to_people(
    tmp_path: Path,
) -> None:
    for workers in ("1", "2"):
        options = ("--workers", workers, "--admin-port", "0", "--port", "0", "broken:app")
        done = command("--log-format", "json", *options)
        assert done.returncode == 3
        (entry,) = [entry for entry in entries(done.stderr) if entry["level"] == "critical"]
        assert "Traceback" in entry["exception"]
        log = tmp_path / f"log{workers}"
        done = command("--log-file", str(log), *options)
        assert "Traceback" in done.stderr
        assert done.stderr in log.read_text()


def test_bytes_of_a_client_do_not_break_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving("web:app", "--workers", "2", "--access-log", "--log-file", str(log)) as server:
        for target in (b"/%0d%0aERROR:forged", b"/\x9b2J", "/\u2028x".encode(), b"/\xff\x85"):
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while client.recv(4096):
                    pass
        assert server.get("/")[0] == 200
        wait_for(lambda: '"GET / HTTP/1.1" 200' in log.read_text())
        assert all(line.isprintable() for line in log.read_text().splitlines())
        assert "\nERROR" not in log.read_text()
