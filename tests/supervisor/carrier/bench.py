"""A keeper whose carriers are the test."""

from __future__ import annotations

import asyncio
import mmap
import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any

from tiny_listener_supervisor.carrier.keeper import Keeper
from tiny_listener_supervisor.carrier.life import CarrierProcess, CarrierState
from tiny_listener_supervisor.carrier.messages import (
    Attach,
    CarrierReady,
    carrier_channel_pair,
)
from tiny_listener_supervisor.fleet.slot import Worker
from tiny_listener_supervisor.ipc.channel import Channel, channel_pair
from tiny_listener_supervisor.worker.heartbeat import STAMP


class Process:
    """A handle of a process that ends when the test says so, or at a kill."""

    def __init__(self) -> None:
        self.exitcode: int | None = None

    def kill(self) -> None:
        if self.exitcode is None:
            self.exitcode = -signal.SIGKILL

    def join(self) -> None:
        assert self.exitcode is not None

    def close(self) -> None:
        assert self.exitcode is not None


class Carrier:
    """The other side: a carrier that was forked."""

    def __init__(self) -> None:
        ours, self.channel = carrier_channel_pair()
        shown = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        shown[STAMP] = time.monotonic()
        self.process = Process()
        self.shown = shown
        self.of_keeper = CarrierProcess(self.process, os.getpid(), ours, shown, -1, time.monotonic())
        self.links: list[tuple[int, socket.socket]] = []

    def next(self, kind: type[Any]) -> Any:
        """Return the next message, which is of a type."""
        received = self.channel.receive()
        assert received is not None
        message, fds = received
        assert isinstance(message, kind)
        if isinstance(message, Attach):
            self.links.append((message.slot, socket.socket(fileno=fds[0])))
        return message

    def has_nothing(self) -> bool:
        return self.channel.receive() is None


class Bench:
    """A keeper with its carriers and workers."""

    def __init__(self, hang_timeout: float = 30.0) -> None:
        self.carriers: list[Carrier] = []
        self.gone = 0
        self.no_fork: OSError | None = None
        self.keeper = Keeper(self._fork, hang_timeout, self._on_gone, chance=lambda: 1.0)
        self._ends: list[Channel[Any, Any]] = []

    def _fork(self) -> CarrierProcess:
        if self.no_fork is not None:
            raise self.no_fork
        self.carriers.append(Carrier())
        return self.carriers[-1].of_keeper

    def _on_gone(self) -> None:
        self.gone += 1

    @property
    def last(self) -> Carrier:
        return self.carriers[-1]

    def worker(self, pid: int) -> tuple[Worker, Channel[Any, Any]]:
        ours, theirs = channel_pair()
        self._ends += [ours, theirs]
        return Worker(None, pid, ours, None, memoryview(bytearray(80)).cast("d"), 0.0), theirs

    async def ready(self) -> Carrier:
        """Let the last carrier be ready."""
        self.last.channel.send(CarrierReady())
        await until(lambda: self.keeper.state is CarrierState.READY)
        return self.last

    def die(self, code: int = -signal.SIGKILL) -> None:
        self.last.process.exitcode = code
        self.keeper.reap()

    def close(self) -> None:
        self.keeper.close()
        for carrier in self.carriers:
            carrier.channel.close()
            for _, sock in carrier.links:
                sock.close()
        for end in self._ends:
            end.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)
