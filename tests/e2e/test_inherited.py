"""Sockets that were open before the command started: by number, and those of systemd."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import APPS, COMMAND, command, free_port, request, serving
from tests.waiting import wait_for
from tiny_listener.net.addresses import ListenError
from tiny_listener.net.inherited import open_inherited, take_from_systemd

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

LAUNCH = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(fds):
    os.dup2(fd, 3 + number)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=":".join("x" * len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


def as_systemd(*socks: socket.socket) -> list[str]:
    """A command that starts another as systemd does: sockets from 3 on, and variables for the new process."""
    return [sys.executable, "-c", LAUNCH, ",".join(str(sock.fileno()) for sock in socks)]


def ask_unix(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return client.makefile("rb").read().partition(b"\r\n\r\n")[2]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[tuple[socket.socket, socket.socket, Path]]:
    path = tmp_path / "s"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        unix.bind(str(path))
        unix.listen()
        yield tcp, unix, path


@pytest.mark.parametrize("workers", ["1", "2"])
def test_sockets_of_systemd(workers: str, listening: tuple[socket.socket, socket.socket, Path]) -> None:
    tcp, unix, path = listening
    port = tcp.getsockname()[1]
    with serving(
        "inherits:app", "--workers", workers, pass_port=False, launcher=as_systemd(tcp, unix),
        pass_fds=[tcp.fileno(), unix.fileno()],
    ) as server:  # fmt: skip

        def both() -> list[dict[str, Any]]:
            return [json.loads(request(port, "/")[1]), json.loads(ask_unix(path))]

        assert all(answer["systemd"] == [] for answer in both())
        status = json.loads(server.admin("/status.json")[1])
        assert status["addresses"] == [f"127.0.0.1:{port}", f"unix:{path}"]
        labels = {labels for name, labels in server.samples() if name == "tiny_listener_accept_queue"}
        assert labels == {(("worker", "shared"),)}
        if workers == "2":
            before = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
            assert all(answer["pid"] not in before for answer in both())
        assert server.stop() == 0
    assert path.exists()  # it is systemd's


@pytest.mark.needs("systemd-socket-activate")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_systemd_s_own_launcher(workers: str, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "s"
    program = shutil.which("systemd-socket-activate")
    assert program is not None
    keep = [f"--setenv={name}" for name in os.environ]
    launcher = [program, *keep, f"--listen=127.0.0.1:{port}", f"--listen={path}"]
    with serving(
        "inherits:app", "--workers", workers, pass_port=False, launcher=launcher, until_ready=False
    ) as server:  # fmt: skip

        def starts() -> bool:  # it starts the command at the first connection
            with contextlib.suppress(OSError, http.client.HTTPException):
                return request(port, "/")[0] == 200
            return False

        wait_for(starts)
        assert json.loads(request(port, "/")[1])["systemd"] == []
        assert json.loads(ask_unix(path))["systemd"] == []
        assert server.stop() == 0


def refused(run: Callable[[], subprocess.CompletedProcess[str]], code: int = 1) -> str:
    done = run()
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("closed", "it is not open"),
        ("file", "it is not a socket"),
        ("datagram", "it is not a stream socket"),
        ("bound", "it does not listen; call listen() on it before it is passed"),
        ("netlink", "it is neither a TCP nor a unix socket"),
    ],
)
def test_what_is_no_listening_socket(kind: str, why: str, workers: str) -> None:
    with contextlib.ExitStack() as stack:
        fd = 999
        if kind == "file":
            fd = stack.enter_context(open(__file__)).fileno()  # noqa: PTH123
        elif kind != "closed":
            types = {"datagram": (2, 2, 0), "bound": (2, 1, 0), "netlink": (socket.AF_NETLINK, socket.SOCK_RAW, 0)}
            sock = stack.enter_context(socket.socket(*types[kind]))
            if kind == "bound":
                sock.bind(("127.0.0.1", 0))
            fd = sock.fileno()
        args = [*COMMAND, "--admin-port", "0", "--workers", workers, "--fd", str(fd), "web:app"]
        keep = [fd] if fd != 999 else []
        line = refused(
            lambda: subprocess.run(
                args, cwd=APPS, pass_fds=keep, capture_output=True, text=True, timeout=30, check=False
            )
        )
    assert line == f"Error: cannot listen on file descriptor {fd}: {why}"


@pytest.mark.parametrize(
    ("options", "app", "words"),
    [
        (
            ["--port", "1"],
            "web:app",
            "systemd passed sockets (LISTEN_FDS), and --port names another address: choose one",
        ),
        (["--uds", "/tmp/x"], "web:app", "and --uds names another address: choose one"),
        ([], "plain:app", "systemd's sockets (LISTEN_FDS) would not be served: plain:app is not an HTTPListener"),
    ],
)
def test_sockets_of_systemd_that_nobody_would_serve(
    options: list[str], app: str, words: str, listening: tuple[socket.socket, socket.socket, Path]
) -> None:
    tcp = listening[0]
    args = [*as_systemd(tcp), *COMMAND, "--admin-port", "0", *options, app]
    line = refused(
        lambda: subprocess.run(
            args, cwd=APPS, pass_fds=[tcp.fileno()], capture_output=True, text=True, timeout=30, check=False
        ),
        2,
    )
    assert words in line


def test_variables_that_are_for_another_process_stay() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert take_from_systemd(environ, os.getpid()) == ()
    assert environ == {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    assert take_from_systemd({}, os.getpid()) == ()


@pytest.mark.parametrize("count", ["", "-1", "many"])
def test_a_number_that_is_none(count: str) -> None:
    environ = {"LISTEN_PID": "7", "LISTEN_FDS": count, "LISTEN_FDNAMES": "x", "PATH": "/"}
    with pytest.raises(ListenError, match="is not a number; unset"):
        take_from_systemd(environ, 7)
    assert environ == {"PATH": "/"}


def test_a_refused_file_descriptor_stays_open() -> None:
    with socket.socket() as sock:
        with pytest.raises(ListenError, match="does not listen"):
            open_inherited(sock.fileno())
        sock.bind(("127.0.0.1", 0))


def test_no_systemd_is_no_change() -> None:
    done = command("--admin-port", "0", "--fd", "999", "web:app", env={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert "Error: cannot listen on file descriptor 999: it is not open" in done.stderr
