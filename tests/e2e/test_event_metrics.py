"""The metrics of published events: they say what happened, through the deaths of workers, carrier and supervisor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROUTE = "do {what} {n:int}"


@contextlib.contextmanager
def attempts(folder: Path, workers: int = 2) -> Iterator[Server]:
    options = ("--workers", str(workers), "--events", f"sqlite:{folder / 'store'}")
    with serving("attempts:app", *options, env={"ATTEMPTS_FOLDER": str(folder)}) as server:
        yield server


def noted(folder: Path) -> Counter[str]:
    return Counter((folder / "noted").read_text().split())


def counted(server: Server, name: str, label: str = "outcome") -> Counter[str]:
    """Return the values of a counter of the route, without zeros."""
    found: Counter[str] = Counter()
    for (sample, pairs), value in server.samples().items():
        labels = dict(pairs)
        if sample == f"tiny_listener_{name}_total" and labels["route"] == ROUTE and value:
            found[labels[label]] = int(value)
    return found


def is_settled(server: Server, number: int) -> Callable[[], bool]:
    return lambda: sum(counted(server, "events_settled").values()) == number


def publish(server: Server, what: str, n: int = 0) -> str:
    status, text = server.get(f"/publish/{what}/{n}", method="POST")
    assert status == 200
    return str(text)


def kill(server: Server, victim: str) -> None:
    with contextlib.suppress(OSError):  # the worker may die before it has responded
        publish(server, f"kill-{victim}")


def test_they_are_exact_through_the_deaths_of_worker_carrier_and_supervisor(tmp_path: Path) -> None:
    with attempts(tmp_path) as server:
        for n in range(20):
            publish(server, "count", n)
        publish(server, "count")  # the same again
        publish(server, "fail-once")
        wait_for(is_settled(server, 21))
        kill(server, "worker")
        wait_for(is_settled(server, 22))
        os.kill(json.loads(server.admin("/status.json")[1])["carrier"]["pid"], signal.SIGKILL)
        wait_for(lambda: server.total("tiny_listener_carrier_restarts_total") == 1)
        publish(server, "reject")
        publish(server, "fail")
        wait_for(is_settled(server, 24))
        before = counted(server, "event_attempts")
        assert before == noted(tmp_path)
        kill(server, "supervisor")
        server.process.wait(30)
    with attempts(tmp_path) as server:
        wait_for(is_settled(server, 25))
        publish(server, "count", 20)
        wait_for(is_settled(server, 26))
        assert (
            counted(server, "event_attempts") == noted(tmp_path) == {"ok": 24, "error": 3, "rejected": 1, "crashed": 2}
        )
        assert counted(server, "events_published") == {"stored": 26, "duplicate": 1}
        assert counted(server, "events_settled") == {"ok": 24, "dead": 2}
        assert counted(server, "dead_letters", "reason") == {"attempts": 1, "rejected": 1}
        assert server.total("tiny_listener_event_delay_seconds_count", route=ROUTE) == 26
        assert server.total("tiny_listener_dead_letters_kept", reason="rejected") == 1
        assert server.total("tiny_listener_events_waiting") == 0
        assert server.total("tiny_listener_event_store_bytes") > 0
        assert server.total("tiny_listener_event_store_failing") == 0
        assert server.total("tiny_listener_event_store_commit_seconds_count") > 0
        slots = {dict(pairs)["slot"] for name, pairs in server.samples() if name == "tiny_listener_events_in_flight"}
        assert slots == {"0", "1"}


def test_one_process_has_the_same(tmp_path: Path) -> None:
    with attempts(tmp_path, workers=1) as server:
        publish(server, "fail")
        publish(server, "count")
        wait_for(is_settled(server, 2))
        server.stop(signal.SIGKILL)
    with attempts(tmp_path, workers=1) as server:
        publish(server, "count", 2)
        wait_for(is_settled(server, 3))
        assert counted(server, "event_attempts") == noted(tmp_path) == {"ok": 2, "error": 2}
        assert counted(server, "dead_letters", "reason") == {"attempts": 1}
        assert not any(name.startswith("tiny_listener_carrier") for name, _ in server.samples())
        assert json.loads(server.admin("/status.json")[1])["events"]["dead"] == {"attempts": 1}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_server_without_published_events_has_none(workers: str) -> None:
    with serving("web:app", "--workers", workers) as server:
        names = {name for name, _ in server.samples()}
        assert not any("published" in name or "carrier" in name or "store" in name for name in names)


def test_a_scrape_does_not_wait_for_a_carrier_that_does_not_answer(tmp_path: Path) -> None:
    with attempts(tmp_path) as server:
        publish(server, "count")
        wait_for(is_settled(server, 1))
        carrier = json.loads(server.admin("/status.json")[1])["carrier"]["pid"]
        os.kill(carrier, signal.SIGSTOP)
        try:
            assert counted(server, "events_settled") == {"ok": 1}
        finally:
            os.kill(carrier, signal.SIGCONT)
