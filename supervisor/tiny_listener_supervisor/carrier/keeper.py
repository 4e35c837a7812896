"""The supervisor's side of the carrier: starts it when it is needed, again after its death, and links workers to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from tiny_listener.events import questions

from ..admin.status import CarrierStatus
from ..ipc.channel import ChannelClosed, GarbledMessage
from ..ipc.messages import Dumped, Stop, TakeLog
from ..policy import MAX_DELAY, MAX_DELAY_ALONE, describe_exit, is_hung, restart_delay
from ..system.proc import cpu_seconds, resident_bytes
from ..worker.heartbeat import REST, STAMP, read_vitals
from ..worker.stacks import DUMP_TIME, take_stacks
from .inquiries import Inquiries
from .life import STEPS, CarrierState, IllegalCarrierStep
from .links import Links
from .messages import AnswerPart, Begin, CarrierFailed, CarrierReady, FromCarrier, LinkLost, Outbox, ToCarrier
from .refresh import Refresh

if TYPE_CHECKING:
    from ..fleet.slot import Worker
    from ..system.logfile import LogFile
    from .life import CarrierProcess

__all__ = ["NO_CARRIER", "Keeper"]

logger = logging.getLogger("tiny_listener.supervisor")

NO_CARRIER = "no carrier of events runs here: the application publishes none (--events starts one with the server)"
ASK_TIME = 3.0
"""Seconds that the answer to a question may take."""
STOP_TIME = 5.0
"""Seconds from the message to stop until the carrier is killed. What it stores is sound even then."""
DEAF_TIME = 1.0
"""Seconds that a carrier may live whose channel is closed."""
SLOW_TIME = 10.0
"""Seconds of loading the store after which the log says so."""


class Keeper:
    """Keeps the carrier running, from when it is first needed.

    :param fork: forks a carrier; raises OSError
    :param hang_timeout: seconds that its event loop may be blocked; 0: no limit
    :param on_gone: called when it has ended after `stop` or `kill`
    :param chance: returns a random number from 0 to 1
    :ivar state: see `life.STEPS`
    :ivar restarts: number of carriers that died and were replaced
    :ivar view: its last view; None: it has shown none
    """

    def __init__(
        self,
        fork: Callable[[], CarrierProcess],
        hang_timeout: float,
        on_gone: Callable[[], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.state = CarrierState.ABSENT
        self.restarts = 0
        self.view: questions.View | None = None
        self._fork = fork
        self._hang_timeout = hang_timeout
        self._on_gone = on_gone
        self._chance = chance
        self._carrier: CarrierProcess | None = None
        self._failures = 0
        self._last_exit: str | None = None
        self._restart: asyncio.TimerHandle | None = None
        self._ended = False
        self._booting: asyncio.Future[str | None] | None = None
        self._links = Links()
        self._refresh = Refresh(lambda: self.ask(questions.AskView()))

    def _step(self, new: CarrierState) -> None:
        if new not in STEPS[self.state]:
            raise IllegalCarrierStep(self.state, new)
        self.state = new

    # --- its life -----------------------------------------------------------------------------------

    async def boot(self) -> str | None:
        """Start it with the server. Return None when it is ready, and why not if it ended before."""
        booting: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._booting = booting
        self.start()
        return await booting

    def _booted(self, failure: str | None) -> bool:
        """Report to `boot`, if it waits; return whether it does."""
        booting, self._booting = self._booting, None
        if booting is None or booting.done():
            return False
        booting.set_result(failure)
        return True

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._ended or CarrierState.STARTING not in STEPS[self.state]:
            return
        self._loop = asyncio.get_running_loop()
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None
        try:
            carrier = self._fork()
        except OSError as exc:
            self._no_fork(f"cannot be forked: {exc.strerror or exc}")
            return
        self._step(CarrierState.STARTING)
        self._carrier = carrier
        self._outbox: Outbox[FromCarrier, ToCarrier] = Outbox(carrier.channel)
        self._loop.add_reader(carrier.channel.fileno(), self._hear, carrier)
        self._inquiries = Inquiries(self._outbox)
        self._expected = self._links.expected()
        self._outbox.send(Begin(self._expected))
        carrier.timers.append(self._loop.call_later(SLOW_TIME, self._tell_that_it_is_slow, carrier))

    def _no_fork(self, words: str) -> None:
        if self._booted(f"the carrier of events {words}"):
            return
        self._failures, delay = restart_delay(max(1, self._failures), 0.0, self._chance())
        logger.error("The carrier of events %s; trying again in %.2g s", words, delay, extra={"reason": words})
        self._restart = self._loop.call_later(delay, self.start)

    def _tell_that_it_is_slow(self, carrier: CarrierProcess) -> None:
        if self.state is CarrierState.STARTING:
            words = "The carrier of events (pid %d) is still opening its store, after %g s"
            logger.warning(words, carrier.pid, SLOW_TIME, extra={"pid": carrier.pid})

    def stop(self) -> bool:
        """Let it store what it has received, and exit. Return whether there is none left."""
        self._end()
        carrier = self._carrier
        if carrier is None:
            return True
        if self.state in (CarrierState.STARTING, CarrierState.READY):
            self._step(CarrierState.STOPPING)
            self._outbox.send(Stop())
            carrier.timers.append(self._loop.call_later(STOP_TIME, self._kill_late, carrier))
        return False

    def _kill_late(self, carrier: CarrierProcess) -> None:
        words = "The carrier of events (pid %d) did not exit within %g s: killing it"
        logger.warning(words, carrier.pid, STOP_TIME, extra={"pid": carrier.pid})
        carrier.process.kill()

    def kill(self) -> None:
        """Kill it, and start none any more. What it has confirmed is stored."""
        self._end()
        if self._carrier is not None:
            self._carrier.process.kill()

    def _end(self) -> None:
        self._ended = True
        if self._restart is not None:
            self._restart.cancel()
            self._restart = None

    def reap(self) -> None:
        """Reap it if it is dead, and make sure that there will be another."""
        carrier = self._carrier
        if carrier is None or (code := carrier.process.exitcode) is None:
            return
        if carrier.channel.fileno() >= 0:
            self._hear(carrier)  # messages that it sent before it died
            self._outbox.close()
            self._loop.remove_reader(carrier.channel.fileno())
        was, lived = self.state, time.monotonic() - carrier.started
        words = self._last_exit = carrier.failure or carrier.kill_reason or describe_exit(code)
        self._step(CarrierState.DEAD)
        self._carrier = None
        carrier.release()
        self._inquiries.close()
        self._links.close()
        if self._booted(carrier.failure or f"the carrier of events {words} before it was ready"):
            self._end()
        if self._ended:
            self._on_gone()
        else:
            self._start_again(carrier, was, words, lived)

    def _start_again(self, carrier: CarrierProcess, was: CarrierState, words: str, lived: float) -> None:
        self.restarts += 1
        # Publishers wait for a carrier that was ready; one that never was may fail again for the same cause.
        longest = MAX_DELAY_ALONE if was is CarrierState.READY else MAX_DELAY
        self._failures, delay = restart_delay(self._failures, lived, self._chance(), longest)
        then = f"in {delay:.2g} s" if delay else "now"
        fields = {"pid": carrier.pid, "reason": words, "duration": round(lived, 3)}
        if carrier.failure is not None:
            text = "The carrier of events cannot start, and events wait: %s; trying again %s"
            logger.critical(text, words, then, extra=fields)
        else:
            text = "The carrier of events (pid %d) %s after %.1f s; the next one starts %s"
            logger.error(text, carrier.pid, words, lived, then, extra=fields)
        self._restart = self._loop.call_later(delay, self.start)

    def close(self) -> None:
        """End it for good, whatever it does."""
        self.kill()
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            self._outbox.close()
            self._loop.remove_reader(carrier.channel.fileno())
            carrier.process.join()
            carrier.release()

    # --- what it says -------------------------------------------------------------------------------

    def _hear(self, carrier: CarrierProcess) -> None:
        try:
            while (received := carrier.channel.receive()) is not None:
                message, fds = received
                for fd in fds:
                    os.close(fd)
                self._handle(carrier, message)
        except ChannelClosed:  # it is about to exit; or it has closed its end, and can no longer be told to
            self._loop.remove_reader(carrier.channel.fileno())
            carrier.timers.append(self._loop.call_later(DEAF_TIME, carrier.process.kill))
        except (GarbledMessage, msgspec.DecodeError) as exc:
            logger.error("The carrier of events (pid %d) sent %s: killing it", carrier.pid, exc)
            self._loop.remove_reader(carrier.channel.fileno())
            carrier.kill_reason = "sent an invalid message"
            carrier.process.kill()

    def _handle(self, carrier: CarrierProcess, message: FromCarrier) -> None:
        match message:
            case CarrierReady():
                self._ready(carrier)
            case CarrierFailed():
                carrier.failure = message.text
            case LinkLost():
                self._links.lost(message.pid)
            case AnswerPart():
                self._inquiries.answered(message)
            case Dumped():
                self._log_stacks(carrier)

    def _ready(self, carrier: CarrierProcess) -> None:
        if self.state is not CarrierState.STARTING:
            return
        self._step(CarrierState.READY)
        lived = time.monotonic() - carrier.started
        fields = {"pid": carrier.pid, "duration": round(lived, 3)}
        logger.debug("The carrier of events (pid %d) is ready", carrier.pid, extra=fields)
        self._booted(None)
        self._links.open(self._outbox, self._expected)

    # --- workers ------------------------------------------------------------------------------------

    def want(self, slot: int, worker: Worker, *, starts: bool = True, lost: bool = False) -> None:
        """A worker asks for a link; see `WantCarrier`."""
        self._links.want(slot, worker, lost=lost)
        if starts and self.state is CarrierState.ABSENT and self._restart is None:
            self.start()

    def forget(self, pid: int) -> None:
        """A worker is dead."""
        self._links.forget(pid)

    # --- questions ----------------------------------------------------------------------------------

    async def ask(self, question: questions.Question, limit: float = ASK_TIME) -> questions.Answer:
        """Ask the carrier. While it is down the last view answers `AskView`, and `Wrong` everything else.

        :param limit: seconds that the answer may take
        """
        if self.state is CarrierState.ABSENT:
            return questions.Wrong(NO_CARRIER)
        if self.state is not CarrierState.READY:
            if isinstance(question, questions.AskView) and self.view is not None:
                return self.view
            why = f"; it ended last: {self._last_exit}" if self._last_exit else ""
            return questions.Wrong(f"the carrier of events is {self.state.value}{why}; try again")
        answer = await self._inquiries.ask(question, limit)
        if isinstance(answer, questions.View):
            self.view = answer
        return answer

    async def refresh(self) -> None:
        """Bring `view` up to date, unless that takes long."""
        if self.state is CarrierState.READY:
            await self._refresh()

    # --- what there is to know of it ----------------------------------------------------------------

    def status(self) -> CarrierStatus | None:
        """Return its status; None: it was never needed."""
        if self.state is CarrierState.ABSENT:
            return None
        carrier = self._carrier
        if carrier is None:
            return CarrierStatus(self.state.value, restarts=self.restarts, last_exit=self._last_exit)
        now, ready = time.monotonic(), self.state is CarrierState.READY
        return CarrierStatus(
            self.state.value,
            carrier.pid,
            round(now - carrier.started, 3),
            self.restarts,
            resident_bytes(carrier.pid),
            self._last_exit,
            cpu_seconds(carrier.pid),
            round(read_vitals(carrier.shown, now).lag, 6) if ready else None,
        )

    @property
    def restarts_shown(self) -> int | None:
        """`restarts`; None: it was never needed."""
        return None if self.state is CarrierState.ABSENT else self.restarts

    def check(self, now: float, awake_since: float, late: float) -> None:
        """Kill it if its event loop has been blocked for too long; see `policy.is_hung`."""
        carrier, limit = self._carrier, self._hang_timeout
        if carrier is None or self.state is not CarrierState.READY or carrier.kill_reason is not None:
            return
        if not is_hung(carrier.shown[STAMP], now, awake_since, limit, late, carrier.shown[REST]):
            return
        logger.error(
            "The carrier of events (pid %d): its event loop has been blocked for %g s (--hang-timeout): killing it",
            carrier.pid, limit, extra={"pid": carrier.pid, "reason": "hang", "duration": limit},
        )  # fmt: skip
        carrier.kill_reason = f"hung for {limit:g} s"
        self.dump()
        carrier.timers.append(self._loop.call_later(DUMP_TIME, carrier.process.kill))

    def pass_on(self, log_file: LogFile) -> None:
        """Send it the current log file."""
        if self.state is CarrierState.READY:
            with contextlib.suppress(OSError):  # no file descriptor is left
                self._outbox.send(TakeLog(), [os.dup(log_file.fd)])

    def dump(self) -> None:
        """Make it write its stacks, and log them."""
        carrier = self._carrier
        if carrier is not None and self.state is CarrierState.READY:
            with contextlib.suppress(ProcessLookupError):
                os.kill(carrier.pid, signal.SIGUSR2)
            carrier.timers.append(self._loop.call_later(DUMP_TIME, self._log_stacks, carrier))

    @staticmethod
    def _log_stacks(carrier: CarrierProcess) -> None:
        if text := take_stacks(carrier.stacks):
            fields = {"pid": carrier.pid, "stacks": text}
            logger.warning("The carrier of events (pid %d) wrote its stacks:", carrier.pid, extra=fields)
