"""Reaps workers and decides what follows: in most cases another worker."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..policy import describe_exit
from .backoff import GAVE_UP
from .slot import Slot, Worker, WorkerState, about

if TYPE_CHECKING:
    from ..supervisor import Supervisor

__all__ = ["SETTLES", "Deaths"]

logger = logging.getLogger("tiny_listener.supervisor")

SETTLES = 0.1
"""Seconds between a worker's message that it drains and the decision why. By then a signal that was sent to the whole
process group has reached the supervisor too."""


class Deaths:
    """Handles slots whose workers ended, or drain without having been told to.

    :param supervisor: the supervisor of these workers
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    def reap(self) -> None:
        """Reap all workers that are dead, and the carrier of events."""
        supervisor = self._supervisor
        for slot in supervisor.slots:
            for worker in slot.workers():
                if worker.process.exitcode is not None:
                    self._reap_worker(slot, worker, worker.process.exitcode)
        supervisor.carrier.reap()

    def _reap_worker(self, slot: Slot, worker: Worker, code: int) -> None:
        """Reap one dead worker, and make sure that its slot gets another."""
        supervisor = self._supervisor
        if worker.channel.fileno() >= 0:
            supervisor.inbox.read(slot, worker)  # messages that it sent before it died
            supervisor.loop.remove_reader(worker.channel.fileno())
            worker.channel.close()
        was = worker.state
        worker.step(WorkerState.DEAD)
        worker.release()
        supervisor.broker.forget(worker.pid)
        supervisor.carrier.forget(worker.pid)
        role = "worker" if worker is slot.worker else "successor" if worker is slot.successor else "leaving"
        slot.remove(worker)
        supervisor.forker.merge_counters(worker)
        supervisor.handoff.look()
        supervisor.notifier.status(supervisor.readiness())
        words = slot.last_exit = worker.kill_reason or describe_exit(code)
        if was is WorkerState.STARTING:
            failed = f"worker {slot.number} {words} before it was ready"
            if (
                supervisor.rollout.worker_failed(worker.version, failed, code)
                and role == "worker"
                and not supervisor.stopping
            ):
                supervisor.replacer.fail_boot(slot, f"{words} before it was ready")
        if worker.on_probation and was is WorkerState.READY and not supervisor.stopping:
            supervisor.replacer.fail_probation(slot, worker, words, code)
        if role == "worker" and not supervisor.stopping:
            supervisor.replacer.step_in(slot)
        self._go_on_without(slot, worker, role, was, words, code)

    def _go_on_without(self, slot: Slot, worker: Worker, role: str, was: WorkerState, words: str, code: int) -> None:  # noqa: PLR0917
        """Decide what follows the end of a worker."""
        supervisor = self._supervisor
        lived = supervisor.loop.time() - worker.started
        fields = {**about(slot, worker), "reason": words, "duration": round(lived, 3)}
        if supervisor.stopping:
            supervisor.finish_if_empty()
        elif was is WorkerState.STARTING and worker.version < supervisor.starter.version:
            supervisor.replacer.start_over(slot)
        elif role == "leaving":
            pass
        elif role == "successor":
            if was is WorkerState.STARTING:
                supervisor.replacer.give_up(slot, f"{words} before it was ready")
            elif was is WorkerState.DRAINING:
                supervisor.loop.call_later(SETTLES, self._drained, slot, worker, words, was, code)
            supervisor.starter.start(slot)  # unless the old worker serves
        elif was is WorkerState.STARTING and supervisor.reloader is not None:
            if supervisor.reloader.is_news("waiting"):
                logger.error(
                    "Worker %d %s before it was ready: waiting for the next change", slot.number, words, extra=fields
                )
        elif not supervisor.all_were_ready and supervisor.reloader is None:
            text = f"Error: worker {slot.number} {words} before it was ready\n"
            logger.critical("A worker ended before it was ready", extra={"as_is": text, **fields})
            supervisor.stop(3, at_once=True)
        elif role == "worker" and was is WorkerState.DRAINING and worker.kill_reason is None:
            # A signal to the whole process group may have stopped it, and may not have reached this process yet.
            supervisor.loop.call_later(SETTLES, self._drained, slot, worker, words, was, code)
        elif role == "worker":
            self._restart(slot, worker, words, was, code)

    def _drained(self, slot: Slot, worker: Worker, words: str, was: WorkerState, code: int) -> None:
        """A worker drained without having been told to, and no stop has been requested since."""
        supervisor = self._supervisor
        if not supervisor.stopping and worker.on_probation:
            supervisor.replacer.fail_probation(slot, worker, words, code)
        if slot.is_empty:
            self._restart(slot, worker, words, was, code)

    def _restart(self, slot: Slot, worker: Worker, words: str, was: WorkerState, code: int) -> None:
        supervisor = self._supervisor
        if supervisor.stopping:
            return
        now, cause = supervisor.loop.time(), worker.cause or ("signal" if code < 0 else "exit")
        lived, alone = now - worker.started, not supervisor.health.any_serves()
        delay = supervisor.restarts.after(slot, words, was, lived, now, alone=alone, pid=worker.pid, cause=cause)
        if delay is None:
            supervisor.stop(GAVE_UP)
        else:
            supervisor.starter.start_later(slot, delay)

    def left_by_itself(self, slot: Slot, worker: Worker) -> None:
        """A worker drains without having been told to: start another one while it drains."""
        supervisor = self._supervisor
        if supervisor.stopping:
            return
        supervisor.ender.drain_or_kill(slot, worker)
        words = "drains by itself"
        if worker is slot.successor:
            slot.withdraw()
            supervisor.replacer.fail_probation(slot, worker, words, 0)
        elif worker is slot.worker and not supervisor.replacer.step_in(slot):
            if worker.on_probation:
                supervisor.replacer.fail_probation(slot, worker, words, 0)
            if slot.successor is None and (supervisor.all_were_ready or supervisor.reloader is not None):
                slot.vacate()
                self._restart(slot, worker, words, WorkerState.READY, 0)
