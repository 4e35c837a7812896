"""Published events when a handler kills its worker, the disk is full, and the server stops under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


class Faulty:
    """A server of apps/faulty_events.py, and what its handlers have written."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder

    @property
    def lines(self) -> list[str]:
        return (self.folder / "file").read_text().splitlines()

    def publish(self, key: str, n: int, **data: Any) -> tuple[int, bytes]:
        return self.server.get(f"/publish/{key}/{n}", method="POST", body=json.dumps(data).encode())

    def view(self) -> dict[str, Any]:
        return json.loads(self.server.admin("/status.json")[1])["events"] or {}

    def ctl(self, *args: str) -> str:
        command = [sys.executable, "-m", "tiny_listener.cli.ctl", "--socket", str(self.folder / "control"), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextlib.contextmanager
def faulty(folder: Path, *options: str, store: Path | None = None, workers: int = 2) -> Iterator[Faulty]:
    (folder / "file").touch()
    env = {"FAULTY_FILE": str(folder / "file"), "FAULTY_GATE": str(folder / "gate")}
    place = ["--events", f"sqlite:{store or folder / 'store'}"]
    if workers > 1:
        place += ["--control-socket", str(folder / "control")]
    with serving("faulty_events:app", "--workers", str(workers), *place, *options, env=env) as server:
        yield Faulty(server, folder)


def test_an_event_that_kills_its_worker_is_given_up_and_harms_no_other(tmp_path: Path) -> None:
    with faulty(tmp_path, "--events-concurrency", "10") as one:
        for n in range(5):
            assert one.publish("slow", n, do="wait")[0] == 200
        wait_for(lambda: one.lines == ["slow 0 1 False"])
        with contextlib.suppress(ConnectionError, http.client.RemoteDisconnected):  # its own worker may be the one
            one.publish("poison", 1, do="die")
        wait_for(lambda: published(one, "poison", 2))
        (letter,) = wait_for(lambda: json.loads(one.ctl("dead", "--json") or "null") and [one.ctl("dead", "--json")])
        row = json.loads(letter)
        assert (row["reason"], row["key"], row["crashes"], row["error"]) == ("crashed", "poison", 3, "WorkerDied")
        assert row["attempts"] in {3, 4}  # it may have been alone at the first time
        wait_for(lambda: "poison 2 done" in one.lines)  # its key goes on
        (tmp_path / "gate").touch()
        wait_for(lambda: "slow 4 done" in one.lines)
        done = [line for line in one.lines if line.endswith("done")]
        assert [line for line in done if "slow" in line] == [f"slow {n} done" for n in range(5)]
        assert one.view()["dead"] == {"crashed": 1}


def test_a_stop_starts_nothing_more_and_counts_no_attempt(tmp_path: Path) -> None:
    with faulty(tmp_path, "--graceful-timeout", "20") as one:
        for n in range(4):
            assert one.publish("a", n, do="wait")[0] == 200
        wait_for(lambda: one.lines == ["a 0 1 False"])
        one.server.process.terminate()
        wait_for(lambda: "draining" in one.server.log)
        (tmp_path / "gate").touch()
        assert one.server.process.wait(30) == 0
    assert one.lines == ["a 0 1 False", "a 0 done"]
    with faulty(tmp_path) as one:
        wait_for(lambda: "a 3 done" in one.lines)
    assert one.lines[2:] == [line for n in (1, 2, 3) for line in (f"a {n} 1 False", f"a {n} done")]


def test_a_handler_that_is_cut_off_comes_again_with_the_same_attempt(tmp_path: Path) -> None:
    with faulty(tmp_path, "--graceful-timeout", "0.2") as one:
        assert one.publish("a", 1, do="wait")[0] == 200
        wait_for(lambda: one.lines == ["a 1 1 False"])
    (tmp_path / "gate").touch()
    with faulty(tmp_path) as one:
        wait_for(lambda: "a 1 done" in one.lines)
    assert one.lines == ["a 1 1 False", "a 1 1 True", "a 1 done"]


def published(one: Faulty, key: str, n: int) -> bool:
    """Publish, unless the worker that is asked dies."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return one.publish(key, n)[0] == 200
    return False


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m,mode=0777", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_full_disk_publishing_fails_and_handling_goes_on(tmp_path: Path, small_disk: Path) -> None:
    with faulty(tmp_path, store=small_disk / "store", workers=1) as one:
        for n in range(50):
            assert one.publish("a", n, do="wait" if n == 0 else "")[0] == 200
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"x" * 65536)
                file.flush()
        wait_for(lambda: one.publish("b", 1, pad="x" * 100_000)[0] == 500)
        wait_for(lambda: "the disk is full" in one.server.log)
        (tmp_path / "gate").touch()
        wait_for(lambda: "a 49 done" in one.lines)
        ballast.unlink()
        wait_for(lambda: one.publish("c", 1)[0] == 200)
        wait_for(lambda: "c 1 done" in one.lines)
    assert [line for line in one.lines if line.startswith("a ") and line.endswith("done")] == [
        f"a {n} done" for n in range(50)
    ]
    with faulty(tmp_path, store=small_disk / "store", workers=1) as one:
        assert one.publish("d", 1)[0] == 200
        wait_for(lambda: "d 1 done" in one.lines)
    assert not [line for line in one.lines if line.endswith(" True")], "what was settled came again"
    assert os.listdir(small_disk) == ["store"]
