"""What fails at each step of a worker's life, and what the supervisor makes of it: never a zombie, never a leak."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.probes import alive, established, listening
from tests.server import APPS, COMMAND, ROOT, Server, command, free_port, free_ports, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def broken(what: str, where: Path) -> tuple[str, ...]:
    """A launcher that lets a call fail while a file is there."""
    return (sys.executable, str(ROOT / "tests" / "faults.py"), what, str(where))


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def zombies(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if not alive(int(child))]


@contextmanager
def nothing_leaks(server: Server, workers: int = 2) -> Iterator[None]:
    """What happens in the block leaves as many children, sockets and file descriptors as there were."""
    wait_for(lambda: established(server.admin_port) == 0)  # its sockets would count
    files = open_files(server.process.pid)
    yield
    wait_for(lambda: server.is_ready() and len(server.workers()) == workers)
    wait_for(lambda: not zombies(server.process.pid))
    wait_for(lambda: open_files(server.process.pid) <= files, what=f"at most {files} open files")
    wait_for(lambda: listening(server.port) == workers)


@pytest.mark.parametrize("error", ["EAGAIN", "ENOMEM"])
def test_a_first_fork_that_fails_ends_the_server_with_one_line(tmp_path: Path, error: str) -> None:
    where = tmp_path / "fault"
    where.write_text(f"{error} 1")  # the first worker is there, and must not stay
    port = free_port()
    done = subprocess.run(
        [*broken("os.fork", where), *COMMAND, "--port", str(port), "--admin-port", "0", "--workers", "2", "web:app"],
        cwd=APPS, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    words = os.strerror(getattr(errno, error))
    assert done.returncode == 1
    assert f"Error: worker 1 cannot be forked: {words}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert listening(port) == 0


@pytest.mark.parametrize(
    ("what", "error"),
    [("os.fork", "EAGAIN"), ("socket.socketpair", "EMFILE"), ("tiny_listener_metrics.ledger.format_row", "ENOMEM")],
)
def test_a_fork_that_fails_later_is_tried_again(tmp_path: Path, what: str, error: str) -> None:
    where = tmp_path / "fault"
    with serving("web:app", "--workers", "2", launcher=broken(what, where)) as server, nothing_leaks(server):
        where.write_text(error)
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: server.log.count("cannot be forked") >= 3)
        assert "Worker 0 cannot be forked: " in server.log or "Worker 1 cannot be forked: " in server.log
        assert server.get("/") == (200, b"Welcome!")
        assert server.admin("/readyz")[0] == 503
        where.unlink()
        wait_for(server.is_ready)
        assert "Traceback" not in server.log


def test_a_watcher_that_cannot_be_forked_is_one_line(tmp_path: Path) -> None:
    where = tmp_path / "fault"
    where.write_text("EAGAIN")
    run = [*broken("os.fork", where), *COMMAND, "--reload", "--admin-port", "0", "--port", str(free_port()), "web:app"]
    done = subprocess.run(run, cwd=APPS, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    words = "cannot fork the process that watches files (--reload): Resource temporarily unavailable"
    assert [line for line in done.stderr.splitlines() if not line.startswith("INFO")] == [f"Error: {words}"]


def test_a_reload_whose_fork_fails_leaves_the_old_workers_and_the_next_one_works(tmp_path: Path) -> None:
    where = tmp_path / "fault"
    with serving("web:app", "--workers", "2", launcher=broken("os.fork", where)) as server, nothing_leaks(server):
        workers = server.workers()
        where.write_text("EAGAIN")
        server.process.send_signal(signal.SIGHUP)
        words = "The new worker 0 cannot be forked (Resource temporarily unavailable): the old workers keep serving"
        wait_for(lambda: words in server.log)
        assert server.workers() == workers
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: "SIGTTIN: cannot start more than 2 workers: Resource temporarily unavailable" in server.log)
        where.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(server.workers()) == 2 and not set(workers) & set(server.workers()))
        assert "Traceback" not in server.log


def test_a_worker_that_dies_before_it_is_ready(tmp_path: Path) -> None:
    gate = tmp_path / "die"
    with serving("faulty:app", "--workers", "2", env={"DIE": str(gate)}) as server, nothing_leaks(server):
        gate.touch()
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: server.log.count("exited with code 9 after") >= 2)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "exited with code 9 before it was ready: the old workers keep serving" in server.log)
        gate.unlink()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/die", "exited with code 5 after"),
        ("/close", "exited with code 1 after"),  # it takes the supervisor for dead
        ("/deaf", "closed its channel to the supervisor: killing it"),  # it takes nothing for anything: it is blocked
        ("/garble", "sent an invalid message"),
    ],
)
def test_a_worker_that_breaks_its_channel_or_itself(path: str, words: str) -> None:
    with serving("faulty:app", "--workers", "2") as server, nothing_leaks(server):
        with contextlib.suppress(Exception):
            server.get(path)
        wait_for(lambda: words in server.log)
        assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_worker_without_file_descriptors_says_one_line_and_goes_on(workers: str) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return server.get("/") == (200, b"Welcome!")
        return False

    with serving("web:app", "--workers", workers, preexec_fn=few) as server:
        pids = server.workers() or [server.process.pid]
        with contextlib.ExitStack() as clients:

            def one_more() -> bool:  # the kernel chooses the worker
                with contextlib.suppress(OSError):
                    clients.enter_context(socket.create_connection(("127.0.0.1", server.port), 1))
                return server.log.count("All 40 file descriptors are in use (RLIMIT_NOFILE)") == int(workers)

            wait_for(one_more)
        wait_for(lambda: server.log.count("File descriptors are available again") == int(workers))
        wait_for(answers)
        assert (server.workers() or [server.process.pid]) == pids
        assert server.log.count("file descriptors are in use") == int(workers)
        assert "Traceback" not in server.log


def test_a_supervisor_without_file_descriptors_says_one_line_and_goes_on(tmp_path: Path) -> None:
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (45, 45))

    control = str(tmp_path / "control")  # of the admin endpoint's clients there are never so many
    with serving("web:app", "--workers", "2", "--control-socket", control, preexec_fn=few) as server:
        with contextlib.ExitStack() as clients:

            def one_more() -> bool:
                client = clients.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)  # noqa: FBT003
                with contextlib.suppress(OSError):
                    client.connect(control)
                return "All 45 file descriptors are in use (RLIMIT_NOFILE)" in server.log

            wait_for(one_more)
            assert server.get("/") == (200, b"Welcome!")
        wait_for(lambda: "File descriptors are available again" in server.log)
        wait_for(server.is_ready)
        assert "Traceback" not in server.log
        assert len(server.log.splitlines()) < 20


def test_a_pid_file_on_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    full = (
        'mount -t tmpfs -o size=4k none "$0" && head -c 4096 /dev/zero > "$0/fill"; "$@"; code=$?; ls "$0"; exit $code'
    )
    launcher = ["unshare", "--mount", "sh", "-c", full, str(tmp_path)]
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a namespace of mounts (unshare --mount)")
    pid_file = tmp_path / "pid"
    done = subprocess.run(
        [*launcher, *COMMAND, "--admin-port", "0", "--pid-file", str(pid_file), "web:app"],
        cwd=APPS, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.stderr == f"Error: cannot write the pid file {pid_file}: No space left on device\n"
    assert (done.returncode, done.stdout) == (1, "fill\n")


def test_a_pid_file_that_is_a_device_is_left_alone() -> None:
    done = command("--admin-port", "0", "--pid-file", "/dev/null", "web:app")
    assert done.returncode == 1
    assert done.stderr == "Error: cannot write the pid file /dev/null: it is not a regular file; choose another path\n"
    assert Path("/dev/null").is_char_device()


def few_files(count: int) -> Callable[[], None]:
    """What gives a process, before it runs its command, so many file descriptors."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def answered(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return request(port, "/") == (200, b"Welcome!")
    return False


def test_a_takeover_that_failed_is_tried_again_when_it_can_succeed() -> None:
    with serving("web:app", "--workers", "2", preexec_fn=few_files(40)) as server:
        with contextlib.ExitStack() as clients:

            def one_more() -> bool:  # the kernel chooses the worker
                with contextlib.suppress(OSError):
                    clients.enter_context(socket.create_connection(("127.0.0.1", server.port), 1))
                return server.log.count("All 40 file descriptors are in use (RLIMIT_NOFILE)") == 2

            wait_for(one_more)
            server.process.send_signal(signal.SIGTTOU)
            wait_for(lambda: "siblings take over its accept queue" in server.log)
        wait_for(lambda: len(server.workers()) == 1)
        # Every second connection is in the queue of the slot that was left.
        wait_for(lambda: all(answered(server.port) for _ in range(16)))
        assert "Traceback" not in server.log


def test_a_retired_slot_of_many_addresses_is_served(tmp_path: Path) -> None:
    ports = free_ports(70)
    env = {"PORTS_FILE": str(tmp_path / "ports")}
    (tmp_path / "ports").write_text(",".join(map(str, ports)))
    with serving("ports:app", "--workers", "2", pass_port=False, env=env) as server:
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: len(server.workers()) == 1)
        for port in (*ports[:3], *ports[-3:]):
            for _ in range(12):
                with socket.create_connection(("127.0.0.1", port), 10) as client:
                    assert client.makefile().read() == "hello"
        assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("message", "shown"),
    [("'é' * 70_000", "é" * 1000), (r"'bad \udcff name'", r"RuntimeError: bad \udcff name")],
    ids=["long", "surrogate"],
)
def test_an_odd_traceback_of_an_application_that_cannot_boot_is_shown_once(
    tmp_path: Path, message: str, shown: str
) -> None:
    (tmp_path / "odd.py").write_text(f"raise RuntimeError({message})\n")
    done = command("--workers", "2", "--admin-port", "0", "--port", "0", "--app-dir", str(tmp_path), "odd:app")
    assert done.returncode == 3
    assert shown in done.stderr
    assert done.stderr.count("Traceback") <= 1
    assert done.stderr.count("\n") < 12
    assert "cut off" not in done.stderr
