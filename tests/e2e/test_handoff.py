"""The queue of a slot whose worker does not serve is served by a sibling, and given back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.probes import answers, listeners, load, occupy
from tests.server import serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


def test_a_dead_slot_is_served_by_a_sibling_and_given_back(gate: Path) -> None:
    with serving("hands_over:app", "--workers", "2", env={"GATE": str(gate)}) as server:
        victim, sibling = server.workers()
        wait_for(lambda: len(answers(server)) == 2)
        gate.unlink()
        with load(server) as outcomes:
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: listeners(sibling) == 2)
            seen = outcomes["200"]
            # Half of them are in the dead slot's queue: without a handoff all clients soon wait there.
            wait_for(lambda: outcomes["200"] > seen + 500)
            lost = sum(outcomes.values()) - outcomes["200"]
            assert lost <= 8  # what the killed worker had in flight
            assert not server.is_ready()
            gate.touch()
            wait_for(server.is_ready)
            wait_for(lambda: listeners(sibling) == 1)
            seen = outcomes["200"]
            wait_for(lambda: outcomes["200"] > seen + 500)
        assert sum(outcomes.values()) - outcomes["200"] == lost, outcomes
        assert len(answers(server)) == 2


@pytest.mark.parametrize("how", ["stopped", "blocked"])
def test_a_slot_whose_worker_is_blocked_is_served_meanwhile(how: str, gate: Path) -> None:
    with serving("hands_over:app", "--workers", "3", "--hang-timeout", "0", env={"GATE": str(gate)}) as server:
        workers = server.workers()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            if how == "blocked":
                client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_for(lambda: "blocked" in server.log)
            else:
                os.kill(workers[0], signal.SIGSTOP)
            # Without a handoff those in its queue would wait forever.
            assert len(answers(server)) == 2
            if how == "stopped":
                os.kill(workers[0], signal.SIGCONT)
                wait_for(lambda: sum(map(listeners, workers)) == 3)
                wait_for(lambda: len(answers(server)) == 3)
            else:
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)


def test_a_queue_goes_to_another_sibling_when_the_first_dies(gate: Path) -> None:
    with serving("hands_over:app", "--workers", "3", env={"GATE": str(gate)}) as server:
        workers = server.workers()
        gate.unlink()
        os.kill(workers[0], signal.SIGKILL)
        sibling = wait_for(lambda: [pid for pid in workers[1:] if listeners(pid) == 2])[0]
        (last,) = set(workers[1:]) - {sibling}
        os.kill(sibling, signal.SIGKILL)
        wait_for(lambda: listeners(last) == 3)
        assert len(answers(server)) == 1
        gate.touch()
        wait_for(server.is_ready)
        wait_for(lambda: listeners(last) == 1)
        assert server.stop() == 0


def test_a_handler_that_blocks_for_ever_costs_others_a_moment_until_it_is_replaced(gate: Path) -> None:
    options = ("--workers", "4", "--hang-timeout", "3")
    with serving("hands_over:app", *options, env={"GATE": str(gate)}) as server:
        workers = server.workers()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET /block HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "blocked" in server.log)
            blocked = time.monotonic()
            slowest = 0.0
            seen: Counter[str] = Counter()
            while len(set(server.workers()) & set(workers)) == 4:
                before = time.monotonic()
                seen += answers(server, 1)
                slowest = max(slowest, time.monotonic() - before)
            assert time.monotonic() - blocked < 3 + 2  # DUMP_TIME, and two looks
        assert len(seen) == 3, seen
        assert slowest < 0.5, slowest  # what BLOCKED_AFTER alone would have them wait for
        wait_for(lambda: len(server.workers()) == 4 and server.is_ready())
        assert len(set(server.workers()) & set(workers)) == 3
        assert "in block" in server.log
        wait_for(lambda: len(answers(server)) == 4)


@pytest.mark.parametrize("who", ["somebody", "the application"])
def test_a_worker_that_drains_by_itself_is_replaced_beside_it_and_its_queue_served(who: str) -> None:
    with serving("leaves:app", "--workers", "2") as server, contextlib.ExitStack() as clients:
        workers = server.workers()
        occupy(server, "/wait", clients)
        if who == "somebody":
            os.kill(workers[0], signal.SIGTERM)
        else:
            assert server.get("/leave")[0] == 200
        with load(server) as outcomes:
            wait_for(lambda: "drains by itself after" in server.log)
            wait_for(lambda: len(server.workers()) == 3 and server.is_ready())
            seen = outcomes["200"]
            wait_for(lambda: outcomes["200"] > seen + 200)
        assert set(outcomes) == {"200"}, outcomes
        assert len(set(workers) & set(server.workers())) == 2  # it still has requests in flight
        assert server.stop(signal.SIGQUIT) == 0


def test_a_signal_to_the_whole_group_is_no_worker_s_own_idea() -> None:
    with serving("web:app", "--workers", "4", start_new_session=True) as server:
        os.killpg(server.process.pid, signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "by itself" not in server.log
        assert "the next one" not in server.log
