"""The supervisor's side of the carrier: its life, whom it links, what it answers. The test is the carrier."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from itertools import pairwise
from typing import Any, cast

import pytest
from tiny_listener_supervisor.carrier.keeper import NO_CARRIER, Keeper
from tiny_listener_supervisor.carrier.life import STEPS, CarrierState, IllegalCarrierStep
from tiny_listener_supervisor.carrier.messages import (
    Attach,
    Begin,
    CarrierFailed,
    LinkLost,
)
from tiny_listener_supervisor.ipc.messages import CarrierLink, Stop
from tiny_listener_supervisor.worker.heartbeat import STAMP

from tests.supervisor.carrier.bench import Bench, until
from tiny_listener.events import questions


def test_the_table_is_closed_and_steps_outside_of_it_are_errors() -> None:
    assert set(STEPS) == set(CarrierState)
    keeper = Keeper(lambda: pytest.fail("forked"), 0.0, lambda: None)
    with pytest.raises(IllegalCarrierStep, match="a carrier that is absent cannot become ready"):
        keeper._step(CarrierState.READY)


def test_it_starts_with_the_first_worker_that_needs_it_and_links_all(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        bench = Bench()
        keeper = bench.keeper
        assert (keeper.status(), bench.carriers) == (None, [])
        assert await keeper.ask(questions.AskView()) == questions.Wrong(NO_CARRIER)
        early, its_end = bench.worker(11)
        keeper.want(0, early, starts=False)
        assert (keeper.state, bench.carriers) == (CarrierState.ABSENT, [])
        keeper.want(0, early)
        keeper.want(1, (late := bench.worker(12))[0])
        assert len(bench.carriers) == 1
        assert bench.last.next(Begin) == Begin([])
        assert bench.last.has_nothing()
        carrier = await bench.ready()
        assert [carrier.next(Attach) for _ in range(2)] == [Attach(0, 11), Attach(1, 12)]
        for end, (_, sock) in zip((its_end, late[1]), carrier.links, strict=True):
            message, fds = end.receive() or pytest.fail("no link")
            assert message == CarrierLink()
            with socket.socket(fileno=fds[0]) as link:
                link.send(b"hello")
                assert sock.recv(10) == b"hello"
        keeper.want(0, early)
        assert carrier.has_nothing(), "it has a link"
        keeper.want(0, early, starts=False, lost=True)
        assert carrier.next(Attach) == Attach(0, 11)
        monkeypatch.setattr("tiny_listener_supervisor.carrier.links.RETRY_SOCKETS", 0.0)
        carrier.channel.send(LinkLost(12))
        await until(lambda: (received := carrier.channel.receive()) is not None and received[0] == Attach(1, 12))
        bench.close()

    runner.run(main())


def test_a_new_carrier_is_told_whom_to_expect_and_hears_of_those_who_died(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        keeper = bench.keeper
        for slot in range(3):
            keeper.want(slot, bench.worker(10 + slot)[0])
        await bench.ready()
        keeper.forget(12)
        bench.die()
        keeper.want(7, bench.worker(17)[0])  # holds nothing of an earlier carrier
        await until(lambda: len(bench.carriers) == 2)
        assert bench.last.next(Begin) == Begin([0, 1])
        keeper.forget(11)
        carrier = await bench.ready()
        assert [carrier.next(Attach) for _ in range(3)] == [Attach(0, 10), Attach(7, 17), Attach(1, 0)]
        assert carrier.links[2][1].recv(1) == b""
        assert (keeper.restarts, cast("Any", keeper.status()).state) == (1, "ready")
        bench.close()

    runner.run(main())


def test_who_was_linked_before_a_carrier_that_never_was_ready_is_still_expected(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.keeper.want(4, bench.worker(14)[0])
        await bench.ready()
        for count in (2, 3, 4):
            bench.die()
            await until(lambda count=count: len(bench.carriers) == count)  # type: ignore[misc]
            assert bench.last.next(Begin) == Begin([4])
        bench.close()

    runner.run(main())


def test_it_is_tried_again_ever_later_while_its_store_cannot_be_opened(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        bench = Bench()
        delays: list[float] = []

        def call_later(delay: float, *_: object) -> Timer:
            delays.append(delay)
            return Timer()

        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
        bench.keeper.start()
        for _ in range(12):
            bench.last.channel.send(CarrierFailed("the disk is full"))
            bench.die(1)
            status = bench.keeper.status()
            assert status is not None
            assert (status.state, status.last_exit, status.pid) == ("dead", "the disk is full", None)
            bench.keeper.start()
        again = [delay for delay in delays if delay != 10.0]
        assert again[0] == 0.0
        assert all(a <= b for a, b in pairwise(again))
        assert again[-1] > 20
        bench.close()

    class Timer:
        def cancel(self) -> None:
            pass

    with caplog.at_level(logging.CRITICAL), asyncio.Runner() as plain:  # a loop whose methods can be replaced
        plain.run(main())
    (first, *_) = [record.getMessage() for record in caplog.records]
    assert first == "The carrier of events cannot start, and events wait: the disk is full; trying again now"


def test_at_the_boot_a_failure_is_reported_and_nothing_is_tried_again(runner: asyncio.Runner) -> None:
    async def main() -> None:
        for send, code, words in (
            (CarrierFailed("it is locked"), 1, "it is locked"),
            (None, 3, "the carrier of events exited with code 3 before it was ready"),
        ):
            bench = Bench()
            boot = asyncio.ensure_future(bench.keeper.boot())
            await until(lambda bench=bench: bench.carriers)  # type: ignore[misc]
            if send is not None:
                bench.last.channel.send(send)
            bench.die(code)
            assert await boot == words
            assert (len(bench.carriers), bench.gone, bench.keeper.stop()) == (1, 1, True)
            bench.close()
        bench = Bench()
        bench.no_fork = OSError(11, "no process left")
        assert await bench.keeper.boot() == "the carrier of events cannot be forked: no process left"
        bench.no_fork = None
        boot = asyncio.ensure_future(bench.keeper.boot())
        await until(lambda: bench.carriers)
        await bench.ready()
        assert await boot is None
        bench.close()

    runner.run(main())


def test_no_fork_is_tried_again(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.no_fork = OSError(11, "no process left")
        bench.keeper.want(0, bench.worker(10)[0])
        bench.keeper.want(1, bench.worker(11)[0])
        bench.no_fork = None
        await until(lambda: bench.carriers)
        bench.close()

    runner.run(main())


def test_it_stops_once_and_is_not_followed(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.keeper.start()
        carrier = await bench.ready()
        carrier.next(Begin)
        assert not bench.keeper.stop()
        assert not bench.keeper.stop()
        carrier.next(Stop)
        assert carrier.has_nothing()
        assert await bench.keeper.ask(questions.AskHalted()) == questions.Wrong(
            "the carrier of events is stopping; try again"
        )
        bench.die(0)
        assert (bench.gone, bench.keeper.stop(), len(bench.carriers)) == (1, True, 1)
        bench.keeper.start()
        assert len(bench.carriers) == 1
        bench.close()

    runner.run(main())


def test_a_stop_between_two_carriers_starts_no_other(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.keeper.start()
        await bench.ready()
        bench.die()
        assert bench.keeper.stop()
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(bench.carriers) == 1
        bench.close()

    runner.run(main())


def test_one_that_hangs_is_killed_and_one_that_talks_nonsense_too(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        bench = Bench(hang_timeout=5.0)
        bench.keeper.start()
        carrier = await bench.ready()
        now = time.monotonic()
        carrier.shown[STAMP] = now - 4
        bench.keeper.check(now, 0.0, 0.0)
        assert signals == []
        carrier.shown[STAMP] = now - 6
        bench.keeper.check(now, now - 1, 0.0)  # the supervisor itself was suspended
        assert signals == []
        bench.keeper.check(now, 0.0, 0.0)
        bench.keeper.check(now, 0.0, 0.0)
        assert signals == [signal.SIGUSR2]
        await until(lambda: carrier.process.exitcode is not None)
        bench.keeper.reap()
        await until(lambda: len(bench.carriers) == 2)
        carrier = await bench.ready()
        assert cast("Any", bench.keeper.status()).last_exit == "hung for 5 s"
        cast("Any", carrier.channel).send(Stop())
        await until(lambda: carrier.process.exitcode is not None)
        bench.keeper.reap()
        assert cast("Any", bench.keeper.status()).last_exit == "sent an invalid message"
        bench.close()

    signals: list[int] = []
    monkeypatch.setattr(os, "kill", lambda _pid, sig: signals.append(sig))
    monkeypatch.setattr("tiny_listener_supervisor.carrier.keeper.take_stacks", lambda _: "")
    runner.run(main())
