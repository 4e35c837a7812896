"""UDP: the slot's socket is the supervisor's, and no datagram that waits there is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.server import Server, free_port, free_ports, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

HOSTS = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


def ask(family: int, port: int, count: int) -> list[socket.socket]:
    """Send so many datagrams, each from a socket of its own, so that the kernel spreads them."""
    clients = []
    for number in range(count):
        client = socket.socket(family, socket.SOCK_DGRAM)
        client.settimeout(10)
        client.connect((HOSTS[socket.AddressFamily(family)], port))
        client.send(b"%d" % number)
        clients.append(client)
    return clients


def answers(clients: list[socket.socket]) -> set[int]:
    """Whoever answered; each datagram is answered once."""
    pids = set()
    for number, client in enumerate(clients):
        with client:
            said, pid = client.recv(100).split()
            assert int(said) == number
            pids.add(int(pid))
    return pids


def replaced(server: Server, old: set[int]) -> bool:
    return server.is_ready() and not old & set(server.workers()) and len(server.workers()) == len(old)


@pytest.mark.parametrize("family", list(HOSTS))
@pytest.mark.parametrize("workers", ["1", "3"])
def test_every_worker_answers(family: int, workers: str) -> None:
    port = free_port()
    with serving("datagrams:app", "--workers", workers, env={"UDP_PORT": str(port)}, pass_port=False) as server:
        pids = set(server.workers()) or {server.process.pid}
        seen: set[int] = set()
        while seen != pids:  # a new worker may still have to take its queue back from a sibling
            seen |= answers(ask(family, port, 90))
            assert seen <= pids
        assert server.stop() == 0


@pytest.mark.parametrize("family", list(HOSTS))
def test_reloads_lose_no_datagram(family: int) -> None:
    port = free_port()
    with serving("datagrams:app", "--workers", "2", env={"UDP_PORT": str(port)}, pass_port=False) as server:
        for _ in range(3):
            old = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            while not replaced(server, old):
                answers(ask(family, port, 50))
        assert "Traceback" not in server.log


def test_what_waits_is_answered_by_the_next_worker(tmp_path: Path) -> None:
    port, shut = free_port(), tmp_path / "shut"
    env = {"UDP_PORT": str(port), "SHUT": str(shut)}
    with serving("datagrams:app", "--workers", "2", env=env, pass_port=False) as server:
        shut.touch()
        old = set(server.workers())
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(server.workers()) == 2 and not old & set(server.workers()))
        waiting = ask(socket.AF_INET, port, 60)
        shut.unlink()
        assert answers(waiting) <= set(server.workers())


def test_a_slot_without_a_worker_is_read_by_a_sibling() -> None:
    port = free_port()
    with serving("datagrams:app", "--workers", "3", env={"UDP_PORT": str(port)}, pass_port=False) as server:
        server.process.send_signal(signal.SIGTTOU)
        wait_for(lambda: len(server.workers()) == 2)
        # On a busy machine one of the two may be late, and the other reads for it meanwhile.
        wait_for(lambda: answers(ask(socket.AF_INET, port, 90)) == set(server.workers()))


def test_a_takeover_leaves_the_transport_of_the_application_alone() -> None:
    """Whichever style its protocol has: it is connected once, never lost, and forty datagrams have forty answers."""
    ports = free_ports(4)
    env = {"UDP_PORTS": " ".join(map(str, ports))}
    options = ("--workers", "2", "--log-level", "debug", "--hang-timeout", "0")
    with serving("datagram_styles:app", *options, env=env, pass_port=False) as server:

        def nothing_is_taken_over() -> bool:
            # A slot whose worker opens one socket after another may be taken over repeatedly, and is handed back once.
            found = re.findall(r"(takes over|hands back) the accept queue of slot (\d+)", server.log)
            return "takes over" not in {slot: verb for verb, slot in found}.values()

        def all_answer() -> None:
            answered([ask(socket.AF_INET, port, 40) for port in ports])

        def answered(asked: list[list[socket.socket]]) -> None:
            for style, clients in enumerate(asked):
                for number, client in enumerate(clients):
                    with client:
                        assert client.recv(100) == b"%d 1 0" % number, style

        wait_for(nothing_is_taken_over)
        victim, _ = server.workers()
        os.kill(victim, signal.SIGSTOP)
        all_answer()  # by the sibling, as soon as it has what the worker does not read
        late = ask(socket.AF_INET, ports[3], 40)
        os.kill(victim, signal.SIGCONT)
        wait_for(nothing_is_taken_over)
        answered([[]] * 3 + [late])
        all_answer()
        os.kill(victim, signal.SIGKILL)
        all_answer()
        wait_for(lambda: server.is_ready() and nothing_is_taken_over())
        all_answer()
        assert "Traceback" not in server.log


def ask_at(path: Path, size: int, count: int = 40) -> set[int]:
    """Send datagrams to a unix socket, each from a socket of its own; return who answered."""
    pids = set()
    for number in range(count):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.bind(f"\0{path}-{os.getpid()}-{number}")  # in the abstract namespace: without a file
            client.sendto(b"x" * size, str(path))
            said, pid = client.recv(2 * size).split()
            assert said == b"x" * size
            pids.add(int(pid))
    return pids


@pytest.mark.parametrize("workers", ["1", "3"])
def test_datagrams_of_a_unix_socket_are_shared(workers: str, tmp_path: Path) -> None:
    path = tmp_path / "log.sock"
    env = {"UNIX_PATH": str(path)}
    with serving("datagrams:app", "--workers", workers, env=env, pass_port=False) as server:
        pids = set(server.workers()) or {server.process.pid}
        seen: set[int] = set()
        while seen != pids:
            seen |= ask_at(path, 100_000)  # longer than one of UDP can be
            assert seen <= pids
        with serving("datagrams:app", env=env, pass_port=False, until_ready=False) as other:
            assert other.process.wait(20) == 1
            assert f"cannot listen on {path}: a server already listens there" in other.log
        if workers == "3":
            assert f"3 workers are ready on unix:{path}\n" in server.log
            old = set(server.workers())
            server.process.send_signal(signal.SIGHUP)
            while not replaced(server, old):
                ask_at(path, 10)
        assert server.stop() == 0
        assert not path.exists()
        assert "Traceback" not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_refused(workers: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        env = {"UDP_PORT": str(port)}
        with serving("datagrams:app", "--workers", workers, env=env, pass_port=False, until_ready=False) as server:
            assert server.process.wait(20) == 1
            by = f"{Path('/proc/self/comm').read_text().strip()} (pid {os.getpid()})"
            said = f"cannot listen on 127.0.0.1:{port}: it is in use by {by}; stop that, or choose another port\n"
            assert said in server.log
