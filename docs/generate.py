"""Draws, in the docs, what tables in the code say: `make docs`. With --check it only says what is old."""

from __future__ import annotations

import sys
from pathlib import Path

from tiny_listener_supervisor.slot import STEPS, State

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


def put(text: str, drawing: str) -> str:
    """Return the text of a page with the drawing between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{drawing}\n{END}{after}"


def main(args: list[str]) -> int:
    """Bring the page up to date, or say that it is not."""
    page = DOCS / "signals.md"
    old = page.read_text()
    new = put(old, draw(STEPS))
    if "--check" not in args:
        page.write_text(new)
    elif old != new:
        print(f"{page} does not show the steps in slot.py: run make docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
