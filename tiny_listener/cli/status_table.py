"""A server's status as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tiny_listener_supervisor.admin.status import CarrierStatus, ProcessStatus, Status

    from ..events.questions import View

__all__ = ["events_line", "picture", "table", "text_of"]

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
    return text_of(picture(status))


def text_of(picture: Group) -> str:
    """Return what a terminal of any width would show, without colors."""
    out = io.StringIO()
    Console(file=out, width=ANY_WIDTH, color_system=None).print(picture)
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
    if status.events is not None:
        lines.append(Text(events_line(status.events)))
    rows = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in COLUMNS:
        rows.add_column(name, justify="left" if name in LEFT else "right", no_wrap=True)
    for one in status.processes:
        rows.add_row(*_row(one))
    if status.carrier is not None:
        rows.add_row(*_carrier(status.carrier))
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


def _carrier(one: CarrierStatus) -> Sequence[str | Text]:
    return (
        "carrier",
        Text(one.state, style=STYLES.get(one.state, "")),
        _or_dash(one.pid),
        _span(one.age) if one.age is not None else "-",
        "-",
        str(one.restarts),
        f"{one.rss / 2**20:.0f} MiB" if one.pid is not None else "-",
        "-",
        "-",
        Text(one.last_exit or "-"),
    )


def events_line(view: View) -> str:
    """Return the state of published events in one line."""
    oldest = f", the oldest for {_span(view.oldest)}" if view.oldest is not None else ""
    by_reason = ", ".join(f"{reason} {count}" for reason, count in sorted(view.dead.items()) if count)
    facts = (
        f"{view.waiting} waiting{oldest}",
        f"{view.retries} of them for a retry" if view.retries else "",
        f"{view.delayed} of them delayed" if view.delayed else "",
        f"{sum(view.in_flight.values())} in flight",
        f"{sum(view.dead.values())} dead{f' ({by_reason})' if by_reason else ''}",
        f"{view.halted} halted key{'s' if view.halted != 1 else ''}" if view.halted else "",
        f"{view.store}, {view.store_bytes / 2**20:.1f} MiB",
        f"cannot store: {view.failure}" if view.failure else "",
    )
    return f"events: {', '.join(filter(None, facts))}"


def _or_dash(number: int | None) -> str:
    return "-" if number is None else str(number)


def _span(seconds: float) -> str:
    """Return a duration in its two largest units."""
    whole = int(seconds)
    for unit, name, smaller, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller} {small_name}"
    return f"{whole} s"
