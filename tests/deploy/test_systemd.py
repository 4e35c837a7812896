"""The units of deploy/systemd: what systemd makes of them, and whether what they forbid is what the server needs."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT, Server, free_ports, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

UNITS = ROOT / "deploy" / "systemd"
BIN = Path(sys.executable).parent
MOST_EXPOSURE = 25
"""Of 100: `systemd-analyze security` calls it OK below 50, and says 92 of a unit without any of this."""


def settings(unit: Path) -> dict[str, list[str]]:
    """The values of each key of a unit, in their order."""
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


SERVICE = settings(UNITS / "tiny-listener.service")
SOCKET = settings(UNITS / "tiny-listener.socket")


def here(line: str, folder: Path, *more: str) -> list[str]:
    """A command line of the unit with the paths of this machine; more options come before its last word."""
    line = line.replace("/srv/venv/bin", str(BIN)).replace("/run/tiny-listener", str(folder))
    *words, last = shlex.split(line)
    return [*words, *more, last]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """Copies whose paths are there."""
    service = (UNITS / "tiny-listener.service").read_text().replace("/srv/venv/bin", str(BIN))
    (tmp_path / "tiny-listener.service").write_text(service.replace("/srv/hello", str(ROOT / "examples")))
    (tmp_path / "tiny-listener.socket").write_text((UNITS / "tiny-listener.socket").read_text())
    return tmp_path


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("name", ["tiny-listener.service", "tiny-listener.socket"])
def test_systemd_has_nothing_to_say_about_a_unit(name: str, units: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", units / name], capture_output=True, text=True, check=False)
    assert "tiny-listener" not in done.stdout + done.stderr, done.stderr
    assert done.returncode == 0


@pytest.mark.needs("systemd-analyze")
def test_verify_does_find_what_is_wrong(units: Path) -> None:
    wrong = units / "tiny-listener.service"
    wrong.write_text(wrong.read_text().replace("WatchdogSec=30", "WatchdogSec=soon"))
    done = subprocess.run(["systemd-analyze", "verify", wrong], capture_output=True, text=True, check=False)
    assert "Failed to parse" in done.stderr


@pytest.mark.needs("systemd-analyze")
def test_little_is_open(units: Path) -> None:
    def analyze(threshold: int) -> subprocess.CompletedProcess[str]:
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}"]
        return subprocess.run([*command, units / "tiny-listener.service"], capture_output=True, text=True, check=False)

    done = analyze(MOST_EXPOSURE)
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout
    assert analyze(1).returncode != 0


def test_times_fit_the_options() -> None:
    words = SERVICE["ExecStart"][0].split()
    options = dict(itertools.pairwise(words))
    boot, graceful = float(options.get("--boot-timeout", 60)), float(options.get("--graceful-timeout", 30))
    assert float(SERVICE["TimeoutStartSec"][0]) > boot
    # A worker that does not end has one second more, and is killed then.
    assert float(SERVICE["TimeoutStopSec"][0]) > float(options.get("--drain-delay", 0)) + graceful + 1
    assert {"2", "3"} == set(SERVICE["RestartPreventExitStatus"][0].split())


# --- the first connection starts the server -------------------------------------------------------


def ask_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(b"GET /user/Bob HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").read()


@contextlib.contextmanager
def activated(folder: Path, *listens: str) -> Iterator[Server]:
    """The unit's own command under systemd-socket-activate, which waits for a connection first."""
    (admin,) = free_ports(1)
    places = [word for place in listens for word in ("-l", place)]
    environment = [word for name in ("XDG_RUNTIME_DIR", "PYTHONUNBUFFERED", "PATH") for word in ("-E", name)]
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["systemd-socket-activate", *places, *environment,
             *here(SERVICE["ExecStart"][0], folder, "--admin-port", str(admin))],
            cwd=ROOT / "examples", stdout=file, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
    server = Server(process, 0, admin, log)
    try:
        wait_for(lambda: server.log.count("Listening on") == len(listens), what="systemd-socket-activate listens")
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.mark.needs("systemd-socket-activate")
@pytest.mark.parametrize("first", ["tcp", "unix"])
def test_the_first_connection_starts_the_server(first: str, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    path = tmp_path / "activated.sock"
    tcp, unix = SOCKET["ListenStream"]
    with activated(
        tmp_path, tcp.replace("8000", str(port)), unix.replace("/run/tiny-listener.sock", str(path))
    ) as server:
        with pytest.raises((OSError, http.client.HTTPException)):
            server.admin("/livez")  # nothing runs yet
        if first == "tcp":
            assert request(port, "/user/Bob") == (200, b"Hello, Bob!")
        assert ask_unix(path).endswith(b"Hello, Bob!")
        assert request(port, "/user/Bob") == (200, b"Hello, Bob!")
        wait_for(server.is_ready)
        status = json.loads(server.admin("/status.json")[1])
        workers = SERVICE["ExecStart"][0].split()[2]
        assert (str(status["workers"]), status["state"]) == (workers, "ready")
        assert len(server.workers()) == status["workers"]
        assert sorted(status["addresses"]) == sorted([f"127.0.0.1:{port}", f"unix:{path}"])

        reload = subprocess.run(here(SERVICE["ExecReload"][0], tmp_path), capture_output=True, text=True, check=False)
        assert reload.returncode == 0, reload.stderr
        assert "4 workers reloaded" in reload.stdout
        assert request(port, "/user/Bob") == (200, b"Hello, Bob!")
        assert server.stop() == 0


def test_a_reload_that_fails_fails_for_systemd_too(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text((ROOT / "examples" / "http_web.py").read_text())
    control = ["--control-socket", str(tmp_path / "control.sock")]
    with serving("app:app", "--workers", "2", *control, cwd=tmp_path) as server:
        app.write_text("broken(")
        reload = subprocess.run(here(SERVICE["ExecReload"][0], tmp_path), capture_output=True, text=True, check=False)
        assert reload.returncode == 1
        assert "the old workers keep serving" in reload.stderr
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")


# --- what the unit forbids ------------------------------------------------------------------------


def allowed_calls() -> set[str]:
    """The system calls of SystemCallFilter=, as this systemd has its groups."""

    def members(group: str) -> set[str]:
        done = subprocess.run(
            ["systemd-analyze", "--no-pager", "syscall-filter", group], capture_output=True, text=True, check=True
        )
        names = {line.strip() for line in done.stdout.splitlines() if line.startswith("    ")}
        names -= {name for name in names if name.startswith("#")}
        nested = {name for name in names if name.startswith("@")}
        return (names - nested).union(*map(members, sorted(nested)))

    allowed, *denied = SERVICE["SystemCallFilter"]
    left = members(allowed)
    for group in denied:
        assert group.startswith("~")
        left -= members(group[1:])
    # systemd lets these through whatever the filter says (systemd.exec(5)): the program has to start and to end.
    return left | {"execve", "exit", "exit_group", "getrlimit", "rt_sigreturn", "sigreturn"}


@pytest.fixture
def may_trace() -> None:
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not trace (ptrace)")


@pytest.mark.needs("strace")
@pytest.mark.needs("systemd-analyze")
@pytest.mark.usefixtures("may_trace")
def test_the_server_needs_nothing_that_the_unit_forbids(tmp_path: Path) -> None:
    trace, control = tmp_path / "trace", tmp_path / "control.sock"
    launcher = ("strace", "-D", "-f", "-q", "-o", str(trace))
    options = ["--workers", "2", "--control-socket", str(control), "--access-log"]
    with serving("web:app", *options, launcher=launcher) as server:

        def ctl(*words: str) -> None:
            subprocess.run([BIN / "tiny-listenerctl", "--socket", control, *words], check=True, capture_output=True)

        assert server.get("/user/Bob")[0] == server.get("/stream")[0] == 200
        assert server.get("/echo", method="POST", body=b"x" * 100_000)[0] == 200
        assert server.admin("/metrics")[0] == server.admin("/overview.json")[0] == 200
        ctl("reload")
        ctl("scale", "3")
        wait_for(server.is_ready)
        ctl("scale", "1")
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: "killed by SIGKILL" in server.log)
        wait_for(server.is_ready)
        ctl("dump")
        wait_for(lambda: "Current thread" in server.log)
        ctl("stop")
        assert server.process.wait(30) == 0
        wait_for(lambda: re.search(rf"^{server.process.pid} +\+\+\+ exited", trace.read_text(), re.MULTILINE))
    text = trace.read_text()
    calls = set(re.findall(r"^\d+ +(\w+)\(", text, re.MULTILINE))
    assert {"accept4", "fork" if "fork" in calls else "clone", "setsockopt", "socket"} <= calls
    assert calls - allowed_calls() == set()
    families = set(re.findall(r"^\d+ +socket\((\w+)", text, re.MULTILINE))
    assert families - set(SERVICE["RestrictAddressFamilies"][0].split()) == set()
    executable = re.findall(r"^.*\bmmap\(.*PROT_WRITE\|PROT_EXEC.*$|^.*\bmprotect\(.*PROT_EXEC.*$", text, re.MULTILINE)
    assert SERVICE["MemoryDenyWriteExecute"] == ["yes"]
    assert executable == []
