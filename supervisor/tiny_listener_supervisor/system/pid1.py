"""The first process of a container: it reaps whoever is orphaned there, and hands signals on.

The kernel gives process 1 every orphan of its namespace to wait for, and takes no signal's default action on it
(pid_namespaces(7)). An event loop cannot tell an orphan from a child that the application waits for itself; so
a process of its own does this, and nothing else.
"""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping

__all__ = ["leave_process_1"]

SI_KERNEL = 0x80
"""The si_code of a signal that no process sent (sigaction(2)): a terminal's, which the whole group gets from it."""
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT}
"""Not to be waited for: this process causes them itself."""


def leave_process_1(environ: MutableMapping[str, str]) -> None:
    """As process 1, go on in a child and stay behind as its init; as any other process do nothing.

    :param environ: what names this process by its number, for whoever passes sockets or watches, is to name the child
    """
    if os.getpid() != 1:
        return
    awaited = signal.valid_signals() - FAULTS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # sockets that were passed are the child's alone to close
        os._exit(_be_init(child, awaited))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        if environ.get(name) == "1":
            environ[name] = str(os.getpid())


def _be_init(child: int, awaited: set[int] | set[signal.Signals]) -> int:
    """Reap and hand on until the child has ended; return the exit code that says how."""
    while True:
        info = signal.sigwaitinfo(awaited)
        if info.si_signo == signal.SIGCHLD:
            status = _reap(child)
            if status is not None:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif info.si_code != SI_KERNEL:
            os.kill(child, info.si_signo)


def _reap(child: int) -> int | None:
    """Wait for all that have ended; return the child's status if it is one of them."""
    status = None
    while True:
        try:
            pid, how = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = how
