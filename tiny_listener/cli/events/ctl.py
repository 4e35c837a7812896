"""`tiny-listenerctl events`, `dead`, `halted` and `skip`: published events, as the carrier of a server knows them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click
import msgspec

from ...errors import CannotLoad
from ...events import questions
from ...events.policy import Reason

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["COMMANDS", "ask_carrier", "server_of"]

PAGE = 100
"""Dead letters that are asked for at a time."""
DATA_SHOWN = 60
"""Characters of a dead letter's error in the list."""

A = TypeVar("A")
Place = tuple[str | None, int | None]


def ask_carrier(place: Place, question: questions.Question, expected: type[A]) -> A:
    """Return the carrier's answer to a question.

    :raises CommandFailed: there is no server or no carrier, or it refuses
    """
    from tiny_listener_supervisor.control.messages import AskEvents, EventsAnswer  # noqa: PLC0415

    from ..ctl import CommandFailed, ask, find, unexpected  # noqa: PLC0415 - which adds these commands to its own

    answer = ask(find(*place), AskEvents(question))
    if not isinstance(answer, EventsAnswer):
        raise unexpected(answer)
    if isinstance(answer.answer, questions.Wrong):
        raise CommandFailed(answer.answer.text)
    if not isinstance(answer.answer, expected):
        raise CommandFailed("the answer was to another question")
    return answer.answer


def server_of(store: str) -> str | None:
    """Return the control socket of the server of this user that has a store open; None: there is none.

    :param store: as in `--events`
    """
    from tiny_listener_supervisor.control.instances import living  # noqa: PLC0415

    from ..ctl import CommandFailed  # noqa: PLC0415

    try:
        found = living(os.environ, os.geteuid())
    except (CannotLoad, OSError):
        return None
    for path in map(str, found.values()):
        with suppress(CommandFailed):
            if ask_carrier((path, None), questions.AskView(), questions.View).store == store:
                return path
    return None


class Words(click.ParamType[str]):
    """A text that UTF-8 can encode."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        text = str(value)
        if not text.isprintable() and any("\ud800" <= c <= "\udfff" for c in text):  # as Python has other bytes
            self.fail(f"{text!r} is not text in UTF-8", param, ctx)
        return text


class Rate(click.FloatRange):
    """A finite number."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number of events", param, ctx)
        return number


def _print(found: Any) -> None:
    click.echo(msgspec.json.encode(found).decode())


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    from ..status_table import text_of  # noqa: PLC0415 - it imports rich

    return text_of(_picture(columns, rows, right))


def _picture(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str]) -> Group:
    from rich.console import Group  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    return Group(table)


def _plain(text: str) -> str:
    """Return a text of others as one line that a terminal shows as it is."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _when(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _events(count: int) -> str:
    return f"{count} event{'s' if count != 1 else ''}"


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
reason_option = click.option(
    "--reason", type=click.Choice(get_args(Reason)), metavar="REASON",
    help=f"Only those with this reason: {', '.join(get_args(Reason))}.",
)  # fmt: skip


@click.command()
@as_json_option
@click.pass_obj
def events(place: Place, *, as_json: bool) -> None:
    """Show how many published events wait, and what became of the others, by route."""
    from ..status_table import events_line  # noqa: PLC0415 - it imports rich

    view = ask_carrier(place, questions.AskView(), questions.View)
    if as_json:
        _print(view)
        return
    click.echo(events_line(view))
    if not view.routes:
        return
    columns = ("ROUTE", "UNSETTLED", "PUBLISHED", "ATTEMPTS", "OK", "DEAD", "EXPIRED")
    rows = [
        (
            route.route,
            str(route.counters.unsettled),
            str(route.counters.published.get("stored", 0)),
            str(sum(route.counters.attempts.values())),
            *(str(route.counters.settled.get(outcome, 0)) for outcome in ("ok", "dead", "expired")),
        )
        for route in view.routes
    ]
    click.echo(_table(columns, rows, columns[1:]))


@click.group(invoke_without_command=True)
@as_json_option
@reason_option
@click.option(
    "--limit", type=click.IntRange(1), default=PAGE, show_default=True, help="Maximum number of dead letters to list."
)
@click.pass_context
def dead(ctx: click.Context, /, *, as_json: bool, reason: str | None, limit: int) -> None:
    """List dead letters: published events that were given up, in the order in which that happened."""
    if ctx.invoked_subcommand is not None:
        if as_json or reason is not None or limit != PAGE:
            raise click.UsageError(f"options before {ctx.invoked_subcommand} do nothing: put them behind it")
        return
    rows, more = _letters(ctx.obj, reason, limit)
    if as_json:
        for row in rows:
            _print(row)
        return
    if not rows:
        click.echo("no dead letters")
        return
    columns = ("ID", "EVENT", "KEY", "REASON", "ATTEMPTS", "DIED", "ERROR")
    shown = [
        (
            row.id,
            row.path,
            "-" if row.key is None else row.key,
            row.reason,
            str(row.attempts),
            _when(row.died_at),
            _shortened(row),
        )
        for row in rows
    ]
    click.echo(_table(columns, shown, ("ATTEMPTS",)))
    if more:
        click.echo(f"and more: --limit {limit * 10} shows further ones", err=True)


def _letters(place: Place, reason: str | None, limit: int) -> tuple[list[questions.DeadRow], bool]:
    """Return so many dead letters, and whether there are more."""
    rows: list[questions.DeadRow] = []
    while True:
        after = rows[-1].number if rows else 0
        wanted = min(PAGE, limit - len(rows))
        found = ask_carrier(place, questions.AskDead(reason, None, after, wanted), questions.DeadLetters)
        rows += found.rows
        if not found.more or not found.rows or len(rows) >= limit:
            return rows[:limit], found.more or len(rows) > limit


def _shortened(row: questions.DeadRow) -> str:
    text = ": ".join(filter(None, (row.error, row.text))).partition("\n")[0] or "-"
    return text if len(text) <= DATA_SHOWN else f"{text[: DATA_SHOWN - 3]}..."


@dead.command()
@as_json_option
@click.argument("id", type=Words())
@click.pass_obj
def show(place: Place, id: str, *, as_json: bool) -> None:  # noqa: A002 - the name of the argument in --help
    """Show a dead letter with its data."""
    from ..ctl import CommandFailed  # noqa: PLC0415

    found = ask_carrier(place, questions.AskDead(id=id, limit=1), questions.DeadLetters)
    if not found.rows:
        raise CommandFailed(f"there is no dead letter of the event {id}")
    row = found.rows[0]
    if as_json:
        _print(row)
        return
    facts = (
        ("id", row.id),
        ("event", row.path),
        ("route", row.route),
        ("key", "-" if row.key is None else row.key),
        ("reason", row.reason),
        ("error", row.error or "-"),
        ("attempts", f"{row.attempts}, {row.crashes} of them killed the worker"),
        ("published", _when(row.published_at)),
        ("first started", _when(row.first_started)),
        ("died", _when(row.died_at)),
        ("worker", "-" if row.slot is None else str(row.slot)),
        *((f"attribute {name}", value) for name, value in row.attributes.items()),
    )
    for name, value in facts:
        click.echo(f"{name}: {_plain(value)}")
    for title, text in (("text", row.text), ("data", row.data)):
        click.echo(f"{title}:")
        for line in text.splitlines():
            click.echo(f"    {_plain(line)}")


@dead.command()
@reason_option
@click.option("--id", "id", type=Words(), metavar="ID", help="Only that of this event.")
@click.option("--rate", type=Rate(min=0, min_open=True), metavar="N", help="Events per second.  [default: no limit]")
@click.pass_obj
def redrive(place: Place, *, reason: str | None, id: str | None, rate: float | None) -> None:  # noqa: A002
    """Put dead letters back among the events, each at the end of its key; all of them unless an option selects some."""
    done = ask_carrier(place, questions.AskRedrive(reason, id, rate), questions.Number)
    click.echo(f"{_events(done.number)} put back" if done.is_done else f"{_events(done.number)} to put back")


@dead.command()
@click.argument("id", type=Words())
@click.pass_obj
def discard(place: Place, id: str) -> None:  # noqa: A002
    """Delete a dead letter for good."""
    ask_carrier(place, questions.AskDiscard(id), questions.Number)
    click.echo(f"the dead letter of the event {id} is deleted")


@click.command()
@as_json_option
@click.pass_obj
def halted(place: Place, *, as_json: bool) -> None:
    """List the keys that wait for an operator because one of their events was given up (dead_letter="halt")."""
    found = ask_carrier(place, questions.AskHalted(), questions.Halted)
    if as_json:
        for one in found.keys:
            _print(one)
        return
    if not found.keys:
        click.echo("no halted keys")
        return
    rows = [(one.key, one.id or "(dropped)", str(one.waiting)) for one in found.keys]
    click.echo(_table(("KEY", "HALTED BY", "WAITING"), rows, ("WAITING",)))


@click.command()
@click.argument("key", type=Words())
@click.pass_obj
def skip(place: Place, key: str) -> None:
    """Let a halted key go on without the event that halted it, which stays a dead letter."""
    ask_carrier(place, questions.AskSkip(key), questions.Number)
    click.echo(f"the key {key} goes on")


COMMANDS = (events, dead, halted, skip)
