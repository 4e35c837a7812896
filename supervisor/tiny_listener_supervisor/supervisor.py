"""The supervisor: forks a worker into each slot, lends it the slot's sockets, and replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import multiprocess

from tiny_listener.loop import AsyncioLoop

from .broker import SocketBroker
from .channel import ChannelClosed, GarbledMessage, channel_pair
from .messages import Acquire, BootFailed, FromWorker, Granted, Ready, Refused, Stop
from .policy import describe_exit, restart_delay
from .slot import Slot, State, Worker
from .worker import WorkerPlan, worker_main

if TYPE_CHECKING:
    from tiny_listener_metrics import Ledger

    from .admin import Admin

__all__ = ["Supervisor", "SupervisorSettings"]

logger = logging.getLogger("tiny_listener.supervisor")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HANDLED = (*STOP_SIGNALS, signal.SIGQUIT, signal.SIGCHLD)
KILL_GRACE = 1.0
"""Seconds on top of the graceful timeout, in which a worker cancels and reports what was left."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How many workers, and how long they may take; times in seconds."""

    workers: int
    graceful_timeout: float = 30.0
    boot_timeout: float = 60.0
    drain_delay: float = 0.0


class Supervisor:
    """The process that owns sockets and workers.

    :param plan: what each worker does
    :param ledger: where workers' counters live; None without metrics
    :param admin: the admin endpoint, if there is one
    """

    def __init__(
        self,
        plan: WorkerPlan,
        settings: SupervisorSettings,
        ledger: Ledger | None = None,
        admin: Admin | None = None,
    ) -> None:
        self.plan = plan
        self.settings = settings
        self.slots = [Slot(number) for number in range(settings.workers)]
        self.stopping = False
        self._ledger = ledger
        self._admin = admin
        self._broker = SocketBroker()
        self._fork = multiprocess.get_context("fork")
        self._all_were_ready = False
        self._exit_code = 0
        self._signals: asyncio.Queue[int] = asyncio.Queue()
        self._done = asyncio.Event()
        self._kept_fds: frozenset[int] = frozenset()

    @property
    def is_ready(self) -> bool:
        """Whether every slot has a worker that takes events in, and no stop was asked for."""
        return not self.stopping and all(s.worker is not None and s.worker.state is State.READY for s in self.slots)

    def run(self) -> int:
        """Run until it is told to stop; return the exit code."""
        self._kept_fds = _open_fds()
        with asyncio.Runner(loop_factory=_loop) as runner:
            return runner.run(self._main())

    async def _main(self) -> int:
        loop = asyncio.get_running_loop()
        for sig in HANDLED:
            loop.add_signal_handler(sig, self._signals.put_nowait, sig)
        if self._admin is not None:
            await self._admin.start(self)
        listening = asyncio.ensure_future(self._obey_signals())
        try:
            for slot in self.slots:
                self._start(slot)
            await self._done.wait()
        finally:
            listening.cancel()
            if self._admin is not None:
                self._admin.stop()
            self._broker.close()
        return self._exit_code

    # --- signals ----------------------------------------------------------------------------------

    async def _obey_signals(self) -> None:
        while True:
            sig = await self._signals.get()
            if sig == signal.SIGCHLD:
                self._reap()
            elif sig == signal.SIGQUIT or self.stopping:
                logger.warning("%s: ending at once", signal.Signals(sig).name)
                self.stop(at_once=True)
            else:
                logger.info("%s: draining %d workers", signal.Signals(sig).name, len(self.slots))
                self.stop()

    def stop(self, exit_code: int = 0, *, at_once: bool = False) -> None:
        """Stop all workers and then the supervisor; what they have in hand finishes, unless `at_once`."""
        loop = asyncio.get_running_loop()
        first = not self.stopping
        self.stopping = True
        if first:
            self._exit_code = exit_code
        if at_once or exit_code:
            self._kill_all()
        elif first:
            loop.call_later(self.settings.drain_delay, self._drain_all)
            loop.call_later(self.settings.drain_delay + self.settings.graceful_timeout + KILL_GRACE, self._kill_all)
        self._finish_if_empty()

    def _drain_all(self) -> None:
        for slot in self.slots:
            worker = slot.worker
            if worker is None or worker.state not in (State.STARTING, State.READY):
                continue
            booting = worker.state is State.STARTING
            worker.step(State.DRAINING)
            with contextlib.suppress(ChannelClosed, BlockingIOError):
                worker.channel.send(Stop())
            if booting:  # it may not hear the channel yet; the signal's default action ends it
                worker.process.terminate()
        self._finish_if_empty()

    def _kill_all(self) -> None:
        for slot in self.slots:
            if slot.worker is not None:
                if slot.worker.state is State.DRAINING and self._exit_code == 0:
                    logger.warning("Worker %d (pid %d) is killed", slot.number, slot.worker.process.pid)
                slot.worker.process.kill()

    def _finish_if_empty(self) -> None:
        if self.stopping and all(slot.worker is None for slot in self.slots):
            self._done.set()

    # --- workers ----------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        """Fork a worker into an empty slot."""
        if self.stopping or slot.worker is not None:
            return
        loop = asyncio.get_running_loop()
        ours, theirs = channel_pair()
        ledger = self._ledger
        row = ledger.open_row(f"worker {slot.number}") if ledger is not None else None

        def make_observer() -> Any:
            from tiny_listener_metrics import Recorder  # noqa: PLC0415 - only where there are metrics

            assert ledger is not None
            assert row is not None
            return Recorder(ledger.take_row(row))

        process = self._fork.Process(
            target=worker_main,
            name=f"worker-{slot.number}",
            args=(
                self.plan,
                slot.number,
                theirs,
                make_observer if row else None,
                self._kept_fds,
                os.getpid(),
            ),
        )
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would wake this process's loop.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        worker = slot.worker = Worker(process, ours, row, loop.time())
        loop.add_reader(ours.fileno(), self._hear, slot, worker)
        loop.call_later(self.settings.boot_timeout, self._check_boot, slot, worker)

    def _check_boot(self, slot: Slot, worker: Worker) -> None:
        if worker.state is State.STARTING:
            logger.error(
                "Worker %d (pid %d) is not ready after %g s (--boot-timeout): it is killed",
                slot.number, worker.process.pid, self.settings.boot_timeout,
            )  # fmt: skip
            worker.process.kill()

    def _hear(self, slot: Slot, worker: Worker) -> None:
        try:
            while (received := worker.channel.receive()) is not None:
                message, fds = received
                for fd in fds:
                    os.close(fd)
                self._answer(slot, worker, message)
        except ChannelClosed:
            asyncio.get_running_loop().remove_reader(worker.channel.fileno())
        except GarbledMessage as exc:
            logger.error("Worker %d (pid %d) sent %s: it is killed", slot.number, worker.process.pid, exc)
            asyncio.get_running_loop().remove_reader(worker.channel.fileno())
            worker.process.kill()

    def _answer(self, slot: Slot, worker: Worker, message: FromWorker) -> None:
        match message:
            case Acquire():
                self._lend(slot, worker, message)
            case Ready():
                self._worker_is_ready(slot, worker)
            case BootFailed():
                if not self.stopping:
                    sys.stderr.write(message.text)
                    sys.stderr.flush()
                if not self._all_were_ready:
                    self.stop(message.exit_code, at_once=True)

    def _lend(self, slot: Slot, worker: Worker, message: Acquire) -> None:
        with contextlib.suppress(ChannelClosed):
            try:
                sockets = [self._broker.acquire(slot.number, address) for address in message.addresses]
            except OSError as exc:
                worker.channel.send(Refused(message.id, exc.errno or 0, exc.strerror or str(exc)))
            else:
                worker.channel.send(Granted(message.id), [sock.fileno() for sock in sockets])

    def _worker_is_ready(self, slot: Slot, worker: Worker) -> None:
        if worker.state is State.STARTING:
            worker.step(State.READY)
            logger.debug("Worker %d (pid %d) is ready", slot.number, worker.process.pid)
        if self.is_ready and not self._all_were_ready:
            self._all_were_ready = True
            where = ", ".join(self._broker.names())
            logger.info("%d workers are ready%s", len(self.slots), f" on {where}" if where else "")

    def _reap(self) -> None:
        for slot in self.slots:
            worker = slot.worker
            if worker is not None and worker.process.exitcode is not None:
                self._bury(slot, worker, worker.process.exitcode)

    def _bury(self, slot: Slot, worker: Worker, code: int) -> None:
        loop = asyncio.get_running_loop()
        if worker.channel.fileno() >= 0:
            self._hear(slot, worker)  # its last words
            loop.remove_reader(worker.channel.fileno())
            worker.channel.close()
        was = worker.state
        worker.step(State.DEAD)
        worker.process.close()
        slot.worker = None
        if worker.row is not None and self._ledger is not None:
            self._ledger.close_row(worker.row)
        if self.stopping:
            self._finish_if_empty()
            return
        lived = loop.time() - worker.started
        words = describe_exit(code)
        if not self._all_were_ready:
            sys.stderr.write(f"Error: worker {slot.number} {words} before it was ready\n")
            self.stop(3, at_once=True)
            return
        slot.failures, delay = restart_delay(slot.failures, lived)
        logger.error(
            "Worker %d %s, %s after %.1f s; the next one starts %s",
            slot.number, words, "ready" if was is State.READY else "not ready", lived,
            f"in {delay:g} s" if delay else "now",
        )  # fmt: skip
        loop.call_later(delay, self._start, slot)


def _loop() -> asyncio.AbstractEventLoop:
    # On asyncio's own: a fork copies it as plain memory, and it starts no threads.
    return AsyncioLoop()


def _open_fds() -> frozenset[int]:
    """Return the file descriptors that are open before the supervisor opens its own: workers keep them."""
    return frozenset(int(name) for name in os.listdir("/proc/self/fd"))
