"""Writes, in the docs, what tables in the code say: `make docs`. With --check it only says what is old."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import click
from tiny_listener_supervisor.slot import STEPS, State

from tiny_listener.cli.ctl import command as ctl
from tiny_listener.cli.main import SECTIONS, command

DOCS = Path(__file__).parent
BEGIN, END = "<!-- drawn by docs/generate.py -->\n", "<!-- end -->\n"


def draw(steps: dict[State, dict[State, str]]) -> str:
    """Return the life that a table of steps allows: a line for each step."""
    left = max(len(state.value) for state in steps)
    middle = max(len(cause) for following in steps.values() for cause in following.values())
    lines = []
    for state, following in steps.items():
        for number, (then, cause) in enumerate(following.items()):
            first, last = number == 0, number == len(following) - 1
            fork = "───" if first and last else "─┬─" if first else " └─" if last else " ├─"
            lines.append(f"    {state.value if first else '':<{left}} {fork} {cause:<{middle}} ──> {then.value}")
    return "\n".join(lines) + "\n"


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
    for name, one in (("", ctl), *sorted(ctl.commands.items())):
        summary = (one.help or "").partition("\n\n")[0].replace("\n", " ")
        lines += [f"### tiny-listenerctl {name}", "", summary, ""] if name else [summary, ""]
        lines += table(one.params)
    return "\n".join(lines)


def put(text: str, drawing: str) -> str:
    """Return the text of a page with the drawing between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{drawing}\n{END}{after}"


def main(args: list[str]) -> int:
    """Bring the pages up to date, or say that they are not."""
    code = 0
    for name, drawing in (("signals.md", draw(STEPS)), ("options.md", options())):
        page = DOCS / name
        old = page.read_text()
        new = put(old, drawing)
        if "--check" not in args:
            page.write_text(new)
        elif old != new:
            print(f"{page} does not show what the code says: run make docs", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
