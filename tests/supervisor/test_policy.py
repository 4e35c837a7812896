"""The deciding functions: who is ready, hangs, is due for recycling, and how an exit is described."""

from __future__ import annotations

import signal

import pytest
from tiny_listener_supervisor.policy import (
    Limits,
    describe_exit,
    is_hung,
    readiness_in_words,
    reason_to_recycle,
)
from tiny_listener_supervisor.worker.failures import describe_boot_failure

from tiny_listener.errors import CannotLoad
from tiny_listener.net.addresses import ListenError


def test_the_jitter_of_requests_reaches_both_its_ends() -> None:
    assert Limits().draw_max_requests(0.5) is None
    limits = Limits(max_requests=10, jitter=3)
    assert [limits.draw_max_requests(chance) for chance in (0.0, 0.3, 0.999)] == [10, 11, 13]
    assert Limits(max_requests=10).draw_max_requests(0.999) == 10


@pytest.mark.parametrize(
    ("ready", "count", "words"),
    [
        (1, 1, "1 worker is ready"),
        (2, 2, "2 workers are ready"),
        (1, 2, "1 of 2 workers is ready"),
        (0, 2, "0 of 2 workers are ready"),
    ],
)
def test_readiness_in_words(ready: int, count: int, words: str) -> None:
    assert readiness_in_words(ready, count) == words


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "exited"),
        (3, "exited with code 3"),
        (-signal.SIGKILL, "killed by SIGKILL (by hand, or out of memory?)"),
        (-signal.SIGSEGV, "killed by SIGSEGV (a fault in native code)"),
        (-signal.SIGTERM, "killed by SIGTERM"),
        (-63, "killed by signal 63"),
    ],
)
def test_exits_in_words(code: int, words: str) -> None:
    assert describe_exit(code) == words


def test_boot_failures_in_words() -> None:
    assert describe_boot_failure(CannotLoad("no")) == (1, "Error: no\n")
    assert describe_boot_failure(ListenError(98, "taken")) == (1, "Error: taken\n")
    try:
        raise ValueError("theirs")
    except ValueError as exc:
        code, text = describe_boot_failure(exc)
    assert code == 3
    assert text.startswith("Traceback")
    assert text.endswith("ValueError: theirs\n")


@pytest.mark.parametrize(
    ("stamp", "awake_since", "limit", "late", "hung"),
    [
        (99.0, 0.0, 1.0, 0.0, False),
        (98.9, 0.0, 1.0, 0.0, True),
        (98.9, 99.5, 1.0, 0.0, False),  # the supervisor itself looks again since then only
        (98.1, 0.0, 1.0, 0.9, False),  # this check is late: a worker that was blocked for as long is no worse
        (98.0, 0.0, 1.0, 0.9, True),
        (0.0, 0.0, 0.0, 0.0, False),  # no limit
    ],
)
def test_a_loop_that_is_blocked_for_longer_than_the_limit_hangs(
    stamp: float, awake_since: float, limit: float, late: float, hung: bool
) -> None:
    assert is_hung(stamp, 100.0, awake_since, limit, late) is hung


@pytest.mark.parametrize(
    ("stamp", "limit", "rest", "hung"),
    [
        (96.9, 3.0, 1.9, True),  # the limit is longer than the rest: it is as ever
        (97.1, 3.0, 1.9, False),
        (98.0, 1.0, 1.9, False),  # it said that it rests for so long
        (97.8, 1.0, 1.9, True),
        (0.0, 0.0, 1.9, False),
    ],
)
def test_who_rests_hangs_when_the_rest_is_over(stamp: float, limit: float, rest: float, hung: bool) -> None:
    assert is_hung(stamp, 100.0, 0.0, limit, rest=rest) is hung


@pytest.mark.parametrize(
    ("age", "rss", "reason"),
    [
        (10.0, 100 * 2**20, None),
        (10.1, 0, "it has lived for 10 s (--max-lifetime)"),
        (0.0, 101 * 2**20, "it uses 101 MiB of memory (--max-rss 100)"),
    ],
)
def test_why_a_worker_is_recycled(age: float, rss: int, reason: str | None) -> None:
    assert reason_to_recycle(Limits(max_lifetime=10, max_rss=100), age, rss) == reason
