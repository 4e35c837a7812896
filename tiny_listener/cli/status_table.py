"""A server's status as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiny_listener_supervisor.status import ProcessStatus, Status

__all__ = ["COLUMNS", "fit", "table"]

COLUMNS = ("SLOT", "STATE", "PID", "AGE", "VERSION", "RESTARTS", "RSS", "QUEUE", "EVENTS", "LAST EXIT")
LEFT = ("STATE", "LAST EXIT")
"""Columns of words; the others are of numbers, which stand at the right."""


def table(status: Status) -> str:
    """Return a status as lines: the server, its last reload if that is no success, and a row for each process."""
    where = ", ".join(status.addresses)
    waiting = f", {status.shared_queue} connections wait" if status.shared_queue is not None else ""
    count = f"{status.workers} worker{'s' if status.workers != 1 else ''}{f' on {where}' if where else ''}"
    lines = [f"tiny-listener {status.pid}: {status.state}, {count}, up {_span(status.age)}{waiting}"]
    reload = status.reload
    if reload is not None and reload.state == "running":
        lines.append(f"reload {reload.version} runs")
    elif reload is not None and reload.state == "failed":
        lines.append(f"reload {reload.version} failed: {reload.failure}")
    rows: list[Sequence[str]] = [COLUMNS, *map(_row, status.processes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        cells = [
            cell.ljust(width) if name in LEFT else cell.rjust(width)
            for name, cell, width in zip(COLUMNS, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(one: ProcessStatus) -> Sequence[str]:
    return (
        str(one.slot),
        one.state,
        _or_dash(one.pid),
        _span(one.age) if one.age is not None else "-",
        _or_dash(one.version),
        str(one.restarts),
        f"{one.rss / 2**20:.0f} MiB" if one.pid is not None else "-",
        _or_dash(one.accept_queue),
        _or_dash(one.events),
        one.last_exit or "-",
    )


def fit(text: str, columns: int, lines: int) -> str:
    """Return a text cut to a terminal's size, saying how many lines are missing: a longer one would scroll."""
    rows = [line[:columns] for line in text.split("\n")]
    if len(rows) <= lines:
        return "\n".join(rows)
    shown = max(1, lines - 1)
    return "\n".join([*rows[:shown], f"... and {len(rows) - shown} lines more"[:columns]])


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _span(seconds: float) -> str:
    """Return a time in its two largest units."""
    whole = int(seconds)
    for unit, name, smaller, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {small_name}"
    return f"{whole} s"
