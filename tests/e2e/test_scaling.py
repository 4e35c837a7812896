"""TTIN and TTOU: one worker more, one fewer, and no connection lost by either."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.probes import answers, established, listeners, load, versions
from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def scale(server: Server, sig: signal.Signals, workers: int) -> None:
    """Signal, and wait until there are so many workers, and all of them serve."""
    ready = server.log.count("is ready")
    server.process.send_signal(sig)
    wait_for(lambda: len(server.workers()) == workers, what=f"{workers} workers")
    if sig == signal.SIGTTIN:
        wait_for(lambda: server.log.count("is ready") == ready + 1)
    assert server.is_ready()


def test_workers_come_and_go_and_nothing_is_lost() -> None:
    with serving("web:app", "--workers", "2") as server:
        with load(server, clients=6) as outcomes:
            for _ in range(5):
                for sig, workers in (
                    (signal.SIGTTIN, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1), (signal.SIGTTIN, 2),
                ):  # fmt: skip
                    scale(server, sig, workers)
                    seen = outcomes["200"]
                    # Some are in the queue of a slot without a worker: were it not served, all clients soon wait there.
                    wait_for(lambda seen=seen: outcomes["200"] > seen + 100)  # type: ignore[misc]
        assert set(outcomes) == {"200"}, outcomes
        assert "SIGTTIN: scaling from 2 to 3 workers" in server.log
        assert server.total("tiny_listener_dispatch_seconds_count") == outcomes["200"]
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_slot_comes_back_with_its_number_and_socket(gate: Path) -> None:
    with serving("hands_over:app", "--workers", "3", env={"GATE": str(gate)}) as server:
        scale(server, signal.SIGTTOU, 2)
        wait_for(lambda: sum(map(listeners, server.workers())) == 3)
        assert set(answers(server)) == {"0", "1"}
        gate.unlink()
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: len(server.workers()) == 3)
        assert server.is_ready()  # it serves as it did; the new worker boots
        assert set(answers(server)) == {"0", "1"}
        gate.touch()
        wait_for(lambda: set(answers(server)) == {"0", "1", "2"})
        wait_for(lambda: [listeners(pid) for pid in server.workers()] == [1, 1, 1])
        scale(server, signal.SIGTTIN, 4)
        wait_for(lambda: set(answers(server)) == {"0", "1", "2", "3"})


def test_the_last_worker_stays_and_none_is_stopped_by_a_signal_to_the_whole_group() -> None:
    with serving("web:app", "--workers", "2", start_new_session=True) as server:
        scale(server, signal.SIGTTOU, 1)
        worker = server.workers()
        os.killpg(server.process.pid, signal.SIGTTOU)
        wait_for(lambda: "SIGTTOU: cannot scale below 1 worker; to end the server, stop it" in server.log)
        assert all(server.get("/")[0] == 200 for _ in range(10))
        assert server.workers() == worker


def test_a_retired_worker_finishes_what_it_has_in_flight() -> None:
    with serving("web:app", "--workers", "2") as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
        try:
            for client in clients:
                client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: established(server.port) >= 8 and server.total("tiny_listener_accept_queue") == 0)
            server.process.send_signal(signal.SIGTTOU)
            assert [client.recv(4096)[:15] for client in clients] == [b"HTTP/1.1 200 OK"] * 8
        finally:
            for client in clients:
                client.close()
        wait_for(lambda: len(server.workers()) == 1)


def test_a_retired_slot_stays_so_when_its_worker_is_killed_or_a_sibling_is(gate: Path) -> None:
    with serving("hands_over:app", "--workers", "2", env={"GATE": str(gate)}) as server:
        first, second = server.workers()
        os.kill(second, signal.SIGSTOP)  # it never drains
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: "SIGTTOU: scaling from 2 to 1 worker" in server.log)
        os.kill(second, signal.SIGKILL)
        wait_for(lambda: server.workers() == [first])
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: server.workers() not in ([], [first]) and server.is_ready())
        assert len(server.workers()) == 1
        assert set(answers(server)) == {"0"}


def test_a_slot_leaves_while_it_is_being_replaced(version: Path, tmp_path: Path) -> None:
    barrier = tmp_path / "barrier"
    os.mkfifo(barrier)
    with serving("changing:app", "--workers", "2", env={"VERSION_FILE": str(version)}) as server:
        first = server.workers()
        version.write_text(str(barrier))
        server.process.send_signal(signal.SIGHUP)
        with barrier.open("w") as opened:
            opened.write("2")
        # Slot 0 has its new worker; that of slot 1 boots, and waits.
        wait_for(lambda: server.log.count("is being replaced") == 2 and len(set(first) & set(server.workers())) == 1)
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: len(server.workers()) == 1)
        assert versions(server) == {"2"}
        version.write_text("3")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: versions(server) == {"3"})
        scale(server, signal.SIGTTIN, 2)
        assert "keep serving" not in server.log
        assert versions(server) == {"3"}


def test_a_retired_slots_queue_is_served_through_a_stops_delay_and_none_is_added() -> None:
    with serving("web:app", "--workers", "2", "--drain-delay", "600") as server:
        scale(server, signal.SIGTTOU, 1)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not server.is_ready())
        server.process.send_signal(signal.SIGTTIN)
        wait_for(lambda: "SIGTTIN: cannot change the number of workers while they are stopping" in server.log)
        assert all(server.get("/")[0] == 200 for _ in range(30))
        assert len(server.workers()) == 1
        assert server.stop(signal.SIGTERM) == 0  # the second: at once
