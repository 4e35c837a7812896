"""Totals over workers that come, die and come again: exact, and never less than before."""

from __future__ import annotations

import logging
import os
import signal
import struct
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from tiny_listener_metrics import FAMILIES, Ledger, Recorder, Row, RowError, Series
from tiny_listener_metrics.series import DISPATCH, EVENTS, EVENTS_NOT_FOUND, HTTP_DURATION, OUTCOMES, OVERFLOW

from tests.metrics.helpers import assert_not_less, route, wait_for, work, worker
from tiny_listener.core.observer import Outcome

GET_USER = "GET:/user/{username}"
LENGTH_AT = 24


def count_of(totals: dict[Series, list[int]], path: str = GET_USER) -> int:
    return sum(totals[Series(EVENTS.name, (path,))])


def test_an_empty_ledger() -> None:
    ledger = Ledger()
    assert ledger.totals() == {}
    row = ledger.open_row()
    assert ledger.totals() == {}
    ledger.close_row(row)
    assert ledger.totals() == {}


def test_a_single_word_is_enough() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        recorder.not_found()
        assert ledger.totals() == {EVENTS_NOT_FOUND.overflow: [1]}
    assert ledger.totals() == {EVENTS_NOT_FOUND.overflow: [1]}


def test_workers_are_added_up() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, one), worker(ledger) as (_, two):
        work(one, 2)
        work(two, 3)
        totals = ledger.totals()
    assert totals[Series(EVENTS.name, (GET_USER,))] == [5] * len(OUTCOMES)
    assert totals[Series(EVENTS_NOT_FOUND.name, ())] == [5]
    assert totals[Series(HTTP_DURATION.name, ("GET", "", "404"))][:2] == [5_000_000, 5]
    assert ledger.totals() == totals


def test_the_events_of_one_worker() -> None:
    ledger = Ledger()
    with worker(ledger) as (row, recorder):
        assert row.events() == 0
        work(recorder, 2)
        work(recorder, 1, "GET:/other")
        assert row.events() == 3 * len(OUTCOMES)
        before = ledger.totals()
        work(recorder, 1, "GET:/third")
        assert row.events() == 4 * len(OUTCOMES)
        assert_not_less(ledger.totals(), before)  # what was looked at in between is not lost to the totals
        dispatched = [sum(words[1:]) for series, words in ledger.totals().items() if series.family == DISPATCH.name]
        assert dispatched == [2 * len(OUTCOMES), len(OUTCOMES), len(OUTCOMES)]
        row.memory[:8] = b"damaged!"
        assert row.events() == 4 * len(OUTCOMES)


def test_series_in_another_order_in_each_worker() -> None:
    ledger = Ledger()
    paths = ["GET:/a", "GET:/b", "GET:/c"]
    with worker(ledger) as (_, one), worker(ledger) as (_, two):
        for path in paths:
            work(one, 1, path)
        ledger.totals()
        for path in reversed(paths):
            work(two, 10, path)
        work(two, 1, "GET:/d")
        totals = ledger.totals()
    assert [count_of(totals, path) for path in (*paths, "GET:/d")] == [11 * len(OUTCOMES)] * 3 + [len(OUTCOMES)]
    assert ledger.totals() == totals


def test_a_dead_worker_stays_counted_and_its_memory_goes() -> None:
    ledger = Ledger()
    with worker(ledger) as (row, recorder):
        work(recorder)
        before = ledger.totals()
        del recorder
    assert ledger.rows == ()
    assert row.memory.closed
    assert ledger.totals() == before


def test_old_and_new_routes_side_by_side() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, new):
        with worker(ledger) as (_, old):
            work(old, 1, "GET:/old")
            work(new, 1, "GET:/new")
            before = ledger.totals()
        work(new, 1, "GET:/new")
        after = ledger.totals()
    assert_not_less(after, before)
    assert (count_of(after, "GET:/old"), count_of(after, "GET:/new")) == (len(OUTCOMES), 2 * len(OUTCOMES))


def test_a_sum_does_not_go_back_when_the_order_of_adding_changes() -> None:
    """(a + b) + c is not a + (b + c) in doubles, and a merge changes the order."""
    durations = [0.1, 0.2, 0.3, 1e-7, 0.7, 1 / 3, 2 / 3, 1e5]
    ledger = Ledger()
    rows = [ledger.open_row() for _ in durations]
    for row, seconds in zip(rows, durations, strict=True):
        Recorder(row.writer()).route_added(route("e")).event_done(seconds, "ok")
    before = ledger.totals()
    for row in (rows[5], *rows[:5], *rows[6:]):
        ledger.close_row(row)
        assert ledger.totals() == before


def test_a_row_is_closed_once_and_by_its_own_ledger() -> None:
    ledger, other = Ledger(), Ledger()
    row = ledger.open_row("worker 3")
    with pytest.raises(RowError, match="worker 3"):
        other.close_row(row)
    ledger.close_row(row)
    with pytest.raises(RowError, match="worker 3"):
        ledger.close_row(row)


def test_new_series_for_ever_do_not_fill_the_ledger() -> None:
    ledger = Ledger(max_series=20)
    previous: dict[Series, list[int]] = {}
    for number in range(200):
        with worker(ledger) as (_, recorder):
            work(recorder, 1, f"GET:/{number}")
            work(recorder, 1, f"GET:/{number}/more")
            totals = ledger.totals()
            assert_not_less(totals, previous)
            previous = totals
    totals = ledger.totals()
    assert_not_less(totals, previous)
    assert len(totals) == 20 + 3
    assert sum(sum(words) for series, words in totals.items() if series.family == EVENTS.name) == 400 * len(OUTCOMES)
    assert totals[Series(EVENTS.name, (OVERFLOW,))][0] > 300


# --------------------------------------------------------------------------------------------- damage


def damage_magic(row: Row) -> None:
    row.memory[0:8] = b"garbage!"


def damage_length(row: Row) -> None:
    struct.pack_into("=Q", row.memory, LENGTH_AT, 1 << 50)


def damage_next_entry(row: Row) -> None:
    (length,) = struct.unpack_from("=Q", row.memory, LENGTH_AT)
    struct.pack_into("=Q", row.memory, LENGTH_AT, length + 64)


def damage_everything(row: Row) -> None:
    row.memory[:] = b"\xff" * len(row.memory)


def damage_sum(row: Row) -> None:
    words = memoryview(row.memory).cast("d")
    words[len(words) - 1 - DISPATCH.words] = float("nan")  # the first word is that of the 404s


@pytest.mark.parametrize("damage", [damage_magic, damage_length, damage_next_entry, damage_everything, damage_sum])
def test_a_damaged_row_keeps_what_was_read_and_spoils_nothing(
    damage: Callable[[Row], None], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger()
    row = ledger.open_row("worker 7")
    with worker(ledger) as (_, healthy):
        work(Recorder(row.writer()))
        before = ledger.totals()
        damage(row)
        for _ in range(3):
            work(healthy, 1, "GET:/healthy")
            after = ledger.totals()
            assert_not_less(after, before)
            before = after
    ledger.close_row(row)
    assert_not_less(ledger.totals(), before)
    assert count_of(ledger.totals()) == len(OUTCOMES)
    assert count_of(ledger.totals(), "GET:/healthy") == 3 * len(OUTCOMES)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "worker 7" in caplog.text


def test_an_entry_that_is_late_is_no_damage(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    with worker(ledger) as (row, recorder):
        start = 32 + struct.unpack_from("=Q", row.memory, LENGTH_AT)[0]
        work(recorder)
        written = row.memory[start : start + 8]
        row.memory[start : start + 8] = bytes(8)
        assert Series(EVENTS.name, (GET_USER,)) not in ledger.totals()
        row.memory[start : start + 8] = written
        assert count_of(ledger.totals()) == len(OUTCOMES)
    assert not caplog.records


# -------------------------------------------------------------------- any history against a plain model


class Histories(RuleBasedStateMachine):
    """Workers start, count and die in any order; a dictionary counts along."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(capacity=1 << 16)
        self.expected: dict[tuple[str, Outcome], int] = {}
        self.nanoseconds: dict[str, int] = {}
        self.recorders: dict[Row, Recorder] = {}
        self.previous: dict[Series, list[int]] = {}

    rows = Bundle("rows")

    @rule(target=rows)
    def start(self) -> Row:
        row = self.ledger.open_row()
        self.recorders[row] = Recorder(row.writer())
        return row

    @rule(row=rows, path=st.sampled_from("abc"), outcome=st.sampled_from(OUTCOMES), ms=st.integers(0, 20_000))
    def count(self, row: Row, path: str, outcome: Outcome, ms: int) -> None:
        observer = self.recorders[row].route_added(route(path))
        observer.event_done(ms / 1000, outcome)
        self.expected[path, outcome] = self.expected.get((path, outcome), 0) + 1
        self.nanoseconds[path] = self.nanoseconds.get(path, 0) + ms * 1_000_000

    @rule(row=consumes(rows))
    def die(self, row: Row) -> None:
        del self.recorders[row]
        self.ledger.close_row(row)

    @invariant()
    def totals_are_exact(self) -> None:
        totals = self.ledger.totals()
        assert_not_less(totals, self.previous)
        self.previous = totals
        for (path, outcome), count in self.expected.items():
            assert totals[Series(EVENTS.name, (path,))][OUTCOMES.index(outcome)] == count
        for path, nanoseconds in self.nanoseconds.items():
            total, *buckets = totals[Series(DISPATCH.name, (path,))]
            assert total == pytest.approx(nanoseconds, abs=len(self.recorders) + 1000)
            assert sum(buckets) == sum(totals[Series(EVENTS.name, (path,))])


Histories.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestHistories = Histories.TestCase


# -------------------------------------------------------------------------------------- real processes


def fork(run: Callable[[], None]) -> int:
    """The process id of a child that calls `run` and exits with 0, or with 1 if that raised."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    return pid


def has_exited(pid: int) -> bool:
    """Whether a child is a zombie; it stays one until `reap`."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(pid: int) -> int:
    """The exit status of a child, as `os.waitstatus_to_exitcode` has it."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_four_processes_count_while_the_parent_reads() -> None:
    ledger = Ledger()
    times, generations = 1500, 3
    living: dict[int, Row] = {}
    waiting, gate = os.pipe()

    def start(number: int, generation: int) -> None:
        row = ledger.open_row(f"worker {number}")

        def run() -> None:
            recorder = Recorder(ledger.take_row(row))
            for path in range(10):  # new series all the time, in an order of its own
                if path == 5:
                    os.read(waiting, 1)
                work(recorder, times // 10, f"GET:/{(path + number) % 10}")
            work(recorder, 1, f"GET:/of/generation/{generation}")

        living[fork(run)] = row

    for number in range(4):
        start(number, 0)
    started = 4
    let_on = 0
    previous = ledger.totals()
    while living:
        totals = ledger.totals()
        os.write(gate, b"." * (started - let_on))  # nobody ends who was not read on the way
        let_on = started
        assert_not_less(totals, previous)
        previous = totals
        for pid in [pid for pid in living if has_exited(pid)]:
            assert reap(pid) == 0
            ledger.close_row(living.pop(pid))
            if started < 4 * generations:
                start(started % 4, started // 4)
                started += 1
    totals = ledger.totals()
    assert_not_less(totals, previous)
    os.close(waiting)
    os.close(gate)
    for path in range(10):
        assert totals[Series(EVENTS.name, (f"GET:/{path}",))] == [times // 10 * 12] * len(OUTCOMES)
        assert sum(totals[Series(DISPATCH.name, (f"GET:/{path}",))][1:]) == times // 10 * 12 * len(OUTCOMES)
    assert totals[Series(EVENTS_NOT_FOUND.name, ())] == [(times + 1) * 12]
    for generation in range(generations):
        assert count_of(totals, f"GET:/of/generation/{generation}") == 4 * len(OUTCOMES)


def test_a_killed_process_stays_counted() -> None:
    ledger = Ledger()
    row = ledger.open_row()

    def run() -> None:
        recorder = Recorder(ledger.take_row(row))
        while True:
            work(recorder, 100)

    pid = fork(run)
    try:
        events = Series(EVENTS.name, (GET_USER,))
        wait_for(lambda: sum(ledger.totals().get(events, [0])) > 1000, "the child to count")
    finally:
        os.kill(pid, signal.SIGKILL)
        assert reap(pid) == -signal.SIGKILL
    before = ledger.totals()
    ledger.close_row(row)
    after = ledger.totals()
    assert after == before
    assert count_of(after) > 1000
    # Whatever moment it was killed at, the buckets are at most one event ahead of the outcomes.
    assert 0 <= sum(after[Series(DISPATCH.name, (GET_USER,))][1:]) - count_of(after) <= 1


def test_a_worker_lets_go_of_the_rows_of_others() -> None:
    ledger = Ledger()
    with worker(ledger) as (sibling, _):
        row = ledger.open_row()

        def run() -> None:
            writer = ledger.take_row(row)
            assert ledger.rows == ()
            with pytest.raises(ValueError, match="released"):
                sibling.read(1)
            work(Recorder(writer))

        assert reap(fork(run)) == 0
        assert count_of(ledger.totals()) == len(OUTCOMES)
        ledger.close_row(row)


def test_every_family_is_written_by_some_work() -> None:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        work(recorder)
    assert {series.family for series in ledger.totals()} == set(FAMILIES)
