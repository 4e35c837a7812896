"""`tiny-listenerctl`: shows the status of a running server, and controls it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from .. import __version__
from ..errors import CannotLoad
from .completion import completion_option
from .events.ctl import COMMANDS
from .stdio import open_what_is_closed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiny_listener_supervisor.admin.status import Status
    from tiny_listener_supervisor.control.messages import Answer, ControlRequest

__all__ = ["CommandFailed", "ask", "command", "find", "main", "unexpected"]

WATCH_INTERVAL = 1.0
"""Seconds between two updates of --watch."""
POLL_INTERVAL = 0.1
"""Seconds between two polls of a running reload."""


class CommandFailed(click.ClickException):
    """The command failed; exit code 1."""


def ask(path: str, request: ControlRequest) -> Answer:
    """Send a request to the server at a control socket, and return its answer.

    :raises CommandFailed: there is no answer, no valid answer, or not in time
    """
    from tiny_listener_supervisor.control.messages import (  # noqa: PLC0415 - --help does without
        ANSWER_LIMIT,
        TIME_LIMIT,
        read_answer,
        to_line,
    )

    deadline = time.monotonic() + TIME_LIMIT
    data = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIME_LIMIT)
            sock.connect(path)
            sock.sendall(to_line(request))
            while not data.endswith(b"\n"):
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                piece = sock.recv(65536)
                if not piece or len(data) > ANSWER_LIMIT:
                    raise CommandFailed(f"incomplete answer from {path}; is it a tiny-listener server?")
                data += piece
    except TimeoutError:
        raise CommandFailed(f"the server at {path} did not answer within {TIME_LIMIT:g} s") from None
    except OSError as exc:
        raise CommandFailed(f"no server answers at {path}: {exc.strerror or exc}") from None
    try:
        return read_answer(bytes(data))
    except ValueError:  # msgspec's, or UnicodeDecodeError
        raise CommandFailed(f"the answer from {path} is not that of a tiny-listener {__version__} server") from None


def find(path: str | None, pid: int | None) -> str:
    """Return the path of the control socket of the selected server.

    :raises CommandFailed: there is no such server, or there are several
    """
    from tiny_listener_supervisor.control.instances import control_folder, living  # noqa: PLC0415

    if path:
        return path
    try:
        found = living(os.environ, os.geteuid())
    except (CannotLoad, OSError) as exc:
        raise CommandFailed(str(exc)) from None
    if pid is not None and pid in found:
        return str(found[pid])
    folder = control_folder(os.environ, os.geteuid())
    which = "no server" if pid is None else f"no server with pid {pid}"
    if not found or pid is not None:
        raise CommandFailed(
            f"{which} has a control socket in {folder}; use --socket for one with its own --control-socket"
        )
    if len(found) > 1:
        servers = ", ".join(f"{one} ({_where(str(socket_path))})" for one, socket_path in found.items())
        raise CommandFailed(f"{len(found)} servers are running: {servers}; choose one with --pid")
    return str(next(iter(found.values())))


def _where(path: str) -> str:
    try:
        return ", ".join(_status(path).addresses) or "no address yet"
    except CommandFailed as exc:
        return exc.message


@click.group(context_settings={"max_content_width": 110})
@click.option(
    "--socket",
    "socket_path",
    envvar="TINY_LISTENER_CONTROL_SOCKET",
    metavar="PATH",
    help="The server's --control-socket; by default the running server is found automatically.",
)
@click.option("--pid", type=click.IntRange(min=1), help="The server's process id, if several are running.")
@completion_option("tiny-listenerctl")
@click.version_option(__version__, prog_name="tiny-listenerctl", message="%(prog)s %(version)s")
@click.pass_context
def command(ctx: click.Context, socket_path: str | None, pid: int | None) -> None:
    """Show the status of a server with workers, or control it.

    Exit codes: 0; 1 if there is no server, or if it refuses; 2 if the command is invalid.
    """
    if socket_path and pid is not None and ctx.get_parameter_source("socket_path") is _TYPED:
        raise click.UsageError("--socket and --pid both select a server: choose one")
    ctx.obj = (socket_path if pid is None else None, pid)


_TYPED = click.core.ParameterSource.COMMANDLINE


@command.command()
@click.option(
    "--watch/--once",
    default=None,
    help="Update every second until Ctrl-C, or print once.  [default: --watch on a terminal]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line, as in /status.json.")
@click.pass_obj
def status(place: tuple[str | None, int | None], *, watch: bool | None, as_json: bool) -> None:
    """Show the status of the server and its workers."""
    path = find(*place)
    on_terminal = sys.stdout.isatty()
    if watch is None:
        watch = on_terminal and not as_json
    with suppress(KeyboardInterrupt):  # Ctrl-C is the way to end it
        if watch and on_terminal and not as_json:
            _watch(path)
            return
        while True:
            click.echo(_as_json(_status(path)) if as_json else _as_table(_status(path)))
            sys.stdout.flush()
            if not watch:
                return
            time.sleep(WATCH_INTERVAL)


def _watch(path: str) -> None:
    """Show the table on the terminal and update it in place, until Ctrl-C."""
    from rich.live import Live  # noqa: PLC0415 - half of what the command takes to start

    from .status_table import picture  # noqa: PLC0415

    # An exception during an update would leave half a table: check for Ctrl-C only between updates.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with Live(picture(_status(path)), auto_refresh=False) as live:
            while signal.sigtimedwait({signal.SIGINT}, WATCH_INTERVAL) is None:
                live.update(picture(_status(path)), refresh=True)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _as_table(found: Status) -> str:
    from .status_table import table  # noqa: PLC0415

    return table(found)


def _as_json(found: Status) -> str:
    from tiny_listener_supervisor.control.messages import to_line  # noqa: PLC0415

    return to_line(found).decode().removesuffix("\n")


def _status(path: str) -> Status:
    from tiny_listener_supervisor.admin.status import Status  # noqa: PLC0415
    from tiny_listener_supervisor.control.messages import AskStatus  # noqa: PLC0415

    answer = ask(path, AskStatus())
    if not isinstance(answer, Status):
        raise unexpected(answer)
    return answer


@command.command()
@click.option("--no-wait", is_flag=True, help="Return when the reload has started; do not wait for its end.")
@click.pass_obj
def reload(place: tuple[str | None, int | None], *, no_wait: bool) -> None:
    """Replace every worker, and report the outcome.

    The application is imported again, as with HUP.

    Exit code 1 if a new worker fails to boot, or fails its probation: the old workers keep serving.
    """
    from tiny_listener_supervisor.control.messages import Reload, Reloading  # noqa: PLC0415

    path, began = find(*place), time.monotonic()
    answer = ask(path, Reload())
    if not isinstance(answer, Reloading):
        raise unexpected(answer)
    if no_wait:
        click.echo("reloading: every worker is being replaced")
        return
    while True:
        found = _status(path)
        now = found.reload
        if found.state == "stopping":
            raise CommandFailed("the server is stopping, which ends the reload")
        # A later reload replaces this one, and its code is newer.
        if now is not None and now.version >= answer.version and now.state != "running":
            break
        time.sleep(POLL_INTERVAL)
    if now.state == "failed":
        raise CommandFailed(f"the reload failed: {now.failure}; the old workers keep serving")
    count = f"{found.workers} worker{'s' if found.workers != 1 else ''}"
    click.echo(f"{count} reloaded within {time.monotonic() - began:.1f} s: version {now.version}")


@command.command()
@click.argument("workers", metavar="N", type=click.IntRange(1, 1024))
@click.pass_obj
def scale(place: tuple[str | None, int | None], workers: int) -> None:
    """Set the number of workers to N."""
    from tiny_listener_supervisor.control.messages import Scale  # noqa: PLC0415

    _tell(place, Scale(workers))


@command.command()
@click.option("--now", is_flag=True, help="Kill the workers, including events in flight, as QUIT does.")
@click.pass_obj
def stop(place: tuple[str | None, int | None], *, now: bool) -> None:
    """Stop the server, as TERM does.

    Events in flight finish first; the command does not wait for that.
    """
    from tiny_listener_supervisor.control.messages import StopServer  # noqa: PLC0415

    _tell(place, StopServer(now))


@command.command()
@click.pass_obj
def dump(place: tuple[str | None, int | None]) -> None:
    """Make every worker write its stacks to the server's log, as USR2 does."""
    from tiny_listener_supervisor.control.messages import Dump  # noqa: PLC0415

    _tell(place, Dump())


def _tell(place: tuple[str | None, int | None], request: ControlRequest) -> None:
    from tiny_listener_supervisor.control.messages import Done  # noqa: PLC0415

    answer = ask(find(*place), request)
    if not isinstance(answer, Done):
        raise unexpected(answer)
    click.echo(answer.text)


def unexpected(answer: Answer) -> CommandFailed:
    """Return the error for an answer that is a refusal, or to another request."""
    from tiny_listener_supervisor.control.messages import Denied  # noqa: PLC0415

    return CommandFailed(answer.text if isinstance(answer, Denied) else "the answer was to another request")


for _command in COMMANDS:
    command.add_command(_command)


def main(args: Sequence[str] | None = None) -> None:
    """Run the command. Errors are one line on stderr and an exit code."""
    open_what_is_closed()
    try:
        command.main(args, prog_name="tiny-listenerctl", standalone_mode=False)
    except click.ClickException as exc:
        hint = " (--help shows how)" if isinstance(exc, click.UsageError) else ""
        click.echo(f"Error: {' '.join(exc.format_message().split())}{hint}", err=True)
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(0)


if __name__ == "__main__":
    main()
