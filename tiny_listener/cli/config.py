"""Options from a TOML file: `--config FILE`, or `[tool.tiny-listener]` of `./pyproject.toml`."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

import click

__all__ = ["read_config"]

NOT_IN_A_FILE = frozenset({"app", "config", "check", "routes", "version", "help"})


def read_config(ctx: click.Context, _: click.Parameter, value: str | None) -> str | None:
    """Let the file's keys be the defaults of the options (a callback of click).

    :raises click.UsageError: the file is broken; with its name, the line and the key
    """
    path = Path(value or "pyproject.toml")
    if value is None and not path.is_file():
        return value
    try:
        text = path.read_text(encoding="utf-8")
        tables: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        # A broken pyproject.toml that nobody pointed us to is still what the user should mend.
        raise click.UsageError(f"{path}: no valid TOML: {exc}") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise click.UsageError(f"{path}: cannot be read: {exc}") from None
    if path.name == "pyproject.toml":
        tables = tables.get("tool", {}).get("tiny-listener", {})
    ctx.default_map = {key.replace("-", "_"): _checked(ctx, path, text, key, v) for key, v in tables.items()}
    return value


def _checked(ctx: click.Context, path: Path, text: str, key: str, value: Any) -> Any:
    place = f"{path}:{_line_of(text, key)}: {key}"
    known = {(p.name or "").replace("_", "-"): p for p in ctx.command.params if p.name not in NOT_IN_A_FILE}
    parameter = known.get(key.replace("_", "-"))
    if parameter is None:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(known))}"
        raise click.UsageError(f"{place}: no such option; {hint}")
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if parameter.multiple and isinstance(value, str):
        value = [value]
    texts = parameter.multiple and isinstance(value, list) and all(isinstance(one, str) for one in value)
    if flag != isinstance(value, bool) or ((isinstance(value, (list, dict)) or parameter.multiple) and not texts):
        raise click.UsageError(f"{place}: {value!r} is not {'true or false' if flag else 'a value for it'}")
    try:
        parameter.type_cast_value(ctx, value)
    except click.BadParameter as exc:
        raise click.UsageError(f"{place}: {exc.message}") from None
    return value


def _line_of(text: str, key: str) -> int:
    match = re.search(rf"^\s*[\"']?{re.escape(key)}[\"']?\s*=", text, re.MULTILINE)
    return text.count("\n", 0, match.end()) + 1 if match else 1
