"""`tiny-listenerctl` against servers that run, and against what only looks like one."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import socket
import stat
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_listener_supervisor.control.messages import REQUEST_LIMIT
from tiny_listener_supervisor.control.server import MAX_CLIENTS

from tests.e2e.probes import established, load
from tests.server import Server, serving
from tests.waiting import wait_for
from tiny_listener.cli.ctl import command
from tiny_listener.cli.status_table import COLUMNS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CTL = [sys.executable, "-m", "tiny_listener.cli.ctl"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of control sockets' folders."""
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def ctl(run: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CTL, *args], env={**os.environ, "XDG_RUNTIME_DIR": str(run)}, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip


@contextlib.contextmanager
def controlled(run: Path, *options: str, workers: int = 2) -> Iterator[Server]:
    with serving("web:app", "--workers", str(workers), *options, env={"XDG_RUNTIME_DIR": str(run)}) as server:
        yield server


def refused(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    assert done.returncode == code, done
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    return done.stderr


def test_a_server_is_found_shown_scaled_and_stopped(run: Path) -> None:
    with controlled(run) as server:
        socket_file = run / "tiny-listener" / f"{server.process.pid}.sock"
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket_file.parent.stat().st_mode) == 0o700
        lines = ctl(run, "status").stdout.splitlines()
        assert lines[0].startswith(
            f"tiny-listener {server.process.pid}: ready, 2 workers on 127.0.0.1:{server.port}, up "
        )
        assert lines[1].split() == " ".join(COLUMNS).split()
        assert [line.split()[:3] for line in lines[2:]] == [
            [str(slot), "ready", str(pid)] for slot, pid in enumerate(server.workers())
        ]
        assert ctl(run, "scale", "4").stdout == "scaling to 4 workers\n"
        wait_for(lambda: server.log.count("is ready") == 2)
        assert ctl(run, "scale", "1").stdout == "scaling to 1 worker\n"
        wait_for(lambda: len(server.workers()) == 1)
        shown = json.loads(ctl(run, "status", "--json").stdout)
        assert [process["state"] for process in shown["processes"]] == ["ready", "retired", "retired", "retired"]
        assert shown["processes"][0]["rss"] > 2**20
        assert shown["processes"][0]["accept_queue"] == 0
        assert [process["last_exit"] for process in shown["processes"]] == [None, "exited", "exited", "exited"]
        assert server.get("/")[0] == 200
        (events,) = [
            one["events"] for one in json.loads(ctl(run, "status", "--json").stdout)["processes"] if one["pid"]
        ]
        assert events == 1
        page = json.loads(server.admin("/status.json")[1])
        assert page["processes"][0]["pid"] == shown["processes"][0]["pid"]
        assert page.keys() == shown.keys()
        assert ctl(run, "stop").stdout == "the server stops once everything in flight has finished\n"
        assert server.process.wait(15) == 0
        assert not socket_file.exists()


def test_a_reload_a_restart_and_a_dump(run: Path) -> None:
    with controlled(run) as server:
        first = server.workers()
        assert ctl(run, "dump").stdout == "2 workers told to write stacks to the server's log\n"
        wait_for(lambda: server.log.count("Current thread") == 2)
        said = ctl(run, "reload").stdout
        assert said.startswith("2 workers reloaded within ")
        assert said.endswith(" s: version 1\n")
        shown = json.loads(ctl(run, "status", "--json").stdout)
        assert shown["reload"] == {"version": 1, "state": "done", "failure": None, "exit_code": 0}
        wait_for(lambda: len(server.workers()) == 2 and not set(first) & set(server.workers()))
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: "the next one starts now" in server.log and server.is_ready())
        shown = json.loads(ctl(run, "status", "--json").stdout)
        assert shown["version"] == 1
        assert sorted(process["restarts"] for process in shown["processes"]) == [0, 1]
        ends = {process["restarts"]: process["last_exit"] for process in shown["processes"]}
        assert ends == {0: "exited", 1: "killed by SIGKILL (by hand, or out of memory?)"}
        assert "tiny-listenerctl: reloading 2 workers" in server.log


def test_a_failed_reload_is_reported_to_waiting_and_later_clients(run: Path, version: Path) -> None:
    with serving(
        "changing:app", "--workers", "2", env={"XDG_RUNTIME_DIR": str(run), "VERSION_FILE": str(version)}
    ) as server:
        assert server.total("tiny_listener_last_reload_successful") == 1
        version.write_text("broken")
        assert refused(ctl(run, "reload")) == (
            "Error: the reload failed: worker 0 exited with code 3 before it was ready; the old workers keep serving\n"
        )
        assert "reload 1 failed: worker 0 exited with code 3 before it was ready\n" in ctl(run, "status").stdout
        assert server.total("tiny_listener_last_reload_successful") == 0
        assert server.total("tiny_listener_last_reload_exit_code") == 3
        version.write_text("2")
        began = ctl(run, "reload", "--no-wait")
        assert (began.returncode, began.stdout) == (0, "reloading: every worker is being replaced\n")
        wait_for(lambda: server.total("tiny_listener_last_reload_successful") == 1)
        wait_for(lambda: server.total("tiny_listener_reloads_total", outcome="done") == 1)
        assert server.total("tiny_listener_reloads_total", outcome="failed") == 1
        assert server.total("tiny_listener_last_reload_exit_code") == 0
        assert "failed" not in ctl(run, "status").stdout


def test_who_waits_for_a_reload_hears_of_the_servers_stop(run: Path, version: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    env = {"XDG_RUNTIME_DIR": str(run), "VERSION_FILE": str(version)}
    with serving("changing:app", "--workers", "2", "--drain-delay", "600", env=env) as server:
        version.write_text(str(gate))
        waiting = subprocess.Popen([*CTL, "reload"], env={**os.environ, **env}, stderr=subprocess.PIPE, text=True)
        with gate.open("w"):  # the successor boots
            server.process.send_signal(signal.SIGTERM)
            assert waiting.communicate(timeout=20)[1] == "Error: the server is stopping, which ends the reload\n"
        assert waiting.returncode == 1
        assert server.stop() == 0


def test_a_stop_at_once_waits_for_nobody(run: Path, version: Path) -> None:
    env = {"XDG_RUNTIME_DIR": str(run), "VERSION_FILE": str(version)}
    with serving("changing:app", "--workers", "2", env=env) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: established(server.port) >= 1 and server.total("tiny_listener_accept_queue") == 0)
            assert ctl(run, "stop", "--now").stdout == "the server stops at once\n"
            assert server.process.wait(10) == 0
        assert "tiny-listenerctl: stopping at once" in server.log


def test_eight_workers_and_one_and_no_request_is_lost(run: Path) -> None:
    with controlled(run) as server:
        with load(server, clients=6) as outcomes:
            for count in (8, 1, 4, 3, 8, 2, 1):
                assert ctl(run, "scale", str(count)).returncode == 0
                wait_for(lambda count=count: _ready_workers(run) == count, what=f"{count} workers")  # type: ignore[misc]
                seen = outcomes["200"]
                wait_for(lambda seen=seen: outcomes["200"] > seen + 100)  # type: ignore[misc]
        assert set(outcomes) == {"200"}, outcomes
        assert server.total("tiny_listener_dispatch_seconds_count") == outcomes["200"]


def _ready_workers(run: Path) -> int:
    shown = json.loads(ctl(run, "status", "--json").stdout)
    states = [process["state"] for process in shown["processes"]]
    return -1 if "draining" in states or "starting" in states else states.count("ready")


def test_what_a_server_that_stops_refuses(run: Path) -> None:
    with controlled(run, "--drain-delay", "600") as server:
        assert ctl(run, "stop").returncode == 0
        assert refused(ctl(run, "reload")) == "Error: nothing to reload while stopping\n"
        assert refused(ctl(run, "scale", "3")) == "Error: cannot change the number of workers while they are stopping\n"
        assert "stopping, 2 workers" in ctl(run, "status").stdout
        assert server.stop() == 0  # the second: at once


def test_of_several_servers_one_is_chosen_and_dead_ones_are_removed(run: Path) -> None:
    text = "no server has a control socket in"
    assert text in refused(ctl(run, "status"))
    with controlled(run) as one, controlled(run) as other:
        said = refused(ctl(run, "status"))
        for server in (one, other):
            assert f"{server.process.pid} (127.0.0.1:{server.port})" in said
        assert "2 servers are running: " in said
        assert "choose one with --pid" in said
        assert ctl(run, "--pid", str(one.process.pid), "status").stdout.startswith(f"tiny-listener {one.process.pid}:")
        assert "no server with pid 1 has" in refused(ctl(run, "--pid", "1", "status"))
        one.process.kill()
        one.process.wait()
        assert len(list((run / "tiny-listener").iterdir())) == 2
        assert ctl(run, "status").stdout.startswith(f"tiny-listener {other.process.pid}:")
        assert len(list((run / "tiny-listener").iterdir())) == 1


def test_a_socket_of_ones_own_and_none(run: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with controlled(run, "--control-socket", path):
        assert ctl(run, "--socket", path, "status").returncode == 0
        assert "no server has" in refused(ctl(run, "status"))
        assert "choose one" in refused(ctl(run, "--socket", path, "--pid", "1", "status"), 2)
    assert not Path(path).exists()
    with controlled(run, "--control-socket", ""):
        assert list(run.iterdir()) == []


@pytest.mark.root
def test_another_user_is_refused(run: Path) -> None:
    with controlled(run) as server:
        path = run / "tiny-listener" / f"{server.process.pid}.sock"
        folder = os.open(path.parent, os.O_PATH)
        try:
            path.parent.chmod(0o777)
            path.chmod(0o666)
            os.seteuid(65534)
            try:
                said = speak(f"/proc/self/fd/{folder}/{path.name}", b'{"type":"StopServer"}\n')
            finally:
                os.seteuid(0)
        finally:
            os.close(folder)
        assert said == {"type": "Denied", "text": "user 65534 may not control this server; user 0 and root may"}
        assert "Control socket: refused user 65534 (pid" in server.log
        assert server.is_ready()
        assert "is open to others (mode 777); chmod it to 700" in refused(ctl(run, "status"))
    with controlled(run) as server:
        assert "No control socket: " in server.log
        assert "or choose another path with --control-socket" in server.log


def speak(path: str, data: bytes) -> dict[str, str]:
    """Send bytes to a control socket and return the answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)
        with contextlib.suppress(BrokenPipeError):
            sock.sendall(data)
        answer: dict[str, str] = json.loads(sock.makefile("rb").read())
        return answer


def test_what_is_no_request(run: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with controlled(run, "--control-socket", path) as server:
        for data in (b"status\n", b"{}\n", b'{"type":"Kill"}\n', b'{"type":"Scale","workers":"3"}\n', b"\xff\n"):
            assert speak(path, data)["text"].startswith(
                "this version of tiny-listener does not understand the request: "
            )
        assert speak(path, b'{"type":"Scale","workers":0}\n')["text"].startswith("cannot scale below 1 worker")
        assert speak(path, b'{"type":"Scale","workers":2000}\n')["text"].startswith("cannot scale above 1024 workers")
        with socket.socket(socket.AF_UNIX) as sock:  # longer than a line may be, and no end
            sock.connect(path)
            sock.sendall(b"x" * (REQUEST_LIMIT + 1))
            assert f"one line of at most {REQUEST_LIMIT} bytes".encode() in sock.recv(4096)
        with socket.socket(socket.AF_UNIX) as silent:  # it says nothing, and is left after a while
            silent.settimeout(20)
            silent.connect(path)
            assert ctl(run, "--socket", path, "status").returncode == 0
            assert silent.recv(1) == b""
        assert server.is_ready()
        assert "Traceback" not in server.log
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "is not that of a tiny-listener"),
        (b"", "is it a tiny-listener server?"),
        (b'{"type":"Done"', "incomplete answer from"),
    ],
)
def test_what_is_no_server(run: Path, tmp_path: Path, answer: bytes, words: str) -> None:
    path = str(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()

        def serve() -> None:
            client, _ = sock.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert words in refused(ctl(run, "--socket", path, "status"))
        thread.join()
    assert "no server answers at" in refused(ctl(run, "--socket", path, "status"))


@pytest.mark.parametrize(
    "args",
    [
        ["scale"],
        ["scale", "0"],
        ["scale", "1025"],
        ["scale", "many"],
        ["start"],
        ["--pid"],
        ["skip", "a\udcff"],
        ["dead", "show", "\udcff"],
        ["dead", "discard", "\udcff"],
        ["dead", "redrive", "--id", "\udcff"],
        ["dead", "redrive", "--rate", "nan"],
        ["dead", "redrive", "--rate", "inf"],
        ["dead", "redrive", "--rate", "0"],
    ],
)
def test_wrong_commands(run: Path, args: list[str]) -> None:
    assert refused(ctl(run, *args), 2).endswith("(--help shows how)\n")


def test_watching_until_the_server_is_gone(run: Path) -> None:
    with controlled(run) as server:
        watching = subprocess.Popen(
            [*CTL, "status", "--watch", "--json"], env={**os.environ, "XDG_RUNTIME_DIR": str(run)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert watching.stdout is not None
        assert [json.loads(watching.stdout.readline())["state"] for _ in range(2)] == ["ready", "ready"]
        server.stop()
        _, said = watching.communicate(timeout=20)
        assert watching.returncode == 1
        assert "no server answers at" in said


def test_the_only_process_has_a_status_page_too() -> None:
    with serving("web:app") as server:
        shown = json.loads(server.admin("/status.json")[1])
        assert (shown["pid"], shown["state"], shown["workers"]) == (server.process.pid, "ready", 1)
        assert shown["addresses"] == [f"127.0.0.1:{server.port}"]
        assert [process["pid"] for process in shown["processes"]] == [server.process.pid]


def test_a_terminal_is_shown_the_table_until_ctrl_c(run: Path) -> None:
    with controlled(run):
        ours, theirs = pty.openpty()
        try:
            termios.tcsetwinsize(theirs, (4, 40))
            env = {**os.environ, "XDG_RUNTIME_DIR": str(run), "TERM": "xterm"}
            for name in ("NO_COLOR", "COLUMNS", "LINES"):
                env.pop(name, None)
            watching = subprocess.Popen([*CTL, "status"], env=env, stdin=theirs, stdout=theirs, stderr=theirs)
            shown = b""
            while shown.count(b"tiny-listener ") < 3:  # again and again, in place
                shown += os.read(ours, 4096)
            watching.send_signal(signal.SIGINT)
            assert watching.wait(10) == 0
        finally:
            watching.kill()
            watching.wait()
            os.close(ours)
            os.close(theirs)
        pictures = re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", shown.decode()).split("tiny-listener ")
        lines = [line.strip("\r ") for line in pictures[1].splitlines()]
        assert "ready, 2 workers on 127.0.0.1" in " ".join(lines)
        assert max(map(len, lines)) <= 40
        assert "..." in lines[-1]  # there is more than fits on four lines
        assert b"\x1b[32mready" in shown


def test_many_slow_clients_do_not_shut_out_for_long(run: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "control")
    with controlled(run, "--control-socket", path) as server, contextlib.ExitStack() as stack:
        for number in range(MAX_CLIENTS):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(path)
            client.sendall(b'{"type":' if number % 2 else b"")
        assert "more than 32 clients at once" in refused(ctl(run, "--socket", path, "status"))
        assert server.get("/")[0] == 200
        wait_for(lambda: ctl(run, "--socket", path, "status").returncode == 0)
        assert server.stop() == 0


def test_help_names_every_command(run: Path) -> None:
    out = ctl(run, "--help").stdout
    assert all(f"  {name} " in out for name in command.commands)
    assert set(command.commands) == {
        "status", "reload", "scale", "stop", "dump", "events", "dead", "halted", "skip",
    }  # fmt: skip
