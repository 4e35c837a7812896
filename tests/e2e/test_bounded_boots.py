"""A process that boots ends at once, and one whose application leaves the event loop finishes what is in flight."""

from __future__ import annotations

import contextlib
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.probes import LATE, PATIENT, occupy
from tests.server import Server, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

WAYS = ["awaits", "deaf", "deaf_to_all", "sleeps", "spins", "locked", "matches", "derives", "to_thread"]


@pytest.mark.parametrize(("workers", "sig"), [("1", signal.SIGTERM), ("1", signal.SIGINT), ("2", signal.SIGTERM)])
@pytest.mark.parametrize("where", ["import", "startup", "listen"])
@pytest.mark.parametrize("way", WAYS)
def test_a_stop_while_it_boots_ends_it_at_once(way: str, where: str, workers: str, sig: int) -> None:
    env = {"HANG": f"{where}:{way}"}
    options = ("--workers", workers, *PATIENT, "--drain-delay", "600")
    with serving("hangs:app", *options, env=env, until_ready=False) as server:
        wait_for(lambda: server.log.count("hangs") == int(workers))
        server.process.send_signal(sig)
        # 1 where the C function keeps the GIL for too long: then it is faulthandler that ends the process.
        assert server.process.wait(LATE) in ({0, 1} if way == "matches" and workers == "1" else {0})


def test_a_successor_that_boots_does_not_hold_a_stop_up() -> None:
    with serving("hangs:app", "--workers", "2", *PATIENT) as server:
        before = server.workers()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: set(server.workers()) - set(before))
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LATE) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_application_that_cannot_boot_ends_though_its_thread_does_not(workers: str) -> None:
    env = {"HANG": "startup:thread_and_fails"}
    options = ("--workers", workers, "--graceful-timeout", "0.3")
    with serving("hangs:app", *options, env=env, until_ready=False) as server:
        assert server.process.wait(20) == 3
        assert "RuntimeError: broken beside a thread" in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("where", "way", "code"),
    [
        ("startup", "exits", 7), ("startup", "interrupts", 3), ("startup", "raises", 3), ("startup", "cancels", 3),
        ("listen", "exits", 7), ("listen", "interrupts", 3), ("listen", "raises", 3), ("listen", "cancels", 3),
    ],
)  # fmt: skip
def test_whatever_ends_a_boot_is_said(where: str, way: str, code: int, workers: str) -> None:
    env = {"HANG": f"{where}:{way}"}
    with serving("hangs:app", "--workers", workers, *PATIENT, env=env, until_ready=False) as server:
        assert server.process.wait(20) == (code if workers == "1" else 3)
        if way == "exits":
            assert "The application called sys.exit(7): " in server.log
            assert workers == "1" or "exited with code 7 before it was ready" in server.log
        else:
            assert f"in {way}" in server.log  # its traceback


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("where", "way"), [("import", "sleeps"), ("startup", "sleeps"), ("startup", "awaits"), ("listen", "awaits")]
)
def test_a_boot_that_takes_too_long_says_where_it_is(where: str, way: str, workers: str) -> None:
    options = ("--workers", workers, "--boot-timeout", "0.7")
    with serving("hangs:app", *options, env={"HANG": f"{where}:{way}"}, until_ready=False) as server:
        assert server.process.wait(20) == (1 if workers == "1" else 3)
        if way == "awaits":
            assert re.search(r"Task Task-\d+ waits: .*awaits \(hangs\.py:\d+\)", server.log)
        else:
            assert re.search(r'hangs\.py", line \d+ in sleeps', server.log)
        if workers == "2":
            assert "is not ready after 0.7 s (--boot-timeout): killing it" in server.log
            assert "before it was ready" in server.log
        elif way == "awaits":
            assert "The application is not ready after 0.7 s (--boot-timeout)" in server.log


LEAVES = [("task", "exits", 7), ("task", "interrupts", 1), ("callback", "exits", 7), ("callback", "interrupts", 1)]


def begin_slow(server: Server, pool: ThreadPoolExecutor, count: int) -> list[tuple[int, bytes]]:
    """Have so many requests in flight; return a list that holds the answers when they have come."""
    answers: list[tuple[int, bytes]] = []
    for _ in range(count):
        pool.submit(server.get, "/slow").add_done_callback(lambda done: answers.append(done.result()))
    wait_for(lambda: server.log.count("slow\n") == count)
    return answers


@pytest.mark.parametrize(("what", "way", "code"), LEAVES)
def test_who_leaves_the_loop_of_one_process_lets_it_finish(what: str, way: str, code: int) -> None:
    with serving("hangs:app", *PATIENT) as server, ThreadPoolExecutor() as pool:
        answers = begin_slow(server, pool, 4)
        assert server.get(f"/{what}/{way}") == (200, b"begun")
        assert server.process.wait(20) == code
        wait_for(lambda: len(answers) == 4)
        assert answers == [(200, b"slow")] * 4
        assert server.log.count("CRITICAL: The application ") == 1
        assert f"draining, then exit code {code}" in server.log
        assert "the last callback" in server.log


@pytest.mark.parametrize(("what", "way", "code"), LEAVES)
def test_who_leaves_the_loop_of_a_worker_is_replaced_beside_it(what: str, way: str, code: int) -> None:
    with serving("hangs:app", "--workers", "2", *PATIENT) as server, contextlib.ExitStack() as clients:
        before = set(server.workers())
        # It has something in flight until the test has seen that others serve meanwhile.
        waiting = occupy(server, "/wait", clients)
        assert server.get(f"/{what}/{way}") == (200, b"begun")
        wait_for(lambda: "drains by itself" in server.log)
        wait_for(lambda: len(server.workers()) == 3 and server.is_ready())
        assert before < set(server.workers())  # it still has them
        assert {server.get("/")[0] for _ in range(60)} == {200}  # a third of them met its queue
        assert f"draining, then exit code {code}" in server.log
        assert server.stop(signal.SIGQUIT) == 0
        for client in waiting:
            assert client.recv(100) == b""
