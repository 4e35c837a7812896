"""`--reload`: files change while the command runs, and workers follow."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.e2e.probes import alive, load
from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

APP = """
import asyncio

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/")
async def hello() -> str:
    return "{text}"


@app.get("/slow")
async def slow() -> None:
    print("in flight")
    await asyncio.Event().wait()
"""
BROKEN = "def\n"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}  # on, whatever the tests run with
one_and_two = pytest.mark.parametrize("workers", [1, 2])


def save(file: Path, source: str, changed: float | None = None) -> None:
    """Put a source in place in one step, as editors do.

    :param changed: the time of the file's last change; None: now
    """
    new = file.with_name(f"{file.name}.new")
    new.write_text(source)
    if changed is not None:
        os.utime(new, (changed, changed))
    new.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The application's source, in a folder of its own."""
    folder = tmp_path / "project"
    folder.mkdir()
    file = folder / "hello.py"
    save(file, APP.format(text="one"))
    return file


def watcher(server: Server) -> int:
    """Return the process id of the watcher."""
    (pid,) = re.findall(r"Watching .* \(pid (\d+)\)", server.log)
    return int(pid)


def serving_workers(server: Server) -> set[int]:
    """Return the process ids of the workers."""
    return set(server.workers()) - {watcher(server)}


def says(server: Server, text: str, requests: int = 10) -> bool:
    """Whether every worker that happens to be asked answers with a text."""
    return {server.get("/")[1].decode() for _ in range(requests)} == {text}


@one_and_two
def test_a_change_is_served_and_no_connection_is_refused(file: Path, workers: int) -> None:
    with serving("hello:app", "--reload", "--workers", str(workers), cwd=file.parent) as server:
        assert f"INFO:     Watching {file.parent} for changes of *.py (pid {watcher(server)})\n" in server.log
        first = serving_workers(server)
        assert len(first) == workers
        with load(server) as outcomes:
            for text in ("two", "three"):
                save(file, APP.format(text=text))
                wait_for(lambda text=text: says(server, text))  # type: ignore[misc]
        assert set(outcomes) == {"200"}, outcomes
        wait_for(lambda: len(serving_workers(server)) == workers and not first & serving_workers(server))
        noun = "worker" if workers == 1 else "workers"
        assert server.log.count(f"INFO:     hello.py changed: reloading {workers} {noun}\n") == 2
        assert server.process.poll() is None
        pid = watcher(server)
        assert server.stop() == 0
        assert not alive(pid)


@one_and_two
def test_a_syntax_error_waits_for_the_next_change(file: Path, workers: int) -> None:
    with serving("hello:app", "--reload", "--workers", str(workers), cwd=file.parent) as server:
        first = serving_workers(server)
        save(file, BROKEN)
        wait_for(lambda: "before it was ready: the old workers keep serving" in server.log)
        assert says(server, "one")
        assert serving_workers(server) == first
        assert server.log.count("SyntaxError") == 1
        save(file, APP.format(text="two"))
        wait_for(lambda: says(server, "two"))
        assert server.log.count("SyntaxError") == 1


@one_and_two
def test_a_first_boot_that_fails_waits_for_the_next_change(file: Path, workers: int) -> None:
    save(file, BROKEN)
    options = ["--reload", "--workers", str(workers)]
    with serving("hello:app", *options, cwd=file.parent, until_ready=False) as server:
        for attempt in (1, 2):  # a change that mends nothing is tried, and said, once more
            wait_for(lambda n=attempt: server.log.count("before it was ready: waiting for the next change\n") == n)  # type: ignore[misc]
            wait_for(lambda: not serving_workers(server))
            assert server.log.count("SyntaxError") == attempt
            assert server.process.poll() is None
            assert server.admin("/readyz")[0] == 503
            if attempt == 1:
                save(file, BROKEN)
        save(file, APP.format(text="two"))
        wait_for(server.is_ready)
        assert says(server, "two")
        assert f"ready on 127.0.0.1:{server.port}\n" in server.log


def test_a_worker_that_dies_is_replaced_unless_its_code_is_broken_by_now(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent) as server:
        first = serving_workers(server)
        os.kill(first.pop(), signal.SIGKILL)
        wait_for(lambda: "Worker 0 killed by SIGKILL" in server.log and server.is_ready())
        save(file, BROKEN)
        wait_for(lambda: "the old workers keep serving" in server.log)
        os.kill(serving_workers(server).pop(), signal.SIGKILL)
        wait_for(lambda: "before it was ready: waiting for the next change\n" in server.log)
        assert server.log.count("SyntaxError") == 1
        save(file, APP.format(text="two"))
        wait_for(server.is_ready)
        assert says(server, "two")


def test_a_change_while_new_code_boots_is_not_lost(file: Path) -> None:
    gate = file.with_name("gate")
    os.mkfifo(gate)
    with serving("hello:app", "--reload", "--workers", "2", cwd=file.parent) as server:
        save(file, f"open({str(gate)!r}).read()\n")
        with gate.open("w"):  # the new worker is in the midst of the import, and would stay there
            save(file, APP.format(text="two"))
            wait_for(lambda: says(server, "two"))
        assert server.log.count("hello.py changed: reloading 2 workers\n") == 2
        assert "Traceback" not in server.log
        assert "ERROR" not in server.log


def test_a_change_while_the_first_code_boots_is_not_lost(file: Path) -> None:
    gate = file.with_name("gate")
    os.mkfifo(gate)
    save(file, f"open({str(gate)!r}).read()\n")
    with serving("hello:app", "--reload", cwd=file.parent, until_ready=False) as server, gate.open("w"):
        save(file, APP.format(text="two"))
        wait_for(server.is_ready)
        assert says(server, "two")
        assert "ERROR" not in server.log


def test_files_that_do_not_matter(file: Path) -> None:
    ignored = [file.parent / name / "code.py" for name in ("__pycache__", ".git", "node_modules", "generated")]
    for other in ignored:
        other.parent.mkdir()
    with serving("hello:app", "--reload", "--reload-exclude", "generated", cwd=file.parent) as server:
        for other in (*ignored, file.with_name("data.json")):
            other.write_text("{}")
        save(file, APP.format(text="two"))
        wait_for(lambda: says(server, "two"))
        # Had one of them mattered, it would have come first, or stand beside the one that does.
        assert re.findall(r"(.*) changed: reloading", server.log) == ["INFO:     hello.py"]


def test_folders_and_patterns_come_from_the_config_file_too(file: Path, tmp_path: Path) -> None:
    text = tmp_path / "texts" / "text.txt"
    text.parent.mkdir()
    text.write_text("one")
    save(file, APP.format(text="{}").replace('"{}"', f"open({str(text)!r}).read()") + f"open({str(text)!r}).close()\n")
    (file.parent / "pyproject.toml").write_text(
        f"[tool.tiny-listener]\nreload = true\nreload-dir = [{str(text.parent)!r}]\nreload-include = '*.txt'\n"
    )
    with serving("hello:app", cwd=file.parent) as server:
        assert f"Watching {text.parent} for changes of *.py, *.txt (pid " in server.log
        first = serving_workers(server)
        save(file, APP.format(text="of no interest"))
        save(text, "two")
        wait_for(lambda: len(serving_workers(server)) == 1 and not first & serving_workers(server))
        assert re.findall(r"(.*) changed: reloading", server.log) == [f"INFO:     {text}"]


def test_requests_in_flight_and_idle_connections_do_not_hold_the_old_code(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent) as server:
        (old,) = serving_workers(server)
        address = ("127.0.0.1", server.port)
        with socket.create_connection(address) as idle, socket.create_connection(address) as busy:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert idle.recv(4096).endswith(b"one")
            busy.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "in flight" in server.log)
            save(file, APP.format(text="two"))
            wait_for(lambda: says(server, "two"))
            assert idle.recv(4096) == b""
            wait_for(lambda: not alive(old))  # sooner than the graceful timeout that there is without --reload
        assert "Cancelled after the graceful timeout of 1 s" in server.log


def test_changes_within_a_second_that_leave_the_size_are_seen_in_spite_of_bytecode(file: Path) -> None:
    save(file, APP.format(text="one"), changed=1e9)
    with serving("hello:app", "--reload", cwd=file.parent, env=BYTECODE) as server:
        assert list(file.parent.glob("__pycache__/hello.*.pyc"))  # bytecode of what was there before is cached
        second = float(int(time.time()) + 1)
        for text in ("two", "six", "ten"):
            save(file, APP.format(text=text), changed=second)
            wait_for(lambda text=text: says(server, text))  # type: ignore[misc]


def test_a_watcher_that_dies_is_said_once_and_a_signal_reloads(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent) as server:
        os.kill(watcher(server), signal.SIGKILL)
        words = "ERROR:    The watcher killed by SIGKILL (by hand, or out of memory?); changed files no longer trigger"
        wait_for(lambda: words in server.log)
        save(file, APP.format(text="two"))
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: says(server, "two"))
        assert server.log.count("The watcher ") == 1
        assert server.stop() == 0


def test_a_watcher_that_cannot_watch_says_why_and_the_application_serves(file: Path, tmp_path: Path) -> None:
    (tmp_path / "watchfiles.py").write_text("raise OSError('no more watches\\nfor you')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with serving("hello:app", "--reload", cwd=file.parent, env={"PYTHONPATH": path}) as server:
        assert says(server, "one")
        assert "ERROR:    The watcher failed: no more watches for you; changed files no longer trigger" in server.log
        assert "Watching" not in server.log


def test_signals_for_the_whole_group_leave_the_watcher_to_the_supervisor(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent, start_new_session=True) as server:
        os.killpg(server.process.pid, signal.SIGHUP)
        wait_for(lambda: "SIGHUP: reloading 1 worker" in server.log)
        pid = watcher(server)
        assert alive(pid)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
        assert "The watcher" not in server.log
        assert not alive(pid)


def test_watcher_and_workers_do_not_outlive_the_supervisor(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent) as server:
        children = server.workers()
        assert watcher(server) in children
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(alive, children)))


def reloads(server: Server) -> list[str]:
    """Return the lines that say what changed."""
    return re.findall(r"(\S+ changed): reloading", server.log)


@pytest.mark.parametrize(("writes", "between"), [(8, 0.02), (30, 0.01), (12, 0.06)])
def test_a_file_that_is_written_again_and_again_is_one_reload_or_two(file: Path, writes: int, between: float) -> None:
    with serving("hello:app", "--reload", cwd=file.parent) as server:
        for number in range(writes):
            file.write_text(APP.format(text=f"version {number}"))
            written = time.monotonic()
            wait_for(lambda since=written: time.monotonic() >= since + between)  # type: ignore[misc]
        wait_for(lambda: says(server, f"version {writes - 1}"))
        file.with_name("last.py").write_text("")
        wait_for(lambda: "last.py changed" in server.log)
        assert 1 <= len(reloads(server)) - 1 <= 2, server.log


def limited(what: str, count: int) -> list[str]:
    """Return a launcher of the command in a user namespace of its own that has so few watches, or instances.

    See user_namespaces(7) and /proc/sys/user in proc(5).
    """
    script = f'echo {count} > /proc/sys/user/max_inotify_{what} && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


@pytest.mark.needs("unshare")
@pytest.mark.parametrize(("what", "count"), [("watches", 0), ("watches", 2), ("instances", 0)])
def test_where_no_watch_is_left_files_are_looked_at(file: Path, what: str, count: int) -> None:
    folders = [file.with_name(name) for name in ("a", "b", "c")]
    for folder in folders:
        folder.mkdir()
    with serving("hello:app", "--reload", cwd=file.parent, launcher=limited(what, count)) as server:
        noun = {"watches": "watch", "instances": "instance"}[what]
        words = f"WARNING:  No inotify {noun} is left (fs.inotify.max_user_{what}): "
        assert server.log.count(words) == 1
        for number, folder in enumerate(folders):
            save(folder / "module.py", "")
            wait_for(lambda n=number: len(reloads(server)) == n + 1)  # type: ignore[misc]
        save(file, APP.format(text="two"))
        wait_for(lambda: says(server, "two"))


@pytest.mark.needs("unshare")
def test_watches_that_run_out_later_are_noticed_too(file: Path) -> None:
    with serving("hello:app", "--reload", cwd=file.parent, launcher=limited("watches", 3)) as server:
        assert "No inotify" not in server.log
        for name in ("a", "b", "c", "d"):
            file.with_name(name).mkdir()
        wait_for(lambda: "No inotify watch is left" in server.log)
        save(file.with_name("d") / "module.py", "")
        wait_for(lambda: "d/module.py changed: reloading" in server.log)
        save(file, APP.format(text="two"))
        wait_for(lambda: says(server, "two"))
