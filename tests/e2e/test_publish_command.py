"""`tiny-listener publish`: for a server that runs, for one that will, and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import command, serving
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """The environment of a user of its own: nobody else's servers are found."""
    for name in ("run", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    return {
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "COUNTS_FILE": str(tmp_path / "counts"),
    }


def publish(place: dict[str, str], *options: str, app: str = "counts:app") -> tuple[int, str]:
    done = command("publish", app, *options, env=place)
    return done.returncode, done.stdout + done.stderr


def counted(place: dict[str, str]) -> list[str]:
    path = Path(place["COUNTS_FILE"])
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_events_wait_for_the_server_and_reach_one_that_runs(place: dict[str, str], workers: str) -> None:
    code, text = publish(place, "count a 1", "--key", "a", "--id", "first")
    assert (code, text) == (0, "first is stored\n")
    with serving("counts:app", "--workers", workers, env=place) as server:
        wait_for(lambda: counted(place) == ["a 1"])
        assert publish(place, "count a 2", "--key", "a")[1].endswith(" is stored\n")
        wait_for(lambda: counted(place) == ["a 1", "a 2"])
        assert publish(place, "count a 1", "--key", "a", "--id", "first") == (0, "first is stored already\n")
        (socket,) = Path(place["XDG_RUNTIME_DIR"]).rglob("*.sock")
        assert publish(place, "count b 1", "--socket", str(socket))[0] == 0
        assert publish(place, "count b 2", "--pid", str(server.process.pid))[0] == 0
        wait_for(lambda: sorted(counted(place)[2:]) == ["b 1", "b 2"])
        view = json.loads(ctl(place, "events", "--json"))
        (route,) = view["routes"]
        assert (route["route"], route["counters"]["published"]) == (
            "count {key} {n:int}",
            {"stored": 4, "duplicate": 1},
        )


@pytest.mark.parametrize("is_new", [True, False])
def test_the_server_decides_on_the_partitions(place: dict[str, str], is_new: bool) -> None:
    options = ("--workers", "1", "--events-partitions", "16")
    if not is_new:
        with serving("counts:app", *options, "--events", f"sqlite:{place['XDG_STATE_HOME']}/s", env=place):
            pass
    store = ("--events", f"sqlite:{place['XDG_STATE_HOME']}/s")
    assert publish(place, "count a 1", *store)[0] == 0
    with serving("counts:app", *options, *store, env=place):
        wait_for(lambda: counted(place) == ["a 1"])


def ctl(place: dict[str, str], *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tiny_listener.cli.ctl", *args],
        env={**os.environ, **place}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_of_another_application_does_not_get_it(place: dict[str, str], tmp_path: Path) -> None:
    store = f"sqlite:{tmp_path / 'other'}"
    with serving("counts:app", "--workers", "2", "--events", store, env=place):
        assert publish(place, "count mine 1")[0] == 0
        assert publish(place, "count its 1", "--events", store)[0] == 0
        wait_for(lambda: counted(place) == ["its 1"])
        assert counted(place) == ["its 1"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("nothing of the kind",), "No handler is registered for the event 'nothing of the kind'"),
        (("POST:/fail/1",), "No handler is registered for the published event 'POST:/fail/1'"),
        (("count a 1", "--data", "{"), "--data is no JSON"),
        (("count a 1", "--data", "@/no/such/file"), "--data @/no/such/file: No such file or directory"),
        (("count a 1", "--key", ""), "key= takes 1 to 256 bytes of UTF-8, not 0"),
        (("count a 1", "--key", "k" * 300), "key= takes 1 to 256 bytes of UTF-8, not 300"),
        (("count a 1", "--data", "[" * 100_000), "--data is no JSON"),
        (("count a 1", "--delay", "-1"), "'--delay'"),
        (("count a 1", "--delay", "nan"), "delay= takes 0 or more seconds, not nan"),
        (("count a 1", "--delay", "inf"), "delay= takes 0 or more seconds, not inf"),
        (("count a 1", "--events", "memory"), "memory belongs to a server that runs"),
        (("count a 1", "--events", "sqlite:/proc/nothing"), "/proc/nothing"),
        (("count a 1", "--socket", "/no/such/socket"), "no server answers at /no/such/socket"),
    ],
)
def test_what_is_refused(place: dict[str, str], options: tuple[str, ...], message: str) -> None:
    code, text = publish(place, *options)
    assert code in {1, 2}, text
    assert text.count("\n") == 1
    assert message in text, text
    assert counted(place) == []


def test_data_comes_from_a_file_or_from_stdin(place: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data").write_text('{"n": 1}')
    assert publish(place, "count a 1", "--data", f"@{tmp_path / 'data'}")[0] == 0
    assert publish(place, "count a 1", "--data", "@-")[1].startswith("Error: --data is no JSON")
    (tmp_path / "data").write_text(f'"{"x" * 262_144}"')
    code, text = publish(place, "count a 1", "--data", f"@{tmp_path / 'data'}")
    assert (code, text.count("\n")) == (1, 1)
    assert "at most 262144 are allowed" in text
    assert publish(place, "count a 1", app="counts")[0] == 2
