"""The carrier of events as a process: when it is there, how it ends, and who follows it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.e2e.carriers import FAKE, carried, is_gone
from tests.server import COMMAND, ROOT, command, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_there_is_none_unless_it_is_needed(tmp_path: Path) -> None:
    with carried(tmp_path, env={"NOT_CARRIED": "1"}) as one:
        assert (one.status()["carrier"], one.status()["events"]) == (None, None)
        assert len(one.server.workers()) == 2
        assert "libsqlite3" not in Path(f"/proc/{one.server.process.pid}/maps").read_text()
        done = one.ctl("events")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "no carrier of events runs here" in done.stderr


def test_a_killed_carrier_is_followed_by_another_that_knows_whom_to_expect(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        first = one.pid()
        wait_for(lambda: one.heard_by_all(str(first)))
        assert one.noted[0] == f"start {first} expected []"
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: pid if (pid := one.pid()) != first else None)
        wait_for(lambda: one.heard_by_all(str(second)))
        assert f"start {second} expected [0, 1]" in one.noted
        wait_for(lambda: json.loads(one.server.get("/heard")[1]) == [str(first), "end", str(second)])
        carrier = one.status()["carrier"]
        assert (carrier["restarts"], carrier["last_exit"][:17]) == (1, "killed by SIGKILL")
        assert f"The carrier of events (pid {first}) killed by SIGKILL" in one.server.log
        assert one.server.total("process_resident_memory_bytes", worker="carrier") > 1e6


def test_a_hung_carrier_is_killed_and_its_stacks_are_logged(tmp_path: Path) -> None:
    with carried(tmp_path, "--hang-timeout", "1") as one:
        first = one.pid()
        wait_for(lambda: one.heard_by_all(str(first)))
        assert one.server.get("/say/hang")[0] == 200
        second = wait_for(lambda: pid if (pid := one.pid()) != first else None)
        wait_for(lambda: one.heard_by_all(str(second)))
        assert one.status()["carrier"]["last_exit"] == "hung for 1 s"
        assert "its event loop has been blocked for 1 s (--hang-timeout): killing it" in one.server.log
        assert "line " in one.server.log.partition("wrote its stacks:")[2]


@pytest.mark.parametrize(("whole_group", "is_late"), [(False, False), (True, False), (False, True)])
def test_it_outlives_the_drain_of_the_workers(tmp_path: Path, whole_group: bool, is_late: bool) -> None:
    with carried(tmp_path, workers=2) as one:
        carrier = one.pid()
        wait_for(lambda: one.heard_by_all(str(carrier)))
        asking = threading.Thread(target=one.server.get, args=("/slow",))
        asking.start()
        wait_for(lambda: any(line.endswith("begun") for line in one.noted))
        for pid in [*one.server.workers()] if whole_group else []:
            os.kill(pid, signal.SIGTERM)
        if is_late:
            os.kill(carrier, signal.SIGSTOP)
            threading.Timer(1, os.kill, (carrier, signal.SIGCONT)).start()
        assert one.server.stop() == 0
        asking.join()
        closed = one.noted.index("closed")
        assert any(line.endswith("settled") for line in one.noted[:closed])
        # A carrier that had no time until the last worker was gone hears at once that it is to stop, and what came from
        # the worker: the end of the link comes behind its last words, and so behind the end of the carrier.
        assert set(one.noted[closed + 1 :]) <= {"0 end", "1 end"}
        assert is_gone(carrier)
        assert "killing" not in one.server.log


def test_a_reload_leaves_it_alone_and_links_the_new_workers(tmp_path: Path) -> None:
    with carried(tmp_path, "--reload-probation", "0") as one:
        carrier = one.pid()
        wait_for(lambda: one.heard_by_all(str(carrier)))
        assert one.ctl("reload").returncode == 0
        wait_for(lambda: one.noted.count("attach 0") == one.noted.count("attach 1") == 2)
        wait_for(lambda: sum(line.endswith(" end") for line in one.noted) == 2)
        assert one.pid() == carrier


def test_an_operator_asks_and_commands(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        one.pid()
        shown = one.ctl("status", "--once").stdout
        assert re.search(r"^carrier  ready +\d+ .* MiB", shown, re.MULTILINE)
        in_words = (
            "events: 5 waiting, the oldest for 2 s, 1 of them for a retry, 2 in flight, 2 dead (crashed 2), memory"
        )
        assert in_words in shown
        assert one.ctl("events").stdout.startswith(in_words)
        assert json.loads(one.ctl("events", "--json").stdout)["waiting"] == 5
        head, *rows = one.ctl("dead").stdout.splitlines()
        assert head.split() == ["ID", "EVENT", "KEY", "REASON", "ATTEMPTS", "DIED", "ERROR"]
        assert [row.split()[0] for row in rows] == [f"id-{n}" for n in range(1, 8)]
        assert rows[0].endswith("1970-01-01 00:00:03Z  ValueError: bad\\x1b[31m")
        letters = [json.loads(line) for line in one.ctl("dead", "--json", "--limit", "3").stdout.splitlines()]
        assert [letter["number"] for letter in letters] == [1, 2, 3]
        assert "x" * 200_000 in one.ctl("dead", "show", "id-3").stdout
        assert one.ctl("dead", "redrive", "--reason", "crashed", "--rate", "5").stdout == "7 events to put back\n"
        assert one.ctl("dead", "discard", "id-3").stdout == "the dead letter of the event id-3 is deleted\n"
        assert "AskRedrive(reason='crashed', id=None, rate=5.0)" in one.noted
        assert one.ctl("halted").stdout.splitlines()[1].split() == ["bob", "id-1", "3"]
        for wrong, code, words in (
            (("skip", "bob"), 1, "the key 'bob' is not halted"),
            (("dead", "show", "id-9"), 1, "there is no dead letter of the event id-9"),
            (("dead", "--reason", "x"), 2, "'x' is not one of"),
            (("dead", "--reason", "crashed", "redrive"), 2, "options before redrive do nothing: put them behind it"),
            (("dead", "redrive", "--rate", "0"), 2, "0.0 is not in the range"),
        ):
            done = one.ctl(*wrong)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
            assert words in done.stderr


def test_it_writes_to_the_log_file_that_was_reopened(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with carried(tmp_path, "--log-file", str(log)) as one:
        carrier = one.pid()
        log.rename(tmp_path / "old")
        one.server.process.send_signal(signal.SIGUSR1)
        wait_for(log.exists)
        wait_for(lambda: os.readlink(f"/proc/{carrier}/fd/{descriptor_of(one.server.process.pid, log)}") == str(log))


def descriptor_of(pid: int, file: Path) -> str:
    """Return the file descriptor that a process has of a file."""
    return next(fd for fd in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{fd}") == str(file))


def test_it_writes_its_stacks_when_it_is_asked(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        carrier = one.pid()
        assert one.ctl("dump").returncode == 0
        wait_for(lambda: f"The carrier of events (pid {carrier}) wrote its stacks:" in one.server.log)
        assert one.pid() == carrier


@pytest.mark.root
def test_it_has_the_rights_of_the_workers(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    with carried(tmp_path, "--user", "nobody", env={"HOME": str(tmp_path)}) as one:
        carrier = one.pid()
        uids = re.findall(r"^Uid:\t(.*)$", Path(f"/proc/{carrier}/status").read_text(), re.MULTILINE)
        assert uids[0].split() == ["65534"] * 4
        os.kill(one.server.process.pid, signal.SIGKILL)
        wait_for(lambda: is_gone(carrier), what="it dies with the supervisor, whose rights it gave up")


def test_a_child_of_the_application_does_not_hide_the_end_of_its_worker(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        carrier = one.pid()
        wait_for(lambda: one.heard_by_all(str(carrier)))
        assert one.server.get("/fork")[0] == 200
        for process in one.status()["processes"]:
            os.kill(process["pid"], signal.SIGKILL)
        wait_for(lambda: sum(line.endswith(" end") for line in one.noted) == 2)


def test_a_second_signal_kills_it_too(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        carrier = one.pid()
        one.server.stop(signal.SIGQUIT)
        assert is_gone(carrier)
        assert "closed" not in one.noted


def test_it_dies_with_the_supervisor(tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        carrier = one.pid()
        one.server.stop(signal.SIGKILL)
        wait_for(lambda: is_gone(carrier))


def test_a_store_that_was_asked_for_is_there_or_the_server_does_not_start(tmp_path: Path) -> None:
    with carried(tmp_path, "--events", "memory", env={"NOT_CARRIED": "1"}) as one:
        assert one.status()["carrier"]["state"] == "ready"
        assert one.status()["events"]["waiting"] == 5
    (tmp_path / "failure").write_text("the folder /x is not writable:\nuse another one")
    done = subprocess.run(
        [*FAKE, *COMMAND, "--workers", "2", "--port", "0", "--admin-port", "0", "--events", "memory", "carried:app"],
        cwd=ROOT / "tests" / "apps", capture_output=True, text=True, timeout=30, check=False,
        env={**os.environ, "FAKE_FAILURE": str(tmp_path / "failure"), "FAKE_LOG": str(tmp_path / "noted")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
    assert said == ["Error: the folder /x is not writable: use another one"]


def test_a_store_that_fails_later_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "failure").write_text("the disk is full")
    with carried(tmp_path) as one:
        wait_for(lambda: (one.status()["carrier"] or {}).get("last_exit") == "the disk is full")
        assert one.server.get("/heard") == (200, b"[]")
        assert "cannot start, and events wait: the disk is full" in one.server.log
        one.failure.unlink()
        carrier = one.pid()
        wait_for(lambda: one.heard_by_all(str(carrier)))
        assert one.noted[0] == f"start {carrier} expected []"


def test_events_survive_the_carrier_and_the_supervisor_in_the_order_of_their_keys(tmp_path: Path) -> None:
    file, store = tmp_path / "counted", f"sqlite:{tmp_path / 'store'}"
    env = {"COUNTS_FILE": str(file)}

    def counted(key: str) -> list[int]:
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        return [int(n) for one, n in lines if one == key]

    with serving("counts:app", "--workers", "3", "--events", store, env=env) as server:
        publishing = threading.Thread(target=server.get, args=("/go/a/0/300",), kwargs={"method": "POST"})
        publishing.start()
        wait_for(lambda: len(counted("a")) > 30)
        os.kill(json.loads(server.admin("/status.json")[1])["carrier"]["pid"], signal.SIGKILL)
        publishing.join()
        wait_for(lambda: counted("a")[-1] == 299)
        taken = command("--workers", "2", "--events", store, "--port", "0", "--admin-port", "0", "counts:app")
        said = [line for line in taken.stderr.splitlines() if not line.startswith("INFO: ")]
        assert (taken.returncode, len(said)) == (1, 1)
        assert "only one server at a time can use a store of events" in said[0]
        server.get("/go/later/0/5", method="POST")
        server.stop(signal.SIGKILL)
    with serving("counts:app", "--workers", "3", "--events", store, env=env) as server:
        wait_for(lambda: counted("later")[-1:] == [4])
        assert server.stop() == 0
        assert "killing" not in server.log
    for key, last in (("a", 299), ("later", 4)):
        seen = counted(key)
        assert seen == sorted(seen)
        assert set(seen) == set(range(last + 1))


def test_events_of_an_earlier_run_start_it(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "tiny-listener" / "carried"
    folder.mkdir(parents=True)
    (folder / "events.db").touch()
    with carried(tmp_path, env={"NOT_CARRIED": "1"}) as one:
        assert one.pid()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--events", "redis:"), "'redis:' is no store of events: use sqlite:DIR"),
        (("--events", "sqlite:"), "'sqlite:' is no store of events: use sqlite:DIR"),
        (("--events", "sqlite:///x"), "is a URL, and a folder is expected"),
        (("--events", "memory", "--events-sync", "full"), "--events-sync does nothing with --events memory"),
        (("--events-max", "0"), "0 is not in the range x>=1"),
        (("--events-partitions", "4097"), "4097 is not in the range"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: tuple[str, ...], words: str) -> None:
    done = command(*options, "carried:app")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert words in done.stderr
