"""Forks workers: the supervisor's side."""

from __future__ import annotations

import mmap
import os
import signal
import stat
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from tiny_listener.process.open_files import open_descriptors

from ..ipc.channel import channel_pair
from ..system.temporary import needless_folder
from ..worker.heartbeat import STAMP
from ..worker.process import Terms, WorkerPlan, worker_main
from ..worker.stacks import stacks_memory
from .slot import Worker

with needless_folder():
    import multiprocess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tiny_listener_metrics import ApplicationMetrics, Ledger, Row, ValuesRow

    from ..ipc.channel import Channel
    from ..ipc.messages import FromWorker, ToWorker


__all__ = ["Forker"]


class Forker:
    """Forks workers with multiprocess's fork context.

    :param plan: what each worker does
    :param ledger: holds the workers' counters; None: no metrics
    :param application: holds the application's own metrics; None: not managed here
    :param signals: signals that this process handles. They are blocked between the fork and the child's own handlers
    :ivar kept_fds: file descriptors that a child may keep; all others belong to the supervisor
    """

    def __init__(
        self,
        plan: WorkerPlan,
        ledger: Ledger | None,
        application: ApplicationMetrics | None,
        signals: Iterable[signal.Signals],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._application = application
        self._signals = tuple(signals)
        self._context = multiprocess.get_context("fork")
        self.kept_fds = frozenset(open_descriptors())  # before the supervisor opens its own

    def fork(self, slot: int, max_events: int | None, now: float, version: int) -> Worker:
        """Fork a worker into a slot.

        :param max_events: number of events after which the worker reports that it is due for replacement
        :param now: on the loop's clock
        :param version: number of reloads requested so far
        :raises OSError: the system is out of processes, memory or file descriptors
        """
        ledger = self._ledger
        with ExitStack() as undo:
            ours, theirs = channel_pair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            stacks = stacks_memory(str(slot))
            undo.callback(os.close, stacks)
            row = ledger.open_row(f"worker {slot}") if ledger is not None else None
            if ledger is not None and row is not None:
                undo.callback(ledger.close_row, row)
            application = self._application
            values = application.open_row(str(slot)) if application is not None else None
            if application is not None and values is not None:
                undo.callback(application.close_row, values)
            process, shown = self._fork(slot, theirs, row, values, stacks=stacks, max_events=max_events)
            undo.pop_all()
        theirs.close()
        return Worker(process, process.pid, ours, row, shown, now, version, stacks=stacks, values=values)

    def merge_counters(self, worker: Worker) -> None:
        """Merge the counters of a dead worker into the totals."""
        if worker.row is not None and self._ledger is not None:
            self._ledger.close_row(worker.row)
        if worker.values is not None and self._application is not None:
            self._application.close_row(worker.values)

    def _fork(
        self,
        slot: int,
        line: Channel[ToWorker, FromWorker],
        row: Row | None,
        values: ValuesRow | None,
        *,
        stacks: int,
        max_events: int | None,
    ) -> tuple[Any, memoryview[float]]:
        ledger = self._ledger
        stamp = mmap.mmap(-1, mmap.PAGESIZE)
        shown = memoryview(stamp).cast("d")
        shown[STAMP] = time.monotonic()

        def make_observer() -> Any:
            from tiny_listener_metrics import Recorder  # noqa: PLC0415 - only where there are metrics

            assert ledger is not None
            assert row is not None
            return Recorder(ledger.take_row(row))

        def before_load() -> None:
            assert self._application is not None
            assert values is not None
            self._application.take_row(values)

        terms = Terms(
            slot=slot,
            channel=line,
            make_observer=make_observer if row is not None else None,
            keep_fds=self.kept_fds,
            supervisor_pid=os.getpid(),
            shown=shown,
            stacks=stacks,
            max_events=max_events,
            before_load=before_load if values is not None else None,
        )
        process = self.start(worker_main, f"worker-{slot}", self._plan, terms)
        return process, shown

    def start(self, main: Callable[..., None], name: str, *args: Any) -> Any:
        """Fork a process that runs a function; return its handle.

        :raises OSError: the fork failed
        """
        before = frozenset(open_descriptors())
        process = self._context.Process(target=main, name=name, args=args)
        sys.stdout.flush()
        sys.stderr.flush()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            process.start()
        except OSError:
            _close_pipes(frozenset(open_descriptors()) - before)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        return process


def _close_pipes(fds: frozenset[int]) -> None:
    """Close the pipes that multiprocess leaks when its fork fails. Retries would exhaust the file descriptors."""
    for fd in fds:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.close(fd)
