"""A server's status as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tiny_listener_supervisor.admin.status import ProcessStatus, Status

__all__ = ["picture", "table"]

COLUMNS = ("SLOT", "STATE", "PID", "AGE", "VERSION", "RESTARTS", "RSS", "QUEUE", "EVENTS", "LAST EXIT")
LEFT = ("STATE", "LAST EXIT")
"""Columns of text; the others are numbers and right-aligned."""
STYLES = {
    "ready": "green",
    "starting": "cyan",
    "draining": "yellow",
    "stopping": "yellow",
    "degraded": "bold red",
    "down": "bold red",
    "retired": "dim",
}
"""Style of a state on a terminal, in addition to its name."""
ANY_WIDTH = 10_000


def table(status: Status) -> str:
    """Return a status as text: the server, its last reload unless it succeeded, and a row for each process."""
    out = io.StringIO()
    Console(file=out, width=ANY_WIDTH, color_system=None).print(picture(status))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def picture(status: Status) -> Group:
    """Return the same for a terminal, which may be narrower."""
    where = ", ".join(status.addresses)
    waiting = f", {status.shared_queue} connections waiting" if status.shared_queue is not None else ""
    count = f"{status.workers} worker{'s' if status.workers != 1 else ''}{f' on {where}' if where else ''}"
    lines = [
        Text.assemble(
            f"tiny-listener {status.pid}: ",
            (status.state, STYLES.get(status.state, "")),
            f", {count}, up {_span(status.age)}{waiting}",
        )
    ]
    reload = status.reload
    if reload is not None and reload.state == "running":
        lines.append(Text(f"reload {reload.version} in progress"))
    elif reload is not None and reload.state == "failed":
        lines.append(Text(f"reload {reload.version} failed: {reload.failure}", style="bold red"))
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        rows.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    for one in status.processes:
        rows.add_row(*_row(one))
    return Group(*lines, rows)


def _row(one: ProcessStatus) -> Sequence[str | Text]:
    return (
        str(one.slot),
        Text(one.state, style=STYLES.get(one.state, "")),
        _or_dash(one.pid),
        _span(one.age) if one.age is not None else "-",
        _or_dash(one.version),
        str(one.restarts),
        f"{one.rss / 2**20:.0f} MiB" if one.pid is not None else "-",
        _or_dash(one.accept_queue),
        _or_dash(one.events),
        Text(one.last_exit or "-"),
    )


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _span(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = int(seconds)
    for unit, name, smaller, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {small_name}"
    return f"{whole} s"
