"""A worker process, from the fork to its exit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import faulthandler
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from tiny_listener.core.observer import NULL_OBSERVER, Observer
from tiny_listener.core.runtime import Host
from tiny_listener.events.settings import EventSettings
from tiny_listener.net.addresses import ListenError, listen_error
from tiny_listener.net.provider import ListenAddress
from tiny_listener.process.after_fork import separate_children
from tiny_listener.process.last_resort import LastResort, exit_code_of
from tiny_listener.process.task_dump import log_tasks

from ..ipc.channel import Channel, ChannelClosed, DescriptorsLost, GarbledMessage, fitting
from ..ipc.fd_batches import FdBatches
from ..ipc.messages import (
    Acquire,
    Address,
    BootFailed,
    CannotTakeLog,
    CannotTakeOver,
    CarrierLink,
    Due,
    Dumped,
    FromWorker,
    Granted,
    HandBack,
    Ready,
    Refused,
    Stop,
    TakeLog,
    TakeOver,
    ToWorker,
    WorkerDraining,
)
from ..system.own_process import become_a_process_of_its_own, die_with_the_supervisor
from .carrier_link import CarrierLinks
from .failures import cannot_listen, describe_boot_failure, say_that_it_failed
from .heartbeat import Heartbeat
from .young_garbage import few_collections

if TYPE_CHECKING:
    from tiny_listener import Listener
    from tiny_listener.net.takeover import Takeover

    from ..system.logfile import LogFile
    from ..system.privileges import Identity

__all__ = [
    "SLOT_VARIABLE",
    "Terms",
    "WorkerPlan",
    "dump_on_usr2",
    "worker_main",
]

logger = logging.getLogger("tiny_listener.worker")

SLOT_VARIABLE = "TINY_LISTENER_SLOT"
"""Environment variable with the slot number, for the worker and its children."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker runs.

    :ivar load: returns the configured application; raises CannotLoad
    :ivar graceful_timeout: seconds that events in flight may take after a stop
    :ivar cpu_affinity: whether to pin the worker to one core, chosen by slot number
    :ivar log_file: the log file; None: it logs to stderr
    :ivar identity: the user that it becomes before it loads the application
    :ivar preloaded: whether `load` returns what was imported before the fork, even if its files have changed since
    :ivar events: settings of published events
    """

    load: Callable[[], Listener[Any]]
    graceful_timeout: float
    cpu_affinity: bool = False
    log_file: LogFile | None = None
    identity: Identity | None = None
    preloaded: bool = False
    events: EventSettings = field(default_factory=EventSettings)

    @property
    def report(self) -> int | None:
        """File descriptor that faulthandler writes to when this process is forced to exit; None: there is none."""
        if self.log_file is not None:
            return self.log_file.fd
        try:
            return sys.stderr.fileno()
        except (AttributeError, OSError, ValueError):  # it is closed
            return None

    def pin(self, slot: int) -> None:
        """Pin the process to one core, if requested (sched_setaffinity(2))."""
        if self.cpu_affinity:
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[slot % len(cores)]})


def dump_on_usr2(fd: int, then: Callable[[], None] = lambda: None) -> None:
    """On SIGUSR2, write the stacks of all threads to a file descriptor, and log where the tasks wait.

    :param then: called after that, the next time Python code runs
    """

    def log_the_rest(*_: object) -> None:
        log_tasks()
        then()

    signal.signal(signal.SIGUSR2, log_the_rest)
    # The C handler writes them: it works even while Python code, or a C function, never returns.
    faulthandler.register(signal.SIGUSR2, file=fd, all_threads=True, chain=True)


def _report_dumped(channel: Channel[ToWorker, FromWorker]) -> None:
    with contextlib.suppress(ChannelClosed, BlockingIOError):  # the supervisor reads the stacks anyway, a moment later
        channel.send(Dumped())


class SocketClient:
    """The worker's client of the socket broker. It asks the supervisor for sockets, and receives the supervisor's
    messages.

    :param carrier: takes links to the carrier of events
    :ivar granted: the sockets received, by address
    """

    def __init__(
        self,
        channel: Channel[ToWorker, FromWorker],
        on_stop: Callable[[], None],
        log_file: LogFile | None,
        carrier: CarrierLinks,
    ) -> None:
        self._channel = channel
        self._on_stop = on_stop
        self._log_file = log_file
        self._carrier = carrier
        self._asked: dict[int, asyncio.Future[list[int]]] = {}
        self.granted: dict[Address, socket.socket] = {}
        self._batches = FdBatches()
        self._next_id = 0

    async def start(self) -> None:
        """Start listening to the supervisor."""
        _takeover().on_failure = self._cannot_take_over
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._hear)

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        """Return a socket for each address; see `tiny_listener.net.provider.SocketProvider`."""
        wanted = [self._address(address) for address in addresses]
        self._next_id += 1
        future: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._asked[self._next_id] = future
        self._channel.send(Acquire(self._next_id, wanted))
        sockets = [socket.socket(fileno=fd) for fd in await future]
        self.granted.update(zip(wanted, sockets, strict=True))
        return sockets

    def _address(self, address: ListenAddress) -> Address:
        index = 0
        while True:
            wanted = Address(
                address.family, address.host, address.port, address.backlog, index, address.mode, int(address.kind)
            )
            held = self.granted.get(wanted)
            if held is None or held.fileno() < 0:
                return wanted
            if address.port or address.family == socket.AF_UNIX:
                taken = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                raise listen_error(taken, address.host, address.port or None)
            index += 1

    def _hear(self) -> None:
        while True:
            try:
                received = self._channel.receive()
            except DescriptorsLost as exc:
                self._lose(exc.message)
                continue
            except (ChannelClosed, GarbledMessage) as exc:
                what = "is gone" if isinstance(exc, ChannelClosed) else f"sent an invalid message ({exc})"
                logger.critical("The supervisor %s: this worker exits", what)
                os._exit(1)
            if received is None:
                return
            self._obey(*received)

    def _obey(self, message: ToWorker, fds: list[int]) -> None:
        match message:
            case Granted():
                granted = self._batches.add(("granted", message.id), message, fds)
                if granted is not None:
                    self._grant(self._asked.pop(message.id), granted)
            case Refused():
                future = self._asked.pop(message.id)
                if not future.done():
                    future.set_exception(ListenError(message.errno, message.text))
            case TakeOver():
                taken = self._batches.add(("taken over", message.slot), message, fds)
                if taken is not None:
                    _takeover().take_over(message.slot, [socket.socket(fileno=fd) for fd in taken])
            case HandBack():
                _takeover().hand_back(message.slot)
            case TakeLog():
                if self._log_file is not None:
                    self._log_file.take(fds[0])
            case CarrierLink():
                self._carrier.take(fds[0])
            case Stop():
                self._on_stop()

    @staticmethod
    def _grant(future: asyncio.Future[list[int]], fds: list[int]) -> None:
        if not future.done():
            future.set_result(fds)
            return
        for fd in fds:  # the request was cancelled
            os.close(fd)

    def _lose(self, message: ToWorker) -> None:
        """Report file descriptors that did not arrive, so that nothing relies on them."""
        match message:
            case Granted():
                self._batches.drop(("granted", message.id))
                future = self._asked.pop(message.id, None)
                if future is not None and not future.done():
                    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
                    why = f"all {limit} file descriptors are in use (RLIMIT_NOFILE); raise the limit with ulimit -n"
                    future.set_exception(ListenError(errno.EMFILE, f"cannot listen: {why}"))
            case TakeOver():
                self._batches.drop(("taken over", message.slot))
                self._cannot_take_over(message.slot)
            case TakeLog():
                self._tell(CannotTakeLog())
            case CarrierLink():
                self._carrier.lost()

    def _cannot_take_over(self, slot: int) -> None:
        self._tell(CannotTakeOver(slot))

    def _tell(self, message: FromWorker) -> None:
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            self._channel.send(message)


def _takeover() -> Takeover:
    loop: Any = asyncio.get_running_loop()  # a ServerLoop: only that asks for sockets
    takeover: Takeover = loop.takeover
    return takeover


@dataclass(frozen=True, slots=True)
class Terms:
    """What the supervisor passes to a worker at the fork.

    :ivar make_observer: called in the worker; None: no metrics
    :ivar keep_fds: file descriptors that the worker may keep; all others belong to the supervisor
    :ivar shown: shared memory for the `Heartbeat`
    :ivar stacks: file descriptor of the memory for the worker's stacks
    :ivar before_load: called in the worker before it loads the application; None: nothing to call
    :ivar max_events: number of events after which the worker is due for replacement
    """

    slot: int
    channel: Channel[ToWorker, FromWorker]
    make_observer: Callable[[], Observer] | None
    keep_fds: frozenset[int]
    supervisor_pid: int
    shown: memoryview[float]
    max_events: int | None
    stacks: int
    before_load: Callable[[], None] | None = None


def worker_main(plan: WorkerPlan, terms: Terms) -> None:
    """Run a worker in a process that was just forked. Exits with SystemExit."""
    channel = terms.channel
    become_a_process_of_its_own(terms.keep_fds | {channel.fileno(), terms.stacks}, terms.supervisor_pid)
    separate_children((channel.fileno(), terms.stacks))
    os.environ[SLOT_VARIABLE] = str(terms.slot)
    plan.pin(terms.slot)
    dump_on_usr2(terms.stacks, partial(_report_dumped, channel))
    last_resort = LastResort(plan.graceful_timeout, report=plan.report)
    ready = False
    asked: Collection[Address] = ()

    def on_ready() -> None:
        nonlocal ready
        ready = True
        # Objects made at startup stay alive: exclude them from garbage collection.
        gc.collect()
        gc.freeze()
        channel.send(Ready())

    async def report_draining() -> None:
        async def report() -> None:
            await listener.draining
            with contextlib.suppress(ChannelClosed, BlockingIOError):
                channel.send(WorkerDraining())

        reporting.append(asyncio.ensure_future(report()))  # the loop keeps only weak references to tasks

    def on_due(events: int) -> None:
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            channel.send(Due(events))

    try:
        if plan.identity is not None:
            plan.identity.assume()
            die_with_the_supervisor(terms.supervisor_pid)
        if terms.before_load is not None:
            terms.before_load()
        with few_collections():
            listener = plan.load()
        stopping: list[asyncio.Future[None]] = []
        reporting: list[asyncio.Future[None]] = []

        def on_stop() -> None:
            # If it drains already, change nothing: a signal to the whole process group may have stopped it before.
            if not listener.lifecycle.is_stopping:
                stopping.append(asyncio.ensure_future(listener.graceful_shutdown()))

        carrier = CarrierLinks(channel, plan.events)
        client = SocketClient(channel, on_stop, plan.log_file, carrier)
        asked = client.granted
        host = Host(
            observer=terms.make_observer() if terms.make_observer is not None else NULL_OBSERVER,
            sockets=client,
            on_ready=on_ready,
            signals=(signal.SIGTERM,),
            graceful_timeout=plan.graceful_timeout,
            slot=terms.slot,
            last_resort=last_resort,
            carrier=carrier,
        )
        with few_collections():
            listener.attach(host)
        heartbeat = Heartbeat(terms.shown, listener, terms.max_events, on_due)
        listener.lifecycle.startup[:0] = [client.start, heartbeat.start, report_draining]
        listener.run()
    except SystemExit as exc:
        last_resort.exit_code = exit_code_of(exc)
        raise
    except BaseException as exc:
        last_resort.exit_code = 1
        if ready:
            say_that_it_failed(exc)
            raise SystemExit(1) from None
        code, text = describe_boot_failure(cannot_listen(exc, asked, shared=True) or exc)
        last_resort.exit_code = code
        with contextlib.suppress(ChannelClosed, OSError):
            channel.send(BootFailed(code, fitting(text)))
        raise SystemExit(code) from None
    finally:
        last_resort.begin()
