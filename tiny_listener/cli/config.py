"""Options from a TOML file: that of `--config FILE`, or `./pyproject.toml`. If it has a table `tool`, its
`[tool.tiny-listener]` is used.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

import click

from .values import Permissions, Seconds, Whole

__all__ = ["read_config"]

NOT_IN_A_FILE = frozenset({"app", "config", "check", "routes", "openapi", "completion", "version", "help"})


HEADER = re.compile(r"^[ \t]*\[[ \t]*[\"']?tool[\"']?[ \t]*\.[ \t]*[\"']?tiny-listener[\"']?[ \t]*\]", re.MULTILINE)


def read_config(ctx: click.Context, _: click.Parameter, given: str | None) -> str | None:
    """Make the keys of the file the defaults of the options (a click callback).

    :raises click.UsageError: the file is invalid; the message has its name, the line and the key
    """
    path = Path(given or "pyproject.toml")
    if given is None and not path.is_file():
        return given
    try:
        text = path.read_text(encoding="utf-8")
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # The user should fix an invalid pyproject.toml even if --config does not name it.
        raise click.UsageError(f"{path}: invalid TOML: {exc}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise click.UsageError(f"{path}: cannot read the file: {exc}") from None
    in_tool = path.name == "pyproject.toml" or "tool" in tables
    if in_tool:
        tables = _table_of_ours(path, tables)
    header = HEADER.search(text) if in_tool else None
    start = header.end() if header else 0
    defaults: dict[str, Any] = {}
    for key, value in tables.items():
        place = f"{path}:{_line_of(text, key, start)}: {key}"
        name = key.replace("-", "_")
        if name in defaults:
            raise click.UsageError(f"{place}: given twice, with - and with _; keep one")
        defaults[name] = _checked(ctx, place, key, value)
    ctx.default_map = defaults
    return given


def _table_of_ours(path: Path, tables: dict[str, Any]) -> dict[str, Any]:
    tool = tables.get("tool", {})
    ours = tool.get("tiny-listener", {}) if isinstance(tool, dict) else tool
    if not isinstance(ours, dict):
        raise click.UsageError(f"{path}: tool.tiny-listener must be a table: [tool.tiny-listener], followed by options")
    return ours


def _checked(ctx: click.Context, place: str, key: str, value: Any) -> Any:
    known = {(p.name or "").replace("_", "-"): p for p in ctx.command.params if p.name not in NOT_IN_A_FILE}
    parameter = known.get(key.replace("_", "-"))
    if parameter is None:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"options are: {', '.join(sorted(known))}"
        raise click.UsageError(f"{place}: no such option; {hint}")
    if parameter.multiple and isinstance(value, str):
        value = [value]
    right, types = _expected(parameter)
    if type(value) not in types or (type(value) is list and not all(isinstance(one, str) for one in value)):
        raise click.UsageError(f"{place}: {value!r} is not {right}")
    try:
        parameter.type_cast_value(ctx, value)
    except click.BadParameter as exc:
        raise click.UsageError(f"{place}: {exc.message}") from None
    return value


def _expected(parameter: click.Parameter) -> tuple[str, tuple[type, ...]]:
    """Return what values an option takes in a file: in words, and as TOML types."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return "true or false", (bool,)
    if parameter.multiple:
        return "a string or a list of strings", (list,)
    if isinstance(parameter.type, Whole):
        return "a whole number", (int,)
    if isinstance(parameter.type, Seconds):
        return "a number of seconds", (int, float)
    if isinstance(parameter.type, Permissions):
        return "permissions in octal digits", (int, str)
    return "a string", (str,)


def _line_of(text: str, key: str, start: int) -> int:
    match = re.compile(rf"^[ \t]*[\"']?{re.escape(key)}[\"']?[ \t]*=", re.MULTILINE).search(text, start)
    return text.count("\n", 0, match.start()) + 1 if match else 1
