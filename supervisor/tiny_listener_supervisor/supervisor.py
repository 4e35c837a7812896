"""The supervisor: forks a worker into each slot, lends it the slot's sockets, replaces it when it dies or is due."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from typing import TYPE_CHECKING

from tiny_listener.net.fd_watch import DescriptorWatch
from tiny_listener.net.loop import AsyncioLoop
from tiny_listener.process.last_resort import LastResort

from .admin.status import Status, processes, state_in_a_word
from .admin.views import published_view, view_of
from .carrier.keeper import Keeper
from .carrier.life import fork_carrier
from .carrier.process import CarrierPlan
from .fleet.backoff import GAVE_UP, Restarts
from .fleet.deaths import Deaths
from .fleet.forking import Forker
from .fleet.handoff import Handoff
from .fleet.health import Health
from .fleet.inbox import Inbox
from .fleet.probation import Probation, hang_limit
from .fleet.reload_status import Rollout
from .fleet.replacing import Replacer
from .fleet.scaling import Scaler, in_use
from .fleet.slot import Slot, Worker, about
from .fleet.starting import Starter
from .fleet.stopping import Ender
from .ipc.broker import SocketBroker
from .policy import RESTART_REASONS, RestartBudget, readiness_in_words, workers_in_words
from .reload.reloader import Reloader
from .settings import CarrierStart
from .signals import HANDLED, Signals
from .system.rights import Rights
from .system.sd_notify import Notifier
from .worker.heartbeat import LoopLag
from .worker.stacks import ask_for_stacks

if TYPE_CHECKING:
    from tiny_listener_metrics import ApplicationMetrics, Ledger

    from tiny_listener.events import questions

    from .admin.endpoint import Admin
    from .control.server import Control
    from .reload.reloader import WatchPlan
    from .settings import SupervisorSettings
    from .worker.process import WorkerPlan

__all__ = ["Supervisor"]

logger = logging.getLogger("tiny_listener.supervisor")


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
        self.broker = SocketBroker(Rights(plan.identity), settings.inherited, settings.uds)
        self._preloaded = plan.preloaded
        self.forker = Forker(plan, ledger, application, HANDLED)
        self.starter = Starter(self, self.forker)
        self.inbox = Inbox(self, plan.log_file)
        self.reloader = Reloader(watch, self.reload) if watch is not None else None
        self.notifier = notifier or Notifier()
        self.all_were_ready = False
        self._exit_code = 0
        self._signals = Signals(self, plan.log_file)
        self._done = asyncio.Event()
        self.deaths = Deaths(self)
        self._draining = False
        self.restart_counts = dict.fromkeys(RESTART_REASONS, 0)
        self.ender = Ender(self.slots, settings.graceful_timeout)
        self.rollout = Rollout(self.slots, self._reload_is_over)
        probation = Probation(settings.reload_probation, self._passed) if settings.reload_probation else None
        self.replacer = Replacer(
            self.slots,
            self.rollout,
            self.starter,
            self.ender,
            probation,
            counts=self.restart_counts,
            batch=settings.reload_batch,
        )
        self._scaler = Scaler(self.slots, self.starter.start_now, self._leave)
        on_probation = hang_limit(settings.reload_probation, settings.hang_timeout)
        events = CarrierPlan(plan.events, plan.identity, plan.log_file)
        self.carrier = Keeper(lambda: fork_carrier(self.forker, events), settings.hang_timeout, self.finish_if_empty)
        self.health = Health(
            self.slots,
            settings.limits,
            settings.hang_timeout,
            self.replacer.replace,
            on_probation,
            check_carrier=self.carrier.check,
        )
        self.handoff = Handoff(self.slots, self.broker, lambda: self._draining)
        # Who develops mends what fails: --reload goes on forever.
        max_restarts = settings.max_restarts if watch is None else None
        self.restarts = Restarts(RestartBudget(max_restarts, settings.max_restarts_window), self.restart_counts)

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
        self.loop = asyncio.get_running_loop()
        self._started = self.loop.time()
        descriptors = DescriptorWatch()
        self.loop.set_exception_handler(descriptors.handle)
        descriptors.start()
        self._signals.start()
        if self._admin is not None:
            self._admin.show_queues(self.broker.queues)
            self._admin.show_reloads(self.rollout)
            counts, lag = self.restart_counts, LoopLag()
            lag.start(self.loop)
            carrier = self.carrier
            self._admin.show_processes(
                lambda: view_of(self.slots, counts, time.monotonic(), lag.seconds, carrier.status())
            )
            self._admin.show_published(lambda: published_view(carrier.view, carrier.restarts_shown))
            await self._admin.start(self)
        if self._control is not None:
            await self._control.start(self)
        if self.reloader is not None:
            await self.reloader.start(self.forker)
        try:
            await self._start_carrier()
            for slot in list(self.slots):
                self.starter.start(slot)
                await asyncio.sleep(0)  # a fork takes milliseconds: who asks meanwhile need not wait for all of them
            self.health.start(self.loop)
            self.handoff.start(self.loop)
            await self._done.wait()
        finally:
            self._signals.stop()
            descriptors.stop()
            if self.reloader is not None:
                self.reloader.stop()
            if self._admin is not None:
                self._admin.stop()
            if self._control is not None:
                self._control.stop()
            self.broker.close()
            self.carrier.close()
        return self._exit_code

    async def _start_carrier(self) -> None:
        """Start the carrier of events if it does not wait for the first worker that needs it."""
        how = self.settings.carrier
        if how is CarrierStart.AT_THE_START:
            self.carrier.start()
        elif how is CarrierStart.REQUIRED:
            failure = await self.carrier.boot()
            if failure is not None and not self.stopping:
                logger.critical("The carrier of events cannot start", extra={"as_is": f"Error: {failure}\n"})
                self.stop(1, at_once=True)

    def dump(self) -> int:
        """Log the stacks of every worker; return how many there are."""
        workers = [(slot, worker) for slot in self.slots for worker in slot.workers()]
        for slot, worker in workers:
            ask_for_stacks(slot, worker)
        self.carrier.dump()
        return len(workers)

    def status(self) -> Status:
        """Return what there is to know at this instant."""
        now, queues = self.loop.time(), self.broker.queues()
        state = state_in_a_word(ready=self.is_ready, was_ready=self.all_were_ready, stopping=self.stopping)
        workers, found = len(in_use(self.slots)), processes(self.slots, queues, now)
        age, version, shared = round(now - self._started, 3), self.starter.version, queues.get("shared")
        where, reload = self.broker.names(), self.rollout.last
        carrier, events = self.carrier.status(), self.carrier.view
        return Status(os.getpid(), state, age, version, workers, where, shared, reload, found, carrier, events)

    async def refresh(self) -> None:
        """Bring what `status` shows of events up to date."""
        await self.carrier.refresh()

    async def ask(self, question: questions.Question) -> questions.Answer:
        """Ask the carrier of events."""
        return await self.carrier.ask(question)

    def stop(self, exit_code: int = 0, *, at_once: bool = False) -> None:
        """Stop all workers and then the supervisor; what they have in flight finishes, unless `at_once`."""
        first = not self.stopping
        if first and not at_once:
            self.inbox.read_of_booting()
        self.stopping = self.starter.stopped = True
        if first:
            self._exit_code = exit_code
            self.notifier.stopping(f"draining {workers_in_words(len(in_use(self.slots)))}")
        if at_once:
            self._kill_all()
            self.carrier.kill()
        elif first:
            self.ender.end_boots()
            delay = self.settings.drain_delay
            self.loop.call_later(delay, self._drain_all)
            self.loop.call_later(delay + self.ender.limit, self._kill_all)
        self.finish_if_empty()

    def _drain_all(self) -> None:
        self._draining = True
        self.ender.drain_all()
        self.finish_if_empty()

    def _kill_all(self) -> None:
        self.ender.kill_all(silent=self._exit_code not in {0, GAVE_UP})

    def finish_if_empty(self) -> None:
        """End when the last worker is gone, and after it the carrier: until then workers settle events."""
        if self.stopping and not any(slot.workers() for slot in self.slots) and self.carrier.stop():
            self._done.set()

    # --- what became of a worker ---------------------------------------------------------------------

    def see_whether_all_are_ready(self) -> None:
        """A worker is ready. Say so when it is the last of the start."""
        if self.is_ready and not self.all_were_ready:
            self.all_were_ready = True
            if self._admin is not None:
                self._admin.warm_up()
            where = ", ".join(self.broker.names())
            logger.info("%s%s", self.readiness(), f" on {where}" if where else "")
            self.notifier.ready(self.readiness())
            self.notifier.watch(self.loop, lambda: self.stopping or self.health.any_serves())
        self.notifier.status(self.readiness())

    def _passed(self, slot: Slot, worker: Worker) -> None:
        self.replacer.passed(slot, worker)
        self.rollout.look()

    def readiness(self) -> str:
        slots = in_use(self.slots)
        return readiness_in_words(sum(slot.is_ready for slot in slots), len(slots))

    def _reload_is_over(self, failure: str | None) -> None:
        self.handoff.give_up_addresses()
        if failure is not None:
            self.replacer.call_off()
        failed = f"the last reload failed: {failure}; the old workers keep serving"
        self.notifier.reloaded(failed if failure else self.readiness())

    # --- a new worker for an old one ----------------------------------------------------------------

    def reload(self, cause: str = "SIGHUP") -> str | None:
        """Replace every worker, one slot at a time, the new one before the old one; return None, or why not."""
        if self.stopping or not (self.all_were_ready or self.reloader is not None):
            refusal = f"nothing to reload while {'stopping' if self.stopping else 'starting'}"
            logger.warning("%s: %s", cause, refusal)
            return refusal
        logger.info("%s: reloading %s", cause, workers_in_words(len(in_use(self.slots))))
        if self._preloaded:
            logger.warning("%s: --preload keeps the code of the start; only a restart brings new code", cause)
        self.starter.version += 1
        self.rollout.begin(self.starter.version)
        self.notifier.reloading(f"reloading {workers_in_words(len(in_use(self.slots)))}")
        if self.reloader is not None:
            self.reloader.forget()
            self.replacer.end_what_boots()
        self.replacer.replace_all()
        return None

    # --- the number of workers ----------------------------------------------------------------------

    def scale(self, wanted: int, cause: str) -> str | None:
        """Have so many workers; return None, or the line that says why not."""
        return self._scaler.scale(wanted, cause, stopping=self.stopping, starting=not self.all_were_ready)

    def _leave(self, slot: Slot, leaving: list[Worker]) -> None:
        """Let the workers of a slot that was retired go."""
        self.handoff.look()  # a sibling takes its queue over, and those it served, before it stops to accept
        for worker in leaving:
            words = "Worker %d (pid %d) is retired: siblings take over its accept queue"
            logger.info(words, slot.number, worker.pid, extra=about(slot, worker))
            self.ender.drain_or_kill(slot, worker)
        self.replacer.forget(slot)
        self.rollout.look()
