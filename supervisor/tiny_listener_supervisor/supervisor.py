"""The supervisor: forks a worker into each slot, lends it the slot's sockets, replaces it when it dies or is due."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import time
from typing import TYPE_CHECKING

from tiny_listener.net.fd_watch import DescriptorWatch
from tiny_listener.net.loop import AsyncioLoop
from tiny_listener.process.last_resort import LastResort

from .admin.status import Status, processes, state_in_a_word
from .admin.views import view_of
from .fleet.backoff import GAVE_UP, Restarts
from .fleet.forking import Forker
from .fleet.handoff import RETRY_AFTER, Lender
from .fleet.health import Health
from .fleet.probation import Probation, hang_limit
from .fleet.reload_status import Rollout
from .fleet.replacing import Replacer
from .fleet.scaling import Scaler, in_use
from .fleet.slot import Slot, State, Worker, about
from .fleet.stopping import Ender
from .ipc.broker import SocketBroker
from .ipc.channel import ChannelClosed, GarbledMessage
from .ipc.messages import Acquire, BootFailed, CannotBorrow, CannotTakeLog, Draining, Due, Dumped, FromWorker, Ready
from .policy import RESTART_REASONS, RestartBudget, describe_exit, readiness_in_words, workers_in_words
from .reload.reloader import Reloader
from .signals import HANDLED, Signals
from .system.logfile import pass_on
from .system.rights import Rights
from .system.sd_notify import Notifier
from .worker.heartbeat import LoopLag
from .worker.stacks import ask_for_stacks, log_stacks

if TYPE_CHECKING:
    from tiny_listener_metrics import ApplicationMetrics, Ledger

    from .admin.endpoint import Admin
    from .control.server import Control
    from .reload.reloader import WatchPlan
    from .settings import SupervisorSettings
    from .worker.process import WorkerPlan

__all__ = ["Supervisor"]

logger = logging.getLogger("tiny_listener.supervisor")

SETTLES = 0.1
"""Seconds from a worker's word that it drains to a look at why: a signal to the whole group is here by then."""


class Supervisor:
    """The process that owns sockets and workers.

    :param plan: what each worker does
    :param ledger: where workers' counters live; None without metrics
    :param admin: the admin endpoint, if there is one
    :param watch: files whose change lets the workers be replaced; None: none
    :param application: where the application's own metrics live; None: not with us
    :param control: where `tiny-listenerctl` asks; None: nowhere
    :param notifier: the way to the service manager, if there is one
    """

    def __init__(
        self,
        plan: WorkerPlan,
        settings: SupervisorSettings,
        ledger: Ledger | None = None,
        admin: Admin | None = None,
        watch: WatchPlan | None = None,
        *,
        application: ApplicationMetrics | None = None,
        control: Control | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        self.settings = settings
        self.slots = [Slot(number) for number in range(settings.workers)]
        self.stopping = False
        self._admin = admin
        self._control = control
        self._broker = SocketBroker(Rights(plan.identity), settings.inherited, settings.uds)
        self._log_file, self._preloaded = plan.log_file, plan.preloaded
        self._forker = Forker(plan, ledger, application, HANDLED)
        self._reloader = Reloader(watch, self.reload) if watch is not None else None
        self._notifier = notifier or Notifier()
        self._all_were_ready = False
        self._exit_code = 0
        self._signals = Signals(self, plan.log_file)
        self._done = asyncio.Event()
        self._draining = False
        self.restart_counts = dict.fromkeys(RESTART_REASONS, 0)
        self._ender = Ender(self.slots, settings.graceful_timeout)
        self._rollout = Rollout(self.slots, self._reload_is_over)
        self._probation = Probation(settings.reload_probation, self._passed)
        self._replacer = Replacer(
            self.slots,
            self._rollout,
            self._fork,
            self._start,
            self._ender.let_go,
            is_stopping=lambda: self.stopping,
            counts=self.restart_counts,
            batch=settings.reload_batch,
            watch=self._probation.begin if settings.reload_probation else None,
        )
        self._scaler = Scaler(self.slots, self._start_now, self._leave)
        on_probation = hang_limit(settings.reload_probation, settings.hang_timeout)
        self._health = Health(self.slots, settings.limits, settings.hang_timeout, self._replacer.replace, on_probation)
        self._lender = Lender(self.slots, self._broker, lambda: self._draining)
        # Who develops mends what fails: --reload goes on for ever.
        max_restarts = settings.max_restarts if watch is None else None
        self._restarts = Restarts(RestartBudget(max_restarts, settings.max_restarts_window), self.restart_counts)

    @property
    def is_ready(self) -> bool:
        """Whether events are taken in: by each slot in use, but those just added, and no stop was asked for."""
        slots = in_use(self.slots)
        return not self.stopping and any(s.is_ready for s in slots) and all(s.is_ready or s.joining for s in slots)

    def run(self) -> int:
        """Run until it is told to stop; return the exit code."""
        # A collection writes to every object that it looks at, and the kernel then copies their pages for each process.
        # What there is now stays shared with all workers: it takes two fifths off their memory (make bench-start).
        gc.collect()
        gc.freeze()
        # On asyncio's own loop: a fork copies it as plain memory, and it starts no threads.
        code = 1
        try:
            with asyncio.Runner(loop_factory=AsyncioLoop) as runner:
                code = runner.run(self._main())
        finally:
            # With --preload the application was imported here, and its threads may keep this process from its end.
            LastResort(0.0, exit_code=code).begin()
        return code

    async def _main(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        descriptors = DescriptorWatch()
        self._loop.set_exception_handler(descriptors.handle)
        descriptors.start()
        self._signals.start()
        if self._admin is not None:
            self._admin.show_queues(self._broker.queues)
            self._admin.show_reloads(self._rollout)
            counts, lag = self.restart_counts, LoopLag()
            lag.start(self._loop)
            self._admin.show_processes(lambda: view_of(self.slots, counts, time.monotonic(), lag.seconds))
            await self._admin.start(self)
        if self._control is not None:
            await self._control.start(self)
        if self._reloader is not None:
            await self._reloader.start(self._forker)
        try:
            for slot in list(self.slots):
                self._start(slot)
                await asyncio.sleep(0)  # a fork takes milliseconds: who asks meanwhile need not wait for all of them
            self._health.start(self._loop)
            self._lender.start(self._loop)
            await self._done.wait()
        finally:
            self._signals.stop()
            descriptors.stop()
            if self._reloader is not None:
                self._reloader.stop()
            if self._admin is not None:
                self._admin.stop()
            if self._control is not None:
                self._control.stop()
            self._broker.close()
        return self._exit_code

    def dump(self) -> int:
        """Log the stacks of every worker; return how many there are."""
        workers = [(slot, worker) for slot in self.slots for worker in slot.workers()]
        for slot, worker in workers:
            ask_for_stacks(slot, worker)
        return len(workers)

    def status(self) -> Status:
        """Return what there is to know at this instant."""
        now, queues = self._loop.time(), self._broker.queues()
        state = state_in_a_word(ready=self.is_ready, was_ready=self._all_were_ready, stopping=self.stopping)
        workers, found = len(in_use(self.slots)), processes(self.slots, queues, now)
        age, version, shared = round(now - self._started, 3), self._replacer.version, queues.get("shared")
        where, reload = self._broker.names(), self._rollout.last
        return Status(os.getpid(), state, age, version, workers, where, shared, reload, found)

    def stop(self, exit_code: int = 0, *, at_once: bool = False) -> None:
        """Stop all workers and then the supervisor; what they have in hand finishes, unless `at_once`."""
        first = not self.stopping
        if first and not at_once:
            self._hear_who_boots()
        self.stopping = True
        if first:
            self._exit_code = exit_code
            self._notifier.stopping(f"draining {workers_in_words(len(in_use(self.slots)))}")
        if at_once:
            self._kill_all()
        elif first:
            self._ender.end_boots()
            delay = self.settings.drain_delay
            self._loop.call_later(delay, self._drain_all)
            self._loop.call_later(delay + self._ender.limit, self._kill_all)
        self._finish_if_empty()

    def _hear_who_boots(self) -> None:
        """Read what workers that boot have said: one that is ready by now may have events in flight."""
        for slot in self.slots:
            for worker in slot.workers():
                if worker.state is State.STARTING and worker.channel.fileno() >= 0:
                    self._hear(slot, worker)

    def _drain_all(self) -> None:
        self._draining = True
        self._ender.drain_all()
        self._finish_if_empty()

    def _kill_all(self) -> None:
        self._ender.kill_all(silent=self._exit_code not in {0, GAVE_UP})

    def _finish_if_empty(self) -> None:
        if self.stopping and not any(slot.workers() for slot in self.slots):
            self._done.set()

    # --- one worker -------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        """Fork a worker into an empty slot; where the system has none to give, later."""
        try:
            self._start_now(slot)
        except OSError as exc:
            words = f"cannot be forked: {exc.strerror or exc}"
            if self._all_were_ready or self._reloader is not None:
                self._start_later(slot, self._restarts.after_no_fork(slot, words))
            else:
                text = f"Error: worker {slot.number} {words}\n"
                logger.critical("A worker cannot be forked", extra={"as_is": text, "slot": slot.number})
                self.stop(1, at_once=True)

    def _start_now(self, slot: Slot) -> None:
        """Fork a worker into an empty slot.

        :raises OSError: EAGAIN of fork(2), EMFILE, ENOMEM
        """
        if not self.stopping and slot.is_empty:
            slot.worker = self._fork(slot)

    def _start_later(self, slot: Slot, delay: float) -> None:
        """Fork a worker into an empty slot after some seconds, unless a reload does so before."""
        if slot.restart is not None:  # that of a worker before this one, in whose place a reload started another
            slot.restart.cancel()
        slot.restart = self._loop.call_later(delay, self._start, slot)

    def _fork(self, slot: Slot) -> Worker:
        max_events = self.settings.limits.draw_max_requests(random.random())  # noqa: S311 - no secret
        worker = self._forker.fork(slot.number, max_events, self._loop.time(), self._replacer.version)
        self._loop.add_reader(worker.channel.fileno(), self._hear, slot, worker)
        self._ender.watch_boot(slot, worker, self.settings.boot_timeout)
        return worker

    def _hear(self, slot: Slot, worker: Worker) -> None:
        try:
            while (received := worker.channel.receive()) is not None:
                message, fds = received
                for fd in fds:
                    os.close(fd)
                self._answer(slot, worker, message)
        except ChannelClosed:  # it is about to end, or else it has closed its side and hears nobody
            self._loop.remove_reader(worker.channel.fileno())
            self._ender.watch_deaf(slot, worker)
        except GarbledMessage as exc:
            logger.error(
                "Worker %d (pid %d) sent %s: it is killed", slot.number, worker.pid, exc, extra=about(slot, worker)
            )
            self._loop.remove_reader(worker.channel.fileno())
            worker.doom("line", "sent what is no message")
            worker.process.kill()

    def _answer(self, slot: Slot, worker: Worker, message: FromWorker) -> None:
        match message:
            case Acquire():
                self._broker.answer(slot.number, worker.pid, worker.channel, message)
            case Ready():
                self._worker_is_ready(slot, worker)
            case Draining():
                worker.drains = True
                self._worker_drains(slot, worker)
            case Due():
                worker.due = f"it has dispatched {message.events} events (--max-requests)"
                self._replacer.replace(slot, worker.due)
            case Dumped():
                log_stacks(slot, worker)
            case CannotBorrow():
                self._lender.failed(message.slot, worker)
            case CannotTakeLog():
                if self._log_file is not None:
                    worker.timers.append(self._loop.call_later(RETRY_AFTER, pass_on, self._log_file, worker))
            case BootFailed():
                self._boot_failed(worker, message)

    def _worker_drains(self, slot: Slot, worker: Worker) -> None:
        """A worker accepts nothing any more: siblings serve its queue from now on."""
        if worker.state is State.READY:  # nobody told it to
            worker.step(State.DRAINING)
            self._lender.look()
            self._notifier.status(self._readiness())
            worker.timers.append(self._loop.call_later(SETTLES, self._left_by_itself, slot, worker))

    def _left_by_itself(self, slot: Slot, worker: Worker) -> None:
        """A worker drains that nobody told to: another takes its place beside it."""
        if self.stopping:
            return
        self._ender.let_go(slot, worker)
        words = "drains by itself"
        if worker is slot.successor:
            slot.withdraw()
            self._replacer.fail_probation(slot, worker, words, 0)
        elif worker is slot.worker and not self._replacer.step_in(slot):
            if worker.on_probation:
                self._replacer.fail_probation(slot, worker, words, 0)
            if slot.successor is None and (self._all_were_ready or self._reloader is not None):
                slot.part()
                self._restart(slot, worker, words, State.READY, 0)

    def _boot_failed(self, worker: Worker, message: BootFailed) -> None:
        self._ender.watch_failed(worker)
        if worker.state is State.DRAINING:  # nobody waits for it any more
            return
        reloader = self._reloader
        outdated = reloader is not None and worker.version < self._replacer.version
        if not self.stopping and not outdated and (reloader is None or reloader.is_news(message.text)):
            logger.critical("The application cannot boot", extra={"as_is": message.text, "pid": worker.pid})
        # Where files are watched the next change may mend it; but not a command that names no application.
        if not self._all_were_ready and (reloader is None or (message.exit_code == 1 and self._replacer.version == 0)):
            self.stop(message.exit_code, at_once=True)

    def _worker_is_ready(self, slot: Slot, worker: Worker) -> None:
        if worker.state is not State.STARTING or worker.fate is not None:
            return
        worker.step(State.READY)
        worker.ready_since = self._loop.time()
        self._broker.ready(worker.pid)
        logger.log(
            logging.INFO if slot.joining else logging.DEBUG,
            "Worker %d (pid %d) is ready",
            slot.number,
            worker.pid,
            extra={**about(slot, worker), "duration": round(self._loop.time() - worker.started, 3)},
        )
        slot.joining = False
        self._replacer.ready(slot, worker)
        self._rollout.look()
        if self.is_ready and not self._all_were_ready:
            self._all_were_ready = True
            if self._admin is not None:
                self._admin.warm_up()
            where = ", ".join(self._broker.names())
            logger.info("%s%s", self._readiness(), f" on {where}" if where else "")
            self._notifier.ready(self._readiness())
            self._notifier.watch(self._loop, lambda: self.stopping or self._health.any_serves())
        self._notifier.status(self._readiness())

    def _passed(self, slot: Slot, worker: Worker) -> None:
        self._replacer.passed(slot, worker)
        self._rollout.look()

    def _readiness(self) -> str:
        slots = in_use(self.slots)
        return readiness_in_words(sum(slot.is_ready for slot in slots), len(slots))

    def _reload_is_over(self, failure: str | None) -> None:
        self._lender.give_up_addresses()
        if failure is not None:
            self._replacer.call_off()
        failed = f"the last reload failed: {failure}; the old workers keep serving"
        self._notifier.reloaded(failed if failure else self._readiness())

    def reap(self) -> None:
        """Take leave of the workers that are dead."""
        for slot in self.slots:
            for worker in slot.workers():
                if worker.process.exitcode is not None:
                    self._bury(slot, worker, worker.process.exitcode)

    def _bury(self, slot: Slot, worker: Worker, code: int) -> None:
        """Take leave of a worker that is dead, and see to it that its slot has another."""
        if worker.channel.fileno() >= 0:
            self._hear(slot, worker)  # its last words
            self._loop.remove_reader(worker.channel.fileno())
            worker.channel.close()
        was = worker.state
        worker.step(State.DEAD)
        worker.release()
        self._broker.bury(worker.pid)
        role = "worker" if worker is slot.worker else "successor" if worker is slot.successor else "leaving"
        slot.remove(worker)
        self._forker.fold(worker)
        self._lender.look()
        self._notifier.status(self._readiness())
        words = slot.last_exit = worker.fate or describe_exit(code)
        if was is State.STARTING:
            failed = f"worker {slot.number} {words} before it was ready"
            if self._rollout.worker_failed(worker.version, failed, code) and role == "worker" and not self.stopping:
                self._replacer.fail_boot(slot, f"{words} before it was ready")
        if worker.on_probation and was is State.READY and not self.stopping:
            self._replacer.fail_probation(slot, worker, words, code)
        if role == "worker" and not self.stopping:
            self._replacer.step_in(slot)
        self._go_on_without(slot, worker, role, was, words, code)

    def _go_on_without(self, slot: Slot, worker: Worker, role: str, was: State, words: str, code: int) -> None:  # noqa: PLR0917
        """Do what a worker's end calls for: mostly another worker."""
        lived = self._loop.time() - worker.started
        fields = {**about(slot, worker), "reason": words, "duration": round(lived, 3)}
        if self.stopping:
            self._finish_if_empty()
        elif was is State.STARTING and worker.version < self._replacer.version:
            self._replacer.start_over(slot)
        elif role == "leaving":
            pass
        elif role == "successor":
            if was is State.STARTING:
                self._replacer.give_up(slot, f"{words} before it was ready")
            elif was is State.DRAINING:
                self._loop.call_later(SETTLES, self._drained, slot, worker, words, was, code)
            self._start(slot)  # unless the old worker serves
        elif was is State.STARTING and self._reloader is not None:
            if self._reloader.is_news("waiting"):
                logger.error(
                    "Worker %d %s before it was ready: waiting for the next change", slot.number, words, extra=fields
                )
        elif not self._all_were_ready and self._reloader is None:
            text = f"Error: worker {slot.number} {words} before it was ready\n"
            logger.critical("A worker ended before it was ready", extra={"as_is": text, **fields})
            self.stop(3, at_once=True)
        elif role == "worker" and was is State.DRAINING and worker.fate is None:
            # A signal to the whole group may have told it so, and be on its way here.
            self._loop.call_later(SETTLES, self._drained, slot, worker, words, was, code)
        elif role == "worker":
            self._restart(slot, worker, words, was, code)

    def _drained(self, slot: Slot, worker: Worker, words: str, was: State, code: int) -> None:
        """A worker has drained that nobody told to, and no stop came since."""
        if not self.stopping and worker.on_probation:
            self._replacer.fail_probation(slot, worker, words, code)
        if slot.is_empty:
            self._restart(slot, worker, words, was, code)

    def _restart(self, slot: Slot, worker: Worker, words: str, was: State, code: int) -> None:
        if self.stopping:
            return
        now, cause = self._loop.time(), worker.cause or ("signal" if code < 0 else "exit")
        lived, alone = now - worker.started, not self._health.any_serves()
        delay = self._restarts.after(slot, words, was, lived, now, alone=alone, pid=worker.pid, cause=cause)
        if delay is None:
            self.stop(GAVE_UP)
        else:
            self._start_later(slot, delay)

    # --- a new worker for an old one ----------------------------------------------------------------

    def reload(self, cause: str = "SIGHUP") -> str | None:
        """Replace every worker, one slot at a time, the new one before the old one; return None, or why not."""
        if self.stopping or not (self._all_were_ready or self._reloader is not None):
            refusal = f"nothing to reload while {'stopping' if self.stopping else 'starting'}"
            logger.warning("%s: %s", cause, refusal)
            return refusal
        logger.info("%s: reloading %s", cause, workers_in_words(len(in_use(self.slots))))
        if self._preloaded:
            logger.warning("%s: --preload keeps the code of the start; only a restart brings new code", cause)
        self._replacer.version += 1
        self._rollout.begin(self._replacer.version)
        self._notifier.reloading(f"reloading {workers_in_words(len(in_use(self.slots)))}")
        if self._reloader is not None:
            self._reloader.forget()
            self._replacer.end_what_boots()
        self._replacer.replace_all()
        return None

    # --- the number of workers ----------------------------------------------------------------------

    def scale(self, wanted: int, cause: str) -> str | None:
        """Have so many workers; return None, or the line that says why not."""
        return self._scaler.scale(wanted, cause, stopping=self.stopping, starting=not self._all_were_ready)

    def _leave(self, slot: Slot, leaving: list[Worker]) -> None:
        """Let the workers of a slot that was retired go."""
        self._lender.look()  # a sibling takes its queue over, and those it served, before it stops to accept
        for worker in leaving:
            logger.info(
                "Worker %d (pid %d) leaves: siblings serve its queue",
                slot.number,
                worker.pid,
                extra=about(slot, worker),
            )
            self._ender.let_go(slot, worker)
        self._replacer.forget(slot)
        self._rollout.look()
