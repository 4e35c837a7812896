"""Shell completion: options, their values, and the listeners in the folder."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

__all__ = ["SHELLS", "complete_app", "completion_option", "listeners_in"]

SHELLS = ("bash", "zsh", "fish")
MAX_FILES = 200
MAX_SIZE = 256 * 1024
"""Maximum size in bytes of a file to read: completion must be fast."""


def completion_option(name: str) -> Callable[[Any], Any]:
    """Return an option that prints the completion script of a shell.

    :param name: of the command
    """
    variable = f"_{name.upper().replace('-', '_')}_COMPLETE"

    def show(ctx: click.Context, _param: click.Parameter, shell: str | None) -> None:
        if shell is None or ctx.resilient_parsing:
            return
        completion = get_completion_class(shell)
        assert completion is not None
        click.echo(completion(ctx.command, {}, name, variable).source())
        ctx.exit()

    return click.option(
        "--completion",
        type=click.Choice(SHELLS),
        is_eager=True,
        expose_value=False,
        allow_from_autoenv=False,
        callback=show,
        help=f'Print the completion script for a shell and exit: eval "$({name} --completion bash)".',
    )


def complete_app(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the applications that start with `incomplete`."""
    folder = Path(ctx.params.get("app_dir") or ".")
    return [name for name in listeners_in(folder) if name.startswith(incomplete)]


def listeners_in(folder: Path) -> Iterator[str]:
    """Yield `module:attribute` for what looks like a listener in a folder's modules, without importing them."""
    for path in sorted(folder.glob("*.py"))[:MAX_FILES]:
        try:
            if path.stat().st_size > MAX_SIZE:
                continue
            text = path.read_text()
            if path.stem.isidentifier() and "tiny_listener" in text:
                yield from (f"{path.stem}:{name}" for name in _made_in(ast.parse(text)))
        except (OSError, SyntaxError, ValueError):
            continue


def _made_in(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a module's attributes whose class is a listener, judging by the name or the bases of the
    class.
    """
    listeners = {"Listener", "HTTPListener"}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            if any(_name(base) in listeners for base in node.bases):
                listeners.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if _name(node.value.func) in listeners:
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _name(node: ast.expr) -> str:
    """Return the last part of a class's name: HTTPListener for `http.HTTPListener[Job]`."""
    if isinstance(node, ast.Subscript):
        node = node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
