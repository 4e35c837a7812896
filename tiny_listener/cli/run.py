"""What the command does once its options are known: show, check, or run, in one process or in many."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import CannotLoad
from .application import HTTP_OPTIONS, load
from .logs import set_up_logging

if TYPE_CHECKING:
    from ..listener import Listener

__all__ = ["run"]


def run(app: str, options: dict[str, Any], given: set[str]) -> int:
    """Do what the options say and return the exit code.

    :param app: MODULE:ATTRIBUTE
    :param options: all options by name
    :param given: the names of those that were not left at their defaults
    """
    set_up_logging(options["log_level"], options["log_format"])
    http_options = {name: options[name] for name in HTTP_OPTIONS & given}

    def load_app() -> Listener[Any]:
        return load(app, options["app_dir"], http_options)

    if options["check"] or options["routes"]:
        return _show(app, load_app, routes=options["routes"])
    try:
        return _run(load_app, options, given)
    except (CannotLoad, OSError) as exc:
        click.echo(f"Error: {getattr(exc, 'strerror', None) or exc}", err=True)
        return 1


def _run(load_app: Any, options: dict[str, Any], given: set[str]) -> int:
    # The command line shows --help without the weight of what it runs.
    from tiny_listener_supervisor import (  # noqa: PLC0415
        Admin,
        Limits,
        PidFile,
        Single,
        Supervisor,
        SupervisorSettings,
        WorkerPlan,
    )

    ledger = exposition = None
    if not options["no_metrics"]:
        from tiny_listener_metrics import Exposition, Ledger  # noqa: PLC0415

        ledger = Ledger()
        exposition = Exposition(ledger, version=__version__)
    plan = WorkerPlan(load_app, options["graceful_timeout"], options["cpu_affinity"])
    admin = Admin(exposition, options["admin_host"], options["admin_port"], required="admin_port" in given)
    settings = SupervisorSettings(
        workers=options["workers"],
        graceful_timeout=options["graceful_timeout"],
        boot_timeout=options["boot_timeout"],
        hang_timeout=options["hang_timeout"],
        drain_delay=options["drain_delay"],
        limits=Limits(
            max_requests=options["max_requests"],
            jitter=options["max_requests_jitter"],
            max_lifetime=options["max_lifetime"],
            max_rss=options["max_rss"],
        ),
    )
    with PidFile(options["pid_file"]) if options["pid_file"] else nullcontext():
        if options["workers"] == 1:
            observer = None
            if ledger is not None:
                from tiny_listener_metrics import Recorder  # noqa: PLC0415

                observer = Recorder(ledger.open_row("the process").writer())
            return Single(plan, settings, observer, admin).run()
        if sys.platform != "linux":
            raise CannotLoad(f"--workers {options['workers']} needs Linux (SO_REUSEPORT, fork); --workers 1 runs here")
        if options["preload"]:
            listener = load_app()
            plan = WorkerPlan(lambda: listener, options["graceful_timeout"], options["cpu_affinity"])
        return Supervisor(plan, settings, ledger, admin).run()


def _show(app: str, load_app: Any, *, routes: bool) -> int:
    from tiny_listener_supervisor.worker import describe_boot_failure  # noqa: PLC0415

    try:
        listener: Listener[Any] = load_app()
    except Exception as exc:
        code, text = describe_boot_failure(exc)
        click.echo(text, err=True, nl=False)
        return code
    if not routes:
        click.echo(f"{app} is a {type(listener).__name__} with {len(listener.routes)} routes")
        return 0
    rows = [(route.path, route.name, route.where.rpartition(" ")[2].strip("()")) for route in listener.router]
    rows = [("EVENT", "NAME", "HANDLER"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for path, name, where in rows:
        click.echo(f"{path:<{widths[0]}}  {name:<{widths[1]}}  {where}")
    return 0
