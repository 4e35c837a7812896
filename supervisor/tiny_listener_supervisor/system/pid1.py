"""Process 1 of a container: it reaps orphans and forwards signals.

The kernel makes process 1 the parent of every orphan in its namespace, and does not apply the default action of signals
to it (pid_namespaces(7)). An event loop cannot tell an orphan from a child that the application itself waits for. So a
separate process does this, and nothing else.
"""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping

__all__ = ["leave_process_1"]

SI_KERNEL = 0x80
"""The si_code of a signal that no process sent (sigaction(2)): it comes from a terminal and reaches the whole group
anyway."""
FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGABRT}
"""Signals not to wait for: this process causes them itself."""


def leave_process_1(environ: MutableMapping[str, str]) -> None:
    """As process 1, continue in a child and act as its init; as any other process, do nothing.

    :param environ: variables that name this process by its pid, for socket activation or a watchdog, are set to the
        child's
    """
    if os.getpid() != 1:
        return
    awaited = signal.valid_signals() - FAULTS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child:
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # only the child may close sockets that were passed in
        os._exit(_be_init(child, awaited))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for name in ("LISTEN_PID", "WATCHDOG_PID"):
        if environ.get(name) == "1":
            environ[name] = str(os.getpid())


def _be_init(child: int, awaited: set[int] | set[signal.Signals]) -> int:
    """Reap and forward signals until the child has ended; return the exit code that describes its end."""
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
    """Reap everything that has ended; return the child's status if it is among it."""
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
