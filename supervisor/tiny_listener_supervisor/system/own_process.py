"""What a forked process drops of the supervisor's: signal handlers, the event loop, file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys

from tiny_listener.process.open_files import open_descriptors

__all__ = ["become_a_process_of_its_own", "die_with_the_supervisor"]

PR_SET_PDEATHSIG = 1
NOT_OURS = (
    signal.SIGINT,  # Ctrl-C reaches the whole foreground group; only the supervisor acts on it
    # These may be sent to the group as well, and would stop or kill a worker by default.
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""Signals that do nothing to a worker. They are caught, not ignored: an ignored signal stays ignored in programs that
the worker starts (execve(2)), and Ctrl-C or `kill -USR1` would not reach these."""


def _heed_nothing(*_: object) -> None:
    """Handle a signal by doing nothing."""


def become_a_process_of_its_own(keep_fds: frozenset[int], supervisor_pid: int) -> None:
    """Drop everything that the fork copied from the supervisor: signal handlers, the event loop, file descriptors.

    :param keep_fds: file descriptors that stay open, in addition to stdin, stdout and stderr
    :param supervisor_pid: the process that this one dies with
    """
    signal.set_wakeup_fd(-1)
    for sig in (
        signal.SIGTERM,
        signal.SIGCHLD,
        signal.SIGHUP,
        signal.SIGQUIT,
    ):
        signal.signal(sig, signal.SIG_DFL)
    for sig in NOT_OURS:
        signal.signal(sig, _heed_nothing)
        signal.siginterrupt(sig, False)  # noqa: FBT003 - restart system calls as if there had been no signal
    die_with_the_supervisor(supervisor_pid)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    asyncio._set_running_loop(None)  # noqa: SLF001 - 3.11 keeps the parent's
    asyncio.set_event_loop(None)
    for fd in open_descriptors():
        if fd > 2 and fd not in keep_fds:
            with contextlib.suppress(OSError):
                os.close(fd)
    if sys.stdin is not None and sys.stdin.fileno() > 2:
        # multiprocess gives its children an empty stdin. Its descriptor is closed by now, and would soon belong to a
        # socket or a pipe.
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123


def die_with_the_supervisor(supervisor_pid: int) -> None:
    """Ask the kernel for SIGKILL when the supervisor ends (prctl(2)); the end of the channel is the fallback."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor_pid:
        os._exit(1)
