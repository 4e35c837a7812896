"""The stacks of workers, for the log. The stacks of one worker are one log record, whatever the others write meanwhile.

On SIGUSR2 a worker's C handler (faulthandler) writes the stacks of its threads, even while its Python code never
returns. It writes in fragments, which could mix with other output. So it writes to memory that the supervisor shares,
memfd_create(2), and the supervisor logs it: when the worker reports that it is done, or, if it hangs, a moment later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING

from ..fleet.slot import about

if TYPE_CHECKING:
    from ..fleet.slot import Slot, Worker

__all__ = ["DUMP_TIME", "ask_for_stacks", "log_stacks", "stacks_memory", "take_stacks"]

logger = logging.getLogger("tiny_listener.supervisor")

DUMP_TIME = 0.5
"""Seconds that a worker has to write its stacks. It takes milliseconds if a processor is free."""
MAX_STACKS = 1 << 20
"""Bytes that are logged: room for a hundred threads with a hundred calls each."""


def stacks_memory(name: str) -> int:
    """Return a file descriptor of memory for the stacks of a process.

    :raises OSError: it cannot be allocated
    """
    return os.memfd_create(f"stacks-{name}", os.MFD_CLOEXEC)


def ask_for_stacks(slot: Slot, worker: Worker) -> None:
    """Make a worker write its stacks, and log them."""
    os.kill(worker.pid, signal.SIGUSR2)
    worker.timers.append(asyncio.get_running_loop().call_later(DUMP_TIME, log_stacks, slot, worker))


def log_stacks(slot: Slot, worker: Worker) -> None:
    """Log the stacks that a worker has written, if they have not been logged yet."""
    if text := take_stacks(worker.stacks):
        fields = {**about(slot, worker), "stacks": text}
        logger.warning("Worker %d (pid %d) wrote its stacks:", slot.number, worker.pid, extra=fields)


def take_stacks(fd: int) -> str:
    """Return the stacks that a process has written to its memory, and empty it; "" if there are none."""
    text = os.pread(fd, MAX_STACKS, 0).decode(errors="replace").strip()
    if text:
        os.lseek(fd, 0, os.SEEK_SET)  # the process shares this file offset
        os.ftruncate(fd, 0)
    return text
