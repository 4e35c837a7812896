"""The supervisor with real processes, sockets and signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.probes import alive, established, listening, replaced
from tests.server import APPS, COMMAND, Server, command, free_port, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_workers_share_the_port_and_know_their_slots() -> None:
    with serving("web:app", "--workers", "4") as server:
        workers = server.workers()
        assert len(workers) == 4
        assert listening(server.port) == 4
        seen: dict[int, int] = {}

        def all_seen() -> bool:
            entry = json.loads(server.get("/pid")[1])
            assert entry["slot"] == entry["env"]
            assert seen.setdefault(entry["slot"], entry["pid"]) == entry["pid"]
            return len(seen) == 4

        wait_for(all_seen)
        assert sorted(seen) == [0, 1, 2, 3]
        assert sorted(seen.values()) == workers
        assert "4 workers are ready on 127.0.0.1:" in server.log
        assert server.admin("/livez") == (200, b"ok\n")
        assert server.stop() == 0
        assert not any(map(alive, workers))
        assert listening(server.port) == 0


@pytest.mark.parametrize("workers", ["1", "3"])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_is_in_flight(workers: str, sig: int) -> None:
    with serving("web:app", "--workers", workers) as server, ThreadPoolExecutor() as pool:
        answers = [pool.submit(server.get, "/slow") for _ in range(6)]
        wait_for(lambda: established(server.port) >= 6)
        assert server.stop(sig) == 0
        assert [answer.result() for answer in answers] == [(200, b"slow")] * 6
        assert "Traceback" not in server.log
        assert "never retrieved" not in server.log


def test_ctrl_c_reaches_the_whole_group_and_still_drains() -> None:
    with serving("web:app", "--workers", "2", start_new_session=True) as server, ThreadPoolExecutor() as pool:
        answer = pool.submit(server.get, "/slow")
        wait_for(lambda: established(server.port) >= 1)
        os.killpg(server.process.pid, signal.SIGINT)
        assert server.process.wait(20) == 0
        assert answer.result() == (200, b"slow")


def test_a_second_signal_ends_it_at_once() -> None:
    with serving("stuck:app", "--workers", "2") as server:
        workers = server.workers()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "in flight" in server.log)
            server.process.send_signal(signal.SIGINT)
            wait_for(lambda: "draining" in server.log)
            assert alive(server.process.pid)
            server.process.send_signal(signal.SIGINT)
            assert server.process.wait(5) == 0
        assert not any(map(alive, workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_graceful_timeout_bounds_a_stop(workers: str) -> None:
    with serving("stuck:app", "--workers", workers, "--graceful-timeout", "0.2") as server:
        client = socket.create_connection(("127.0.0.1", server.port))
        with client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            wait_for(lambda: "in flight" in server.log)
            assert server.stop() == 0
            assert "Cancelled after the graceful timeout of 0.2 s: Request(GET '/')" in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_admin_endpoint_answers_during_a_drain(workers: str) -> None:
    with (
        serving("stuck:app", "--workers", workers) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: "in flight" in server.log)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.admin("/readyz") == (503, b"not ready\n"))
        assert b"tiny_listener_events_total" in server.admin("/metrics")[1]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_quit_ends_it_at_once() -> None:
    with serving("web:app", "--workers", "2") as server:
        workers = server.workers()
        assert server.stop(signal.SIGQUIT) == 0
        assert not any(map(alive, workers))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_readiness_falls_before_the_drain_delay(workers: str) -> None:
    with serving("web:app", "--workers", workers, "--drain-delay", "1") as server:
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.admin("/readyz")[0] == 503)
        assert server.get("/") == (200, b"Welcome!")
        assert server.process.wait(20) == 0


def test_ready_only_when_every_worker_is(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    port, admin = free_port(), free_port()
    opened = threading.Event()

    def open_the_gate() -> None:
        wait_for(lambda: _status(admin) == 503, what="the admin endpoint answers while a worker boots")
        assert _status(admin) == 503
        opened.set()
        with gate.open("w"):
            pass

    thread = threading.Thread(target=open_the_gate)
    thread.start()
    env = {"GATE": str(gate)}
    with serving("gated:app", "--workers", "2", port=port, admin_port=admin, env=env) as server:
        assert opened.is_set()
        assert server.get("/")[0] == 200
    thread.join()


def _status(port: int) -> int:
    with contextlib.suppress(OSError):
        return request(port, "/readyz")[0]
    return 0


def test_workers_die_with_a_killed_supervisor() -> None:
    with serving("web:app", "--workers", "4") as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(alive, workers)), 2)
        wait_for(lambda: listening(server.port) == 0, 2)


def test_a_dead_worker_is_replaced_and_said() -> None:
    with serving("web:app", "--workers", "2") as server:
        first, second = server.workers()
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: first not in server.workers() and len(server.workers()) == 2)
        assert second in server.workers()
        wait_for(lambda: "killed by SIGKILL (by hand, or out of memory?)" in server.log)
        os.kill(second, signal.SIGTERM)
        wait_for(lambda: second not in server.workers() and len(server.workers()) == 2)
        wait_for(server.is_ready)
        assert server.get("/") == (200, b"Welcome!")
        assert listening(server.port) == 2


def _more_than(outcomes: Counter[str], count: int) -> bool:
    return outcomes["200"] > count


def test_kills_under_load_refuse_nothing() -> None:
    """kill -9 of each of 4 workers in turn, under 8 clients with a new connection for each request."""
    outcomes: Counter[str] = Counter()
    stop = threading.Event()
    lock = threading.Lock()

    def client(server: Server) -> None:
        while not stop.is_set():
            try:
                status, _ = server.get("/user/Bob")
                outcome = str(status)
            except ConnectionRefusedError:
                outcome = "refused"
            except OSError:
                outcome = "lost"
            except Exception as exc:
                outcome = type(exc).__name__
            with lock:
                outcomes[outcome] += 1

    with serving("web:app", "--workers", "4") as server:
        threads = [threading.Thread(target=client, args=(server,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        try:
            for worker in server.workers():
                wait_for(partial(_more_than, outcomes, outcomes["200"] + 200))
                os.kill(worker, signal.SIGKILL)
                wait_for(replaced(server, worker, 4))
                wait_for(server.is_ready)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        counted = server.total("http_server_request_duration_seconds_count", http_response_status_code="200")
    lost = sum(n for outcome, n in outcomes.items() if outcome != "200")
    assert outcomes["refused"] == 0
    assert lost <= 4 * 8, outcomes  # no client has more than one request in a killed worker's hands
    # What a killed worker had counted is kept; an answer that was counted may be lost on its way.
    assert outcomes["200"] <= counted <= outcomes["200"] + lost


def test_counts_survive_a_worker() -> None:
    with serving("web:app", "--workers", "2") as server:
        for _ in range(50):
            server.get("/user/Bob")
            server.get("/nothing")
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
            wait_for(replaced(server, worker, 2))
        assert server.total("tiny_listener_dispatch_seconds_count") == 50
        assert server.total("tiny_listener_not_found_total") == 50
        labels = {"http_route": "/user/{username}", "http_response_status_code": "200", "http_request_method": "GET"}
        assert server.total("http_server_request_duration_seconds_count", **labels) == 50
        assert server.total("http_server_request_duration_seconds_count", http_response_status_code="404") == 50


@pytest.mark.parametrize("workers", ["1", "3"])
def test_unix_socket(workers: str, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # its file stays behind

    def ask() -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return client.makefile("rb").read()

    options = ["--uds", str(path), "--uds-mode", "620"]
    with serving("web:app", "--workers", workers, *options, pass_port=False) as server:
        assert b"Welcome!" in ask()
        assert stat.S_IMODE(path.stat().st_mode) == 0o620
        second = command("--admin-port", "0", "--workers", workers, "--uds", str(path), "web:app")
        assert (second.returncode, "a server already listens there" in second.stderr) == (1, True), second.stderr
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        assert b"Welcome!" in ask()
        if workers != "1":
            wait_for(server.is_ready)
            before = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(server.workers()) == 3 and not before & set(server.workers()))
            assert b"Welcome!" in ask()  # those that left have not taken the file with them
        assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_inherited_socket(workers: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        fd = sock.fileno()
        options = ["--workers", workers, "--fd", str(fd)]
        with serving("web:app", *options, pass_port=False, pass_fds=[fd]) as server:
            assert request(sock.getsockname()[1], "/") == (200, b"Welcome!")
            assert server.stop() == 0


def test_every_way_to_listen() -> None:
    """Streams, plain servers, unix sockets; None, a name, IPv4, IPv6, a list; port 0 twice."""
    with serving("listens:app", "--workers", "3", pass_port=False) as server:
        places = json.loads(wait_for(lambda: [s for s in server.log.splitlines() if s.startswith("[[")])[0])
        assert len(places) >= 7
        ports = [place[1] for place in places if isinstance(place, list)]
        for place in places:
            family = (
                socket.AF_UNIX if isinstance(place, str) else socket.AF_INET6 if ":" in place[0] else socket.AF_INET
            )
            address = place if isinstance(place, str) else ("::1" if place[0] == "::" else place[0], place[1])
            for _ in range(6):
                with socket.socket(family) as client:
                    client.settimeout(10)
                    client.connect(tuple(address) if isinstance(address, tuple) else address)
                    assert client.makefile().read().startswith("slot ")
        assert len(set(ports)) >= 5  # port 0 gave different ones
        wait_for(lambda: server.log.count("already taken: True") == 3)  # each worker came to the end of its servers
        for port in set(ports):
            assert listening(port) % 3 == 0


def test_a_listener_that_consumes_for_ever_is_ready_after_a_second() -> None:
    with serving("consumes:app", "--workers", "2", pass_port=False) as server:
        assert server.stop() == 0
        assert server.log.count("drained") == 2


def test_pid_file_preload_and_affinity(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text("999999999\n")  # a stale one
    options = ["--workers", "2", "--pid-file", str(pid_file), "--preload", "--cpu-affinity"]
    with serving("web:app", *options) as server:
        assert pid_file.read_text() == f"{server.process.pid}\n"
        cores = sorted(os.sched_getaffinity(0))
        found = [os.sched_getaffinity(pid) for pid in server.workers()]
        assert {core for one in found for core in one} == set(cores[:2])
        assert all(len(one) == 1 for one in found)
        with serving("web:app", "--cpu-affinity") as single:
            assert os.sched_getaffinity(single.process.pid) == {cores[0]}
        assert server.get("/") == (200, b"Welcome!")
        assert server.stop() == 0
    assert not pid_file.exists()


def test_no_metrics() -> None:
    with serving("web:app", "--workers", "2", "--no-metrics") as server:
        assert server.get("/")[0] == 200
        assert server.admin("/metrics")[0] == 404


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_default_admin_port_that_is_taken_is_a_warning(workers: str) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 9464))
            other.listen()
        except OSError:
            pass  # somebody else's server holds it: as good
        port = free_port()
        process = subprocess.Popen(
            [*COMMAND, "--port", str(port), "--workers", workers, "web:app"],
            cwd=APPS,
            stderr=subprocess.PIPE,
        )
        try:
            wait_for(lambda: _answers(port))
        finally:
            process.terminate()
            _, err = process.communicate(timeout=20)
        assert b"port 9464 is in use; choose another with --admin-port" in err


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return request(port, "/")[0] == 200
    return False


def test_keep_alive_connections_are_not_cut_by_a_sibling_s_death() -> None:
    async def main(server: Server) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /pid HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        mine = json.loads(await reader.readexactly(length))["pid"]
        other = next(pid for pid in server.workers() if pid != mine)
        os.kill(other, signal.SIGKILL)
        wait_for(lambda: other not in server.workers() and len(server.workers()) == 2)
        writer.write(b"GET /pid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert str(mine).encode() in await reader.read()
        writer.close()

    with serving("web:app", "--workers", "2") as server:
        asyncio.run(main(server))
