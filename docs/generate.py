"""Writes, in the docs, what tables in the code say: `make docs`. With --check it only says what is old."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import click
from tiny_listener_metrics import FAMILIES, Recorder, RowWriter, exemplars, format_row, row
from tiny_listener_supervisor.fleet.slot import STEPS, WorkerState

from tiny_listener.cli.ctl import command as ctl
from tiny_listener.cli.main import SECTIONS, command

DOCS = Path(__file__).parent
BEGIN, END = "<!-- drawn by docs/generate.py -->\n", "<!-- end -->\n"


def draw(steps: dict[WorkerState, dict[WorkerState, str]]) -> str:
    """Return the life that a table of steps allows: a line for each step."""
    left = max(len(state.value) for state in steps)
    middle = max(len(cause) for following in steps.values() for cause in following.values())
    lines = []
    for state, following in steps.items():
        for number, (then, cause) in enumerate(following.items()):
            first, last = number == 0, number == len(following) - 1
            fork = "───" if first and last else "─┬─" if first else " └─" if last else " ├─"
            lines.append(f"{state.value if first else '':<{left}} {fork} {cause:<{middle}} ──> {then.value}")
    return fenced("\n".join(lines))


def fenced(text: str) -> str:
    """Return a text as a block of a page."""
    return f"```text\n{text}\n```\n"


def describe(option: click.Parameter) -> str:
    """Return an option as a line of a table: its flags and values, what it means, and its default and range."""
    flags, text = option.get_help_record(click.Context(command)) or ("", "")
    text, *bounds = text.replace("|", "\\|").split("  [")
    flags = flags.replace("|", "\\|")
    return f"| `{flags}` | {text.strip()} | {'; '.join(bound.rstrip('] ') for bound in bounds)} |"


def table(parameters: Iterable[click.Parameter]) -> list[str]:
    """Return options as the lines of a table."""
    rows = [describe(parameter) for parameter in parameters if isinstance(parameter, click.Option)]
    return ["| option | | default and range |", "|---|---|---|", *rows, ""] if rows else []


def options() -> str:
    """Return all options of both commands, as `--help` groups them."""
    by_name = {parameter.name: parameter for parameter in command.params}
    lines = []
    for title, names in SECTIONS.items():
        lines += [f"### {title}", "", *table(by_name[name] for name in names)]
    named = {name for names in SECTIONS.values() for name in names}
    lines += ["### Other", "", *table(parameter for parameter in command.params if parameter.name not in named)]
    lines += ["## tiny-listenerctl", ""]
    assert isinstance(ctl, click.Group)
    for name, one in (("", ctl), *named_commands(ctl)):
        summary = (one.help or "").partition("\n\n")[0].replace("\n", " ")
        lines += [f"### tiny-listenerctl {name}", "", summary, ""] if name else [summary, ""]
        lines += table(one.params)
    return "\n".join(lines)


def named_commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield the commands of a group, and those of its groups, with their full names."""
    for name, one in sorted(group.commands.items()):
        yield f"{prefix}{name}", one
        if isinstance(one, click.Group):
            yield from named_commands(one, f"{prefix}{name} ")


def layout() -> str:
    """Return how a worker's row of shared memory is laid out: what `row` says of it, and a row as it is."""
    tables = [fenced(dedent(one).rstrip()) for one in re.findall(r"(?:^    .*\n)+", str(row.__doc__), re.MULTILINE)]
    lines = [*tables, "| family | words | |", "|---|---:|---|"]
    for family in FAMILIES.values():
        if family.kind == "histogram":
            of_them = f"the sum, then a count for each bound: {', '.join(map(str, family.bounds))}, +Inf"
        else:
            of_them = (
                f"a count for each `{family.labels[-1]}`: {', '.join(family.variants)}"
                if family.variants
                else "a count"
            )
        lines.append(f"| `{family.name}` | {family.words} | {of_them} |")
    header, entry, *words = "\n".join(lines).split("\n\n", 2)
    slot = re.findall(r"(?:^    .*\n)+", str(exemplars.__doc__), re.MULTILINE)[0]
    of_exemplars = f"A slot of an exemplar:\n\n{fenced(dedent(slot).rstrip())}"
    return "\n\n".join((header, "An entry of the directory:", entry, *words, hex_dump(a_row()), of_exemplars))


def a_row() -> bytearray:
    """Return a small row, of a worker with one route that has answered once, within 0.3 ms."""
    memory = bytearray(2048)
    format_row(memory)
    recorder = Recorder(RowWriter(memory))
    route: Any = SimpleNamespace(path="GET:/user/{username}")
    observer = recorder.route_added(route)
    observer.event_done(0.0003, "ok")
    observer.http_response("GET", 200, 0.0003)
    return memory


def hex_dump(memory: bytearray) -> str:
    """Return what memory holds, as `hexdump -C` does; a star stands for zeros."""
    lines: list[str] = []
    for at in range(0, len(memory), 16):
        some = memory[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in some)
        line = f"{at:04x}  {some[:8].hex(' ')}  {some[8:].hex(' ')}  |{text}|"
        if any(some):
            lines.append(line)
        elif lines[-1] != "*":
            lines.append("*")
    return fenced("\n".join(lines))


def put(text: str, drawing: str) -> str:
    """Return the text of a page with the drawing between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{drawing}\n{END}{after}"


SHOWN_SERVERS = {"tiny-listener": "tiny-listener", "granian": "granian (RSGI)", "uvicorn": "uvicorn (ASGI)"}
SHOWN_COLUMNS = ("hello", "12 browser headers", "POST 1 KiB, echoed", "404", "a connection each")


def speed() -> str:
    """Return the README's table of speed: rows of the first table of the measurements, and what printed it."""
    section = (DOCS / "understand" / "measurements.md").read_text().partition("## Requests per second\n")[2]
    printed = re.search(r"^Printed by (`[^`]+`); (.+?); \w+, ([0-9-]+)\.", section, re.MULTILINE)
    if printed is None:
        raise ValueError("measurements.md does not say what printed its table of requests per second")
    first = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    if first is None:
        raise ValueError("measurements.md has no table of requests per second")
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in first[0].splitlines()]
    places = [head.index(column) for column in SHOWN_COLUMNS]
    found = {cells[0]: [cells[place] for place in places] for cells in rows}
    lines = [
        f"| {head[0]} | {' | '.join(SHOWN_COLUMNS)} |",
        "|---|" + "---:|" * len(SHOWN_COLUMNS),
        *(f"| {shown} | {' | '.join(found[name])} |" for name, shown in SHOWN_SERVERS.items()),
    ]
    how = (
        f"{printed[1]}, {printed[2]}, {printed[3]}; one worker on one core; in brackets, of a floor: uvloop, httptools,"
    )
    return "\n".join([*lines, "", how, "a constant answer."])


PAGES = {
    "operate/signals.md": lambda: draw(STEPS),
    "use/options.md": options,
    "understand/counting.md": layout,
    "../README.md": speed,
}


def main(args: list[str]) -> int:
    """Bring the pages up to date, or say that they are not."""
    code = 0
    for name, drawing in PAGES.items():
        page = DOCS / name
        old = page.read_text()
        new = put(old, drawing())
        if "--check" not in args:
            page.write_text(new)
        elif old != new:
            print(f"{page} does not show what the code says: run make docs", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
