"""The single process without a supervisor: `--workers 1`."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

from tiny_listener.core.lifecycle import State
from tiny_listener.core.observer import NULL_OBSERVER, Observer
from tiny_listener.core.publishing.embedded import EmbeddedCarrier
from tiny_listener.core.runtime import Host
from tiny_listener.events.questions import AskView, View, Wrong
from tiny_listener.events.settings import EventSettings
from tiny_listener.net.addresses import name_of
from tiny_listener.net.provider import SocketProvider
from tiny_listener.process.last_resort import LastResort, exit_code_of
from tiny_listener.process.task_dump import log_tasks

from .admin.status import Status, of_the_only_process, state_in_a_word
from .admin.views import published_view, view_of_the_only_process
from .carrier.refresh import Refresh
from .ipc.accept_depth import queue_depth
from .settings import CarrierStart
from .system.logfile import reopen
from .system.sd_notify import Notifier
from .worker.failures import cannot_listen, describe_boot_failure, http_addresses, say_that_it_failed
from .worker.heartbeat import Heartbeat, read_vitals
from .worker.process import WorkerPlan, dump_on_usr2
from .worker.stacks import DUMP_TIME

if TYPE_CHECKING:
    from tiny_listener.events import questions

    from .admin.endpoint import Admin
    from .control.server import Control
    from .settings import SupervisorSettings

__all__ = ["Single"]

logger = logging.getLogger("tiny_listener")

ALONE = "this server is a single process, which only a restart changes: start it with --workers 2 or more"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that start a graceful stop. QUIT keeps its default action: the kernel kills the process whatever it is doing.
"""


class Single:
    """The single process. It runs the listener and serves the admin endpoint next to it.

    :param observer: counts events; None: no metrics
    :param admin: the admin endpoint; None: there is none
    :param notifier: the connection to the service manager; None: there is none
    :param control: where `tiny-listenerctl` asks about published events, once there are such; None: nowhere
    :param trial: provides the listener's sockets, and the process stops once it is ready; None: serve
    :ivar was_ready: whether the listener has ever been ready
    """

    def __init__(
        self,
        plan: WorkerPlan,
        settings: SupervisorSettings,
        observer: Observer | None = None,
        admin: Admin | None = None,
        notifier: Notifier | None = None,
        *,
        control: Control | None = None,
        trial: SocketProvider | None = None,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._observer = observer or NULL_OBSERVER
        self._admin = admin
        self._notifier = notifier or Notifier()
        self._trial = trial
        # A trial must not open the store, which the server that runs may have open.
        is_needed = trial is None and settings.carrier is not CarrierStart.WHEN_NEEDED
        events = plan.events if trial is None else EventSettings()
        self._carrier = EmbeddedCarrier(events, at_start=is_needed, on_start=self._start_control)
        self._control = control
        self._view: View | None = None
        self._refresh = Refresh(self._ask_for_view)
        self._state = State.NEW
        self.was_ready = False
        self._servers: list[Any] = []
        self._started = time.monotonic()
        self._shown = memoryview(bytearray(8 * 8)).cast("d")

    @property
    def is_ready(self) -> bool:
        """Whether the listener accepts events."""
        return self.was_ready and self._life.state is State.READY

    def status(self) -> Status:
        """Return the status. Restarts and reloads are absent: they need a supervisor."""
        stopping = self._life.state not in (State.NEW, State.STARTING, State.READY)
        state = state_in_a_word(ready=self.is_ready, was_ready=self.was_ready, stopping=stopping)
        servers = self._servers
        addresses = [name_of(sock) for server in servers if server.is_serving() for sock in server.sockets]
        now, queue = time.monotonic(), sum(self._queues().values())
        lag = read_vitals(self._shown, now).lag
        age = round(now - self._started, 3)
        return of_the_only_process(state, age, addresses, queue, self._hooks.dispatched, lag=lag, events=self._view)

    async def refresh(self) -> None:
        """Bring what `status` shows of events up to date."""
        if self._carrier.service is not None:
            await self._refresh()

    async def _ask_for_view(self) -> None:
        service = self._carrier.service
        if service is not None and isinstance(view := await service.answer(AskView()), View):
            self._view = view

    def _queues(self) -> dict[str, int]:
        """Return the accept queue depths, by the same keys as `SocketBroker.queues`."""
        depths: dict[str, int] = {}
        inherited = {os.fstat(fd).st_ino for fd in self._settings.inherited}
        for server in self._servers:
            for sock in server.sockets if server.is_serving() else ():
                is_shared = sock.family == socket.AF_UNIX or os.fstat(sock.fileno()).st_ino in inherited
                if (depth := queue_depth(sock.fileno())) is not None:
                    name = "shared" if is_shared else "0"
                    depths[name] = depths.get(name, 0) + depth
        return depths

    def run(self) -> int:
        """Run until a stop; return the exit code."""
        # No supervisor watches this process. If boot takes too long, it dumps its stacks and exits with code 1. While
        # the loop runs `_end_boot` does so and also names the waiting tasks; if it is blocked, this timer fires later.
        faulthandler.dump_traceback_later(self._settings.boot_timeout + DUMP_TIME, exit=True)
        log_file = self._plan.log_file
        dump_on_usr2(sys.stderr.fileno() if log_file is None else log_file.fd)
        self._plan.pin(0)
        signal.signal(signal.SIGUSR1, lambda *_: reopen(self._plan.log_file))
        limit = self._settings.drain_delay + self._plan.graceful_timeout
        self._last_resort = last_resort = LastResort(limit, watches=True, report=self._plan.report)
        # A signal ends the process at once while the application is imported; after that Listener.run handles signals.
        last_resort.catch(SIGNALS)
        try:
            last_resort.exit_code = code = self._run()
        except SystemExit as exc:
            last_resort.exit_code = exit_code_of(exc)
            raise
        finally:
            # At exit the interpreter also waits for the application's threads, `atexit` callbacks and finalisers. This
            # replaces the boot timer: faulthandler has only one.
            last_resort.begin()
        return code

    def _run(self) -> int:
        """Load the application and run it; return the exit code.

        :raises SystemExit: raised by the application
        """
        listener = None
        try:
            listener = self._plan.load()
            self._life, self._hooks = listener.lifecycle, listener.hooks
            self._host = Host(
                sockets=self._trial,
                observer=self._observer,
                on_ready=self._on_ready,
                graceful_timeout=self._plan.graceful_timeout,
                drain_delay=self._settings.drain_delay,
                signals=SIGNALS,
                last_resort=self._last_resort,
                carrier=self._carrier,
            )
            listener.attach(self._host)
            heartbeat = Heartbeat(self._shown, listener)
            self._life.startup[:0] = [self._watch_boot, self._start_admin, self._notify_stop, heartbeat.start]
            listener.run()
        except SystemExit:
            raise
        except BaseException as exc:
            if self.was_ready:
                say_that_it_failed(exc)
                return 1
            code, text = describe_boot_failure(cannot_listen(exc, http_addresses(listener), shared=False) or exc)
            logger.critical("The application cannot boot", extra={"as_is": text})
            return code
        return 0

    async def _watch_boot(self) -> None:
        left = self._started + self._settings.boot_timeout - time.monotonic()
        self._boot_timer = asyncio.get_running_loop().call_later(left, self._end_boot)

    def _end_boot(self) -> None:
        logger.critical("The application is not ready after %g s (--boot-timeout)", self._settings.boot_timeout)
        log_tasks()
        faulthandler.dump_traceback()
        os._exit(1)

    async def _start_admin(self) -> None:
        if self._admin is None:
            return
        servers = getattr(asyncio.get_running_loop(), "servers", [])
        self._servers = servers
        before = len(servers)
        self._admin.show_queues(self._queues)
        self._admin.show_processes(lambda: view_of_the_only_process(self._shown, time.monotonic()))
        self._admin.show_published(lambda: published_view(self._view))
        await self._admin.start(self)
        # A drain closes the listener's servers. The admin endpoint stays open to report how the drain goes.
        del servers[before:]

    async def _notify_stop(self) -> None:
        async def notify() -> None:
            await self._life.wait_for_shutdown()
            self._notifier.stopping("draining")

        self._notifying = asyncio.ensure_future(notify())  # the loop keeps only weak references to tasks

    # --- what tiny-listenerctl asks; see `control.server.Commanded` --------------------------------

    def _start_control(self) -> None:
        """The first event is published: from now on tiny-listenerctl is of use."""
        if self._control is not None:
            self._starting_control = asyncio.ensure_future(self._open_control(self._control))
            self._life.last.append(self._stop_control)

    async def _open_control(self, control: Control) -> None:
        servers = getattr(asyncio.get_running_loop(), "servers", [])
        before = len(servers)
        await control.start(self)
        del servers[before:]  # a drain leaves it open

    async def _stop_control(self) -> None:
        if self._control is not None:
            self._control.stop()

    async def ask(self, question: questions.Question) -> questions.Answer:
        """Ask the carrier of published events."""
        service = self._carrier.service
        return Wrong("no carrier of events runs here") if service is None else await service.answer(question)

    def reload(self, cause: str) -> str | None:
        """Refuse: it needs a supervisor."""
        return ALONE

    def scale(self, wanted: int, cause: str) -> str | None:
        """Refuse: it needs a supervisor."""
        return ALONE

    def stop(self, *, at_once: bool = False) -> None:
        """Stop, gracefully unless `at_once`."""
        os.kill(os.getpid(), signal.SIGTERM)
        if at_once:
            os.kill(os.getpid(), signal.SIGTERM)

    def dump(self) -> int:
        """Write the stacks to the log."""
        os.kill(os.getpid(), signal.SIGUSR2)
        return 1

    async def _stop_admin(self) -> None:
        if self._admin is not None:
            self._admin.stop()

    def _on_ready(self) -> None:
        self.was_ready = True
        self._boot_timer.cancel()
        faulthandler.cancel_dump_traceback_later()
        if self._admin is not None:
            self._admin.warm_up()
        self._notifier.ready("ready")
        self._notifier.watch(asyncio.get_running_loop(), lambda: True)  # a blocked loop sends nothing
        self._life.shutdown.append(self._stop_admin)
        if self._trial is not None:
            self._life.begin_stop(self._host)
            return
        # Objects made at startup stay alive: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
