"""What the kernel knows about a process: proc(5)."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["ProcessNumbers", "cpu_seconds", "process_numbers", "resident_bytes"]

STATE, UTIME, STIME, STARTTIME, VSIZE, RSS = 0, 11, 12, 19, 20, 21
"""Fields of /proc/PID/stat, counted after the name, which may contain spaces and parentheses."""


class ProcessNumbers(NamedTuple):
    """A process at one instant; compare the process metrics of the Prometheus client libraries.

    :ivar cpu: seconds of processor time, in user and kernel mode
    :ivar resident: bytes of resident memory
    :ivar virtual: bytes of address space
    :ivar started: seconds since the epoch
    :ivar open_fds: number of open file descriptors; None without permission to count them
    :ivar max_fds: their limit; None without permission to read it
    """

    cpu: float
    resident: int
    virtual: int
    started: float
    open_fds: int | None
    max_fds: int | None


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process, from proc_pid_statm(5); 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float | None:
    """Return the processor time of a process; None if it is gone, or if there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[UTIME]) + int(fields[STIME])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return None


def process_numbers(pid: int) -> ProcessNumbers | None:
    """Return what the kernel knows of a process; None when it is gone, or a zombie, or where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[STATE] == "Z":
            return None
        tick = os.sysconf("SC_CLK_TCK")
        return ProcessNumbers(
            (int(fields[UTIME]) + int(fields[STIME])) / tick,
            int(fields[RSS]) * os.sysconf("SC_PAGE_SIZE"),
            int(fields[VSIZE]),
            _boot_time() + int(fields[STARTTIME]) / tick,
            _open_fds(pid),
            _max_fds(pid),
        )
    except (OSError, IndexError):
        return None


def _open_fds(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None


def _max_fds(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    except PermissionError:
        return None
    limit = next((line.split()[3] for line in lines if line.startswith("Max open files")), "")
    return int(limit) if limit.isdigit() else None


@cache
def _boot_time() -> int:
    """Return when the system started, in seconds since the epoch, from proc_stat(5)."""
    lines = Path("/proc/stat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("btime "))
