"""Ends a process that does not end by itself.

A stop asks the application to end, and the application may not comply. `Lifecycle` and `close_loop` give up on tasks
and callbacks that only await. Code that blocks has to be ended from outside the event loop, and no single mechanism
always works:

- *A separate thread* sleeps until the deadline, logs what is left, and calls `_exit(2)`. It works while the event loop
  is blocked (`time.sleep`, `while True`), and while the interpreter joins threads or runs `atexit`.
- *A C thread of faulthandler* does not need the GIL. It ends the process with code 1 and writes all stacks to stderr,
  if a C function holds the GIL or if the interpreter is shutting down and no Python thread runs any more.

A signal has to be detected first. The Python handler runs in the main thread between two bytecodes, and within C
functions that check for signals (`time.sleep`, `re.match`). If the main thread is in a C function that releases the
GIL but does not check for signals (a database driver, `hashlib.pbkdf2_hmac`), only the C handler runs: faulthandler's
handler writes to a pipe that the thread reads. `signal.set_wakeup_fd` would be simpler, but while a loop runs it
belongs to the loop and wakes nothing else. So it is used only while the application is imported, and at interpreter
exit.

One case remains: a C function that holds the GIL, does not check for signals, and runs before any of these is set up.
In a process without a supervisor TERM is not detected then. QUIT and KILL are handled by the kernel and end it.
"""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import faulthandler
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from .after_fork import separate_children
from .task_dump import OURS, in_words

__all__ = ["AT_ONCE", "LastResort", "exit_code_of", "on_forced_exit", "what_is_left"]

logger = logging.getLogger("tiny_listener")

REPORT = 0.75
"""Seconds after the graceful timeout in which cancelled tasks may end; then the thread ends the process."""
BACKSTOP = 0.2
"""Seconds after that until faulthandler ends the process. The sum is less than the second that a supervisor waits
(`KILL_GRACE`)."""
BACKSTOP_AT_ONCE = 1.0
"""The same where the process ends at once. Nothing waits for the sum, and on a busy machine the thread is late."""
AT_ONCE = 0.3
"""Seconds to end for an application that reacts to cancellation, after a second signal that means "at once"."""
MAX_NAMES = 20
STACK = b"(most recent call first)"
"""What faulthandler writes once per signal."""

_cleanups: list[Callable[[], object]] = []


def on_forced_exit(clean_up: Callable[[], object]) -> Callable[[], None]:
    """Register a function to call before this process is forced to exit, which runs no `finally` and no `atexit`
    callback.

    :param clean_up: for example, removes a file; it must not block
    :returns: a function that unregisters it
    """
    _cleanups.append(clean_up)

    def take_back() -> None:
        with contextlib.suppress(ValueError):
            _cleanups.remove(clean_up)

    return take_back


class LastResort:
    """Ends this process if a stop takes too long.

    :param limit: seconds that a stop may take: the drain delay plus the graceful timeout
    :param watches: whether to detect signals while the main thread is in a C function that does not check for them
    :param report: the file descriptor that faulthandler writes to; None: /dev/null
    :ivar exit_code: exit code of a forced exit
    """

    def __init__(self, limit: float, *, watches: bool = False, report: int | None = None, exit_code: int = 0) -> None:
        self.exit_code = exit_code
        self._limit = limit
        self._watches = watches
        self._report = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if report is None else report
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_signal: Callable[[signal.Signals, bool], None] | None = None
        self._numbers: set[bytes] = set()
        self._is_booting = True
        self._handled = self._level = 0
        """Number of signals that the Python handler was called for, and that were acted upon."""
        self._dumped = self._noted = 0
        """Number of signals that the C handlers, faulthandler's and Python's, reported on the pipe."""
        self._began: float | None = None
        self._deadline: float | None = None
        self._is_running = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)  # a signal handler must not wait for a blocked reader
        separate_children((self._reader, self._writer))

    # --- interface --------------------------------------------------------------------------------

    def catch(self, signals: Iterable[signal.Signals]) -> None:
        """Catch signals from now on, including those for which a module of the application installed a handler
        meanwhile.

        Call this in the main thread. Until a loop is set, the first signal ends the process at once.
        """
        for sig in signals:
            self._numbers.add(bytes([sig]))
            if signal.getsignal(sig) != self.handle:
                faulthandler.unregister(sig)
                signal.signal(sig, self.handle)
                if self._watches:
                    faulthandler.register(sig, file=self._writer, all_threads=False, chain=True)
        if self._watches:
            signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
            self._run()

    def hand_to(self, loop: asyncio.AbstractEventLoop, on_signal: Callable[[signal.Signals, bool], None]) -> None:
        """Forward signals to a loop from now on.

        :param on_signal: called in the loop with a signal, and whether it means "at once"
        """
        self._loop, self._on_signal = loop, on_signal

    def booted(self) -> None:
        """Events are accepted: from now on the first signal lets events in flight finish."""
        self._is_booting = False

    def begin(self, seconds: float | None = None) -> None:
        """Set a deadline for this process; the earliest of several counts.

        :param seconds: that a stop may take until it is forced; None: the limit
        """
        self._arm(self._limit + REPORT if seconds is None else seconds)

    # --- signals ----------------------------------------------------------------------------------

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Signal handler. It may interrupt anything, so it takes no lock and logs nothing."""
        self._handled += 1
        self._escalate(self._handled)
        loop, on_signal = self._loop, self._on_signal
        if loop is not None and on_signal is not None:
            with contextlib.suppress(RuntimeError):  # it is closed: the interpreter is about to exit
                loop.call_soon_threadsafe(on_signal, signal.Signals(number), self._handled > 1)

    def _escalate(self, count: int) -> None:
        """Act upon the number of signals that the handler, the thread or both have seen."""
        if count > self._level:
            self._level = count
            if self._loop is None:
                self._arm(0.0)
            elif count > 1 or self._is_booting:
                self._arm(AT_ONCE)
            else:
                self.begin()

    def _arm(self, seconds: float) -> None:
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if self._deadline is not None and self._deadline <= now + seconds:
            return
        self._deadline = now + seconds
        backstop = BACKSTOP_AT_ONCE if seconds <= AT_ONCE else BACKSTOP
        faulthandler.dump_traceback_later(seconds + backstop, exit=True, file=self._report)
        self._run()
        with contextlib.suppress(OSError):
            os.write(self._writer, b"\n")

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        if not self._is_running:
            self._is_running = True
            # Not `threading.Thread`: that takes locks, and this may be called by a signal handler. The interpreter does
            # not wait for this thread at exit.
            _thread.start_new_thread(self._watch, ())

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while True:
            deadline = self._deadline
            wait = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            if poll.poll(wait):
                with contextlib.suppress(BlockingIOError):
                    self._read(os.read(self._reader, 65536))
            elif self._deadline is not None and time.monotonic() >= self._deadline:
                self._end()

    def _read(self, written: bytes) -> None:
        self._dumped += written.count(STACK)
        self._noted += sum(map(written.count, self._numbers))  # no text has these bytes
        self._escalate(max(self._dumped, self._noted))

    def _end(self) -> None:
        try:
            took = time.monotonic() - (self._began or 0.0)
            logger.warning(
                "Forcing the exit after %.1f s, with exit code %d; still running: %s",
                took, self.exit_code, _in_a_line(what_is_left(self._loop)), extra={"duration": round(took, 3)},
            )  # fmt: skip
            for clean_up in _cleanups:
                with contextlib.suppress(Exception):
                    clean_up()
        finally:
            os._exit(self.exit_code)


def what_is_left(loop: asyncio.AbstractEventLoop | None) -> list[str]:
    """Name what may keep this process from exiting: the current call of the main thread, threads, children, tasks."""
    frames = sys._current_frames()  # noqa: SLF001 - the only way to another thread's frames
    main = threading.main_thread()
    found = []
    place = _place(frames.get(main.ident or 0))
    if place is not None:
        found.append(f"the main thread, in {place}")
    for thread in threading.enumerate():
        if thread is not main and not thread.daemon:
            place = _place(frames.get(thread.ident or 0))
            found.append(f"thread {thread.name!r}" + (f", in {place}" if place else ""))
    children = getattr(sys.modules.get("multiprocessing.process"), "_children", ())
    found += [f"child process {child.name!r} (pid {child.pid})" for child in list(children)]
    if loop is not None:
        with contextlib.suppress(RuntimeError):  # tasks come and go meanwhile
            tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
            found += sorted(words for words in map(in_words, tasks) if ", in " in words)
    return found


def _in_a_line(names: list[str]) -> str:
    return (
        "; ".join(names[:MAX_NAMES]) + ("; ..." if len(names) > MAX_NAMES else "")
    ) or "atexit callbacks or finalizers"


def _place(frame: FrameType | None) -> str | None:
    """Return the innermost call in application code, or None."""
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in OURS and package not in ENVIRONS and package not in sys.stdlib_module_names:
            return f"{frame.f_code.co_qualname} ({Path(frame.f_code.co_filename).name}:{frame.f_lineno})"
        frame = frame.f_back
    return None


ENVIRONS = frozenset({"__main__", "click", "multiprocess"})
"""Packages between the start of the process and the application."""


def exit_code_of(exc: BaseException) -> int:
    """Return the exit code of the interpreter for an uncaught exception."""
    if not isinstance(exc, SystemExit):
        return 1
    if exc.code is None:
        return 0
    return exc.code & 0xFF if isinstance(exc.code, int) else 1
