"""--user, --group and --umask: root's workers become somebody else, and the supervisor still does what root can."""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.probes import alive, load
from tests.server import Server, command, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(120)]

NOBODY = pwd.getpwnam("nobody")
OTHER_GROUP = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, NOBODY.pw_gid))


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may read; those of tests are for their user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def low_port() -> int:
    """Return a free port that only root may have."""
    for port in range(1023, 600, -1):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no port below 1024 is free")


def whoami(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(server.get("/")[1])
    return answer


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_are_nobody_from_before_the_import_and_for_good(workers: int) -> None:
    with serving("whoami:app", "--user", "nobody", "--workers", str(workers), port=low_port()) as server:
        found = whoami(server)
        assert found["uid"] == [NOBODY.pw_uid] * 3
        assert found["gid"] == [NOBODY.pw_gid] * 3
        assert found["groups"] == [NOBODY.pw_gid]
        assert found["imported by"] == NOBODY.pw_uid
        assert (found["home"], found["user"]) == (NOBODY.pw_dir, "nobody")
        assert found["open files"] > 3
        assert len(server.workers()) == workers
        assert {Path(f"/proc/{pid}").stat().st_uid for pid in server.workers()} == {NOBODY.pw_uid}
        assert Path(f"/proc/{server.process.pid}").stat().st_uid == 0
        assert server.total("tiny_listener_dispatch_seconds_count") == 1
        assert server.stop() == 0


def test_a_group_and_numbers() -> None:
    with serving("whoami:app", "--user", str(NOBODY.pw_uid), "--group", OTHER_GROUP.gr_name) as server:
        found = whoami(server)
        assert (found["uid"][0], found["gid"][0]) == (NOBODY.pw_uid, OTHER_GROUP.gr_gid)
        assert found["groups"] == [OTHER_GROUP.gr_gid]
        assert found["user"] == "nobody"
    with serving("whoami:app", "--user", "54321", "--group", "54322") as server:
        found = whoami(server)
        assert (found["uid"], found["gid"], found["groups"]) == ([54321] * 3, [54322] * 3, [54322])
    with serving("whoami:app", "--group", "54322") as server:
        found = whoami(server)
        assert (found["uid"], found["gid"], found["groups"]) == ([0] * 3, [54322] * 3, [54322])


def test_a_reload_binds_a_new_port_below_1024_and_loses_nothing(public: Path) -> None:
    ports = public / "ports"
    ports.write_text("")
    first = low_port()
    with serving(
        "whoami:app", "--user", "nobody", "--workers", "2", port=first, env={"MORE_PORTS": str(ports)}
    ) as server:
        with load(server) as outcomes:
            second = low_port()
            ports.write_text(str(second))
            before = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
            socket.create_connection(("127.0.0.1", second)).close()
        assert set(outcomes) == {"200"}
        os.kill(server.workers()[0], signal.SIGKILL)
        wait_for(lambda: "the next one starts now" in server.log and server.is_ready())
        assert whoami(server)["uid"] == [NOBODY.pw_uid] * 3


def test_a_worker_that_changed_its_user_dies_with_the_supervisor_though_it_is_blocked() -> None:
    with (
        serving("whoami:app", "--user", "nobody", "--workers", "2") as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
        workers = server.workers()
        wait_for(lambda: any(Path(f"/proc/{pid}/wchan").read_text().startswith("futex") for pid in workers))
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(alive, workers)))


def test_whose_files_are_whose(public: Path) -> None:
    uds, pid_file, log, control = (public / name for name in ("web.sock", "pid", "log", "control"))
    with serving(
        "whoami:app", "--user", "nobody", "--umask", "027", "--uds", str(uds), "--uds-mode", "660", "--pid-file",
        str(pid_file), "--log-file", str(log), "--control-socket", str(control), "--access-log", pass_port=False,
    ) as server:  # fmt: skip
        kept = {path.name: path.stat() for path in (uds, pid_file, log, control)}
        modes = {name: stat.S_IMODE(status.st_mode) for name, status in kept.items()}
        assert modes == {"web.sock": 0o660, "pid": 0o640, "log": 0o640, "control": 0o600}
        owners = {name: (status.st_uid, status.st_gid) for name, status in kept.items()}
        assert owners.pop("web.sock") == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert set(owners.values()) == {(0, 0)}
        log.rename(public / "old")
        server.process.send_signal(signal.SIGUSR1)
        wait_for(log.exists)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(uds))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert b'"umask":23' in client.makefile("rb").read()
        wait_for(lambda: '"GET / HTTP/1.1" 200' in log.read_text())  # nobody could not have opened it
        assert server.stop() == 0
    assert sorted(path.name for path in public.iterdir()) == ["log", "old"]


def test_the_umask_holds_for_one_process_too(public: Path) -> None:
    with serving("whoami:app", "--umask", "077", "--pid-file", str(public / "pid")) as server:
        assert whoami(server)["umask"] == 0o077
        assert stat.S_IMODE((public / "pid").stat().st_mode) == 0o600
    previous = os.umask(0)
    try:
        with serving("whoami:app", "--pid-file", str(public / "pid")):
            assert stat.S_IMODE((public / "pid").stat().st_mode) == 0o644  # never one that others may write
    finally:
        os.umask(previous)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--user", "nosuchuser"], 2, "there is no user 'nosuchuser' (--user)"),
        (["--user", str(2**32 - 1)], 2, "there is no user '4294967295' (--user)"),
        (["--user", "54321"], 2, "user 54321 has no passwd entry that names its group: add --group"),
        (["--group", "nosuchgroup"], 2, "there is no group 'nosuchgroup' (--group)"),
        (["--user", "nobody", "--preload"], 2, "--preload imports the application before workers become --user"),
        (["--umask", "088"], 2, "'088' is not valid: use three octal digits, such as 027"),
        (["--umask", "1777"], 2, "'1777' is not valid: use three octal digits"),
    ],
)
def test_what_cannot_be(options: list[str], code: int, words: str) -> None:
    done = command("--admin-port", "0", *options, "whoami:app")
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_application_that_the_user_may_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "secret.py").write_text("")
    done = command("--admin-port", "0", "--port", "0", "--user", "nobody", "--app-dir", str(folder), "secret:app")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"Error: user nobody has no permission to read {folder}, the folder of the application\n" in done.stderr
