"""Options and commands of published events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click

__all__ = ["run_command"]


def run_command(serve: click.Command, name: str, args: list[str]) -> Any:
    """Run the command that serves, or `publish`, and return the exit code. No application is named `publish`: its name
    has a colon.

    :raises click.ClickException: the command line is wrong, or the command fails
    """
    if args[:1] == ["publish"]:
        from .publish import command  # noqa: PLC0415 - servers do without

        return command.main(args[1:], prog_name=f"{name} publish", standalone_mode=False)
    return serve.main(args, prog_name=name, standalone_mode=False)
