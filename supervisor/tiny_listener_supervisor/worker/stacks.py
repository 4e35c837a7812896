"""The stacks of workers, for the log: each worker's as one event, whole, whatever the others write meanwhile.

On SIGUSR2 a worker's C handler (faulthandler) writes the stacks of its threads, even while its Python code never
returns; in fragments, and without a look at who else writes there. So it writes to memory that the supervisor shares
with it, memfd_create(2), and the supervisor logs what it finds there: when the worker says that it is done, or, where
it hangs and says nothing, a moment later.
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

__all__ = ["DUMP_TIME", "ask_for_stacks", "log_stacks", "stacks_memory"]

logger = logging.getLogger("tiny_listener.supervisor")

DUMP_TIME = 0.5
"""Seconds that a worker has to write its stacks; it takes milliseconds, where a processor is at hand."""
MAX_STACKS = 1 << 20
"""Bytes that are logged: a hundred threads of a hundred calls are as many."""


def stacks_memory(slot: int) -> int:
    """Return the file descriptor of memory for a worker's stacks.

    :raises OSError: there is none to be had
    """
    return os.memfd_create(f"stacks-{slot}", os.MFD_CLOEXEC)


def ask_for_stacks(slot: Slot, worker: Worker) -> None:
    """Let a worker write its stacks, and log them."""
    os.kill(worker.pid, signal.SIGUSR2)
    worker.timers.append(asyncio.get_running_loop().call_later(DUMP_TIME, log_stacks, slot, worker))


def log_stacks(slot: Slot, worker: Worker) -> None:
    """Log what a worker has written of its stacks, if it has and they are not logged yet."""
    text = os.pread(worker.stacks, MAX_STACKS, 0).decode(errors="replace").strip()
    if text:
        os.lseek(worker.stacks, 0, os.SEEK_SET)  # the worker writes at the same position
        os.ftruncate(worker.stacks, 0)
        fields = {**about(slot, worker), "stacks": text}
        logger.warning("Worker %d (pid %d) wrote its stacks:", slot.number, worker.pid, extra=fields)
