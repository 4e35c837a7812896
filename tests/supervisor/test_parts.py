"""The supervisor's parts, each alone: policy, table, channel, sockets."""

from __future__ import annotations

import logging
import os
import signal
import socket
from functools import partial
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from tiny_listener_supervisor.fleet.backoff import GAVE_UP, Restarts
from tiny_listener_supervisor.fleet.slot import STEPS, IllegalStep, Slot, State, Worker
from tiny_listener_supervisor.ipc.broker import SocketBroker
from tiny_listener_supervisor.ipc.channel import MAX_TEXT, Channel, ChannelClosed, GarbledMessage, channel_pair, fitting
from tiny_listener_supervisor.ipc.messages import Acquire, Address, BootFailed, Granted, Ready, Refused, Stop
from tiny_listener_supervisor.policy import (
    LIVED_LONG,
    MAX_DELAY,
    MAX_DELAY_ALONE,
    Limits,
    RestartBudget,
    describe_exit,
    is_hung,
    readiness_in_words,
    reason_to_recycle,
    restart_delay,
)
from tiny_listener_supervisor.worker.failures import describe_boot_failure

from tiny_listener.core.lifecycle import STEPS as LISTENER_STEPS
from tiny_listener.core.lifecycle import IllegalStep as IllegalListenerStep
from tiny_listener.core.lifecycle import Lifecycle
from tiny_listener.core.lifecycle import State as ListenerState
from tiny_listener.errors import CannotLoad
from tiny_listener.net.addresses import ListenError


def test_restarts_back_off_and_forget() -> None:
    failures, delays = 0, []
    for _ in range(12):
        failures, delay = restart_delay(failures, lived=0.5, chance=0.0)
        delays.append(delay)
    assert delays[:4] == [0.0, 0.1, 0.2, 0.4]
    assert all(a <= b for a, b in pairwise(delays))
    assert delays[-1] == MAX_DELAY
    assert restart_delay(failures, lived=LIVED_LONG, chance=0.0) == (0, 0.0)
    assert restart_delay(3, lived=LIVED_LONG - 0.01, chance=0.0) == (4, 0.4)
    assert restart_delay(4, lived=0.5, chance=0.0, longest=0.8) == (5, 0.8)
    assert restart_delay(5, lived=0.5, chance=0.0, longest=0.8) == (6, 0.8)


def test_chance_takes_a_quarter_of_a_delay_at_most() -> None:
    assert restart_delay(3, lived=0.5, chance=0.5)[1] == pytest.approx(0.35)
    assert restart_delay(3, lived=0.5, chance=1.0)[1] == pytest.approx(0.3)
    assert restart_delay(0, lived=0.5, chance=1.0) == (1, 0.0)


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


def test_a_budget_of_ends_is_for_a_window() -> None:
    budget = RestartBudget(2, window=10.0)
    assert [budget.spend(now) for now in (100.0, 105.0, 109.9)] == [False, False, True]
    assert budget.spent == 3
    budget = RestartBudget(2, window=10.0)
    assert [budget.spend(now) for now in (100.0, 105.0, 110.0, 114.9)] == [False, False, False, True]
    assert RestartBudget(0, window=10.0).spend(100.0)
    endless = RestartBudget(None, window=10.0)
    assert not any(endless.spend(100.0) for _ in range(1000))
    assert endless.spent == 0


def test_what_follows_on_an_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    slot = Slot(1)
    counts = {"exit": 0}
    restarts = Restarts(RestartBudget(2, window=10.0), counts, chance=lambda: 0.5)
    after = partial(restarts.after, slot, "exited", alone=False, pid=7, cause="exit")
    with caplog.at_level(logging.ERROR, "tiny_listener.supervisor"):
        assert after(State.READY, 0.5, now=1.0) == 0.0
        assert after(State.STARTING, 0.5, now=2.0) == pytest.approx(0.0875)
        assert after(State.READY, 0.5, now=3.0) is None
    assert counts == {"exit": 2}
    assert [record.getMessage() for record in caplog.records] == [
        "Worker 1 exited after 0.5 s, while ready; the next one starts now",
        "Worker 1 exited after 0.5 s, before it was ready; the next one starts in 0.088 s",
        "Worker 1 exited after 0.5 s, while ready; no restart",
        f"3 workers ended unexpectedly within 10 s, and --max-restarts is 2: giving up, with exit code {GAVE_UP}",
    ]


@pytest.mark.parametrize(
    ("was", "alone", "delay"),
    [
        (State.READY, False, 25.6),
        (State.READY, True, MAX_DELAY_ALONE),  # clients wait
        (State.DRAINING, True, MAX_DELAY_ALONE),
        (State.STARTING, True, 25.6),  # it would not serve them either
    ],
)
def test_where_no_other_serves_the_next_worker_comes_soon(was: State, alone: bool, delay: float) -> None:
    slot = Slot(1, failures=9)
    restarts = Restarts(RestartBudget(None, window=10.0), {"exit": 0}, chance=lambda: 0.0)
    assert restarts.after(slot, "exited", was, 0.5, now=1.0, alone=alone, pid=7, cause="exit") == delay
    assert slot.failures == 10


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


@pytest.mark.parametrize("old", State)
@pytest.mark.parametrize("new", State)
def test_the_table_of_a_worker_s_life(old: State, new: State) -> None:
    worker = Worker(None, 0, None, None, memoryview(b""), 0.0, state=old)  # type: ignore[arg-type]
    if new in STEPS[old]:
        worker.step(new)
        assert worker.state is new
    else:
        with pytest.raises(IllegalStep, match=f"a worker that is {old.value} cannot become {new.value}"):
            worker.step(new)


@pytest.mark.parametrize("old", ListenerState)
@pytest.mark.parametrize("new", ListenerState)
def test_the_table_of_a_listener_s_life(old: ListenerState, new: ListenerState) -> None:
    life = Lifecycle()
    life.state = old
    if new in LISTENER_STEPS[old]:
        life.step(new)
        assert life.state is new
    else:
        with pytest.raises(IllegalListenerStep, match=f"{old.value} cannot become {new.value}"):
            life.step(new)


def test_messages_and_sockets_cross_the_channel() -> None:
    ours, theirs = channel_pair()
    assert ours.receive() is None
    address = Address(2, "127.0.0.1", 80, 5)
    for message in (Acquire(1, [address]), Ready(), BootFailed(3, "x" * 60_000)):
        theirs.send(message)
        assert ours.receive() == (message, [])
    with socket.socket() as sock:
        ours.send(Granted(1), [sock.fileno(), sock.fileno()])
    received = theirs.receive()
    assert received is not None
    assert received[0] == Granted(1)
    for fd in received[1]:
        with socket.socket(fileno=fd) as lent:
            assert lent.type == socket.SOCK_STREAM
    for reply in (Refused(1, 98, "no"), Stop()):
        ours.send(reply)
        assert theirs.receive() == (reply, [])
    ours.close()
    with pytest.raises(ChannelClosed):
        theirs.receive()
    with pytest.raises(ChannelClosed):
        theirs.send(Ready())
    theirs.close()


def test_a_garbled_message_is_a_typed_error_and_leaks_nothing() -> None:
    raw, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[Ready, Stop] = Channel(end, Ready)
    with raw:
        raw.send(b"\xff\xff")
        with pytest.raises(GarbledMessage):
            channel.receive()
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(raw, [msgspec.msgpack.encode(Stop())], [0, 1])
        with pytest.raises(GarbledMessage):
            channel.receive()
        assert len(os.listdir("/proc/self/fd")) == before
        channel.close()


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", ""),
        ("a\n", "a\n"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * MAX_TEXT + "y", f"... ({MAX_TEXT + 1} bytes)\n{'x' * (MAX_TEXT - 1)}y"),
        ("é" * MAX_TEXT + "y", f"... ({2 * MAX_TEXT + 1} bytes)\n{'é' * (MAX_TEXT // 2 - 1)}y"),
        ("bad \udcff name", "bad \\udcff name"),
    ],
    ids=["empty", "short", "at the limit", "above it", "half a character", "surrogate"],
)
def test_a_text_is_made_to_fit_into_a_message(text: str, fits: str) -> None:
    assert fitting(text) == fits
    ours, theirs = channel_pair()
    theirs.send(BootFailed(3, fitting(text)))
    assert ours.receive() == (BootFailed(3, fits), [])
    ours.close()
    theirs.close()


def test_a_slot_gets_the_same_socket_again_and_each_its_own() -> None:
    broker = SocketBroker()
    address = Address(socket.AF_INET, "127.0.0.1", 0, 10)
    first = broker.acquire(0, address)
    second = broker.acquire(1, address)
    assert broker.acquire(0, address) is first
    assert second is not first
    assert first.getsockname() == second.getsockname()
    other = broker.acquire(0, Address(socket.AF_INET, "127.0.0.1", 0, 10, index=1))
    assert other.getsockname() != first.getsockname()
    six = broker.acquire(0, Address(socket.AF_INET6, "::", first.getsockname()[1], 10))
    assert six.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert len(broker.sockets) == 4
    broker.close()
    assert first.fileno() == -1


def test_a_port_that_a_stranger_shares_is_refused() -> None:
    broker = SocketBroker()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(ListenError, match=rf"in use by .* \(pid {os.getpid()}\)"):
            broker.acquire(0, Address(socket.AF_INET, "127.0.0.1", stranger.getsockname()[1], 10))
    broker.close()


def test_a_unix_socket_is_shared_and_its_file_removed(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    broker = SocketBroker()
    address = Address(socket.AF_UNIX, path, 0, 10)
    first = broker.acquire(0, address)
    assert broker.acquire(1, address) is first
    other = SocketBroker()
    with pytest.raises(ListenError, match="a server already listens there"):
        other.acquire(0, address)
    broker.close()
    assert not Path(path).exists()
    Path(path).write_text("no socket")
    with pytest.raises(ListenError, match="it is not a socket; remove it, or choose another path with --uds"):
        other.acquire(0, address)
    assert Path(path).read_text() == "no socket"


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
