"""`--max-restarts`: a budget of unplanned ends, and the end of the server when it is used up."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.probes import alive, established, replaced
from tests.server import serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_one_end_too_many_drains_the_server_and_has_its_own_exit_code() -> None:
    with serving("web:app", "--workers", "2", "--max-restarts", "1") as server, ThreadPoolExecutor() as pool:
        first = server.workers()[0]
        os.kill(first, signal.SIGKILL)
        wait_for(replaced(server, first, 2))
        wait_for(server.is_ready)
        os.kill(server.process.pid, signal.SIGHUP)  # what is planned uses nothing up
        wait_for(lambda: server.log.count("is being replaced: reload") == 2)
        wait_for(lambda: server.is_ready() and len(server.workers()) == 2)
        workers = server.workers()
        answers = [pool.submit(server.get, "/slow") for _ in range(6)]
        wait_for(lambda: established(server.port) >= 6)
        os.kill(workers[0], signal.SIGTERM)  # it finishes what it has, and nobody planned that
        assert server.process.wait(20) == 4
        assert [answer.result() for answer in answers] == [(200, b"slow")] * 6
        assert not any(map(alive, workers))
        last = server.log.splitlines()[-1]
        assert last.startswith(
            "CRITICAL: 2 workers ended unexpectedly within 60 s, and --max-restarts is 1: giving up, with"
        )


def test_ends_that_are_older_than_the_window_are_forgotten() -> None:
    options = ("--workers", "2", "--max-restarts", "1", "--max-restarts-window", "0.01")
    with serving("web:app", *options) as server:
        for _ in range(3):
            worker = server.workers()[0]
            os.kill(worker, signal.SIGKILL)
            wait_for(replaced(server, worker, 2))
        assert server.stop() == 0


def test_the_first_end_is_the_last_with_a_budget_of_none() -> None:
    with serving("web:app", "--workers", "2", "--max-restarts", "0") as server:
        os.kill(server.workers()[0], signal.SIGKILL)
        assert server.process.wait(20) == 4
        assert "1 worker ended unexpectedly within 60 s, and --max-restarts is 0" in server.log


def test_with_reload_there_is_no_budget() -> None:
    with serving("web:app", "--reload", "--max-restarts", "0") as server:
        (worker,) = _workers(server.workers(), server.log)
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: "the next one starts now" in server.log)
        wait_for(server.is_ready)


def test_of_workers_that_end_together_again_and_again_one_is_back_within_a_second() -> None:
    with serving("web:app", "--workers", "2") as server:
        for ends in range(2, 16, 2):
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
            wait_for(lambda ends=ends: server.log.count("killed by SIGKILL") == ends)  # type: ignore[misc]
            wait_for(server.is_ready)
        waits = [float(found) for found in re.findall(r"the next one starts in ([\d.]+) s", server.log)]
        assert len(waits) == 12, waits  # the first two come back at once
        assert all(min(pair) <= 1.0 for pair in zip(waits[::2], waits[1::2], strict=True)), waits


def _workers(children: list[int], log: str) -> list[int]:
    return [pid for pid in children if f"(pid {pid})" not in log]
