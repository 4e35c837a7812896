"""What the command does once its options are known: show, check, or run, in one or several processes."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .. import __version__
from ..errors import CannotLoad, WrongOptions
from ..net.inherited import take_from_systemd
from .application import HTTP_OPTIONS, load
from .events.nats import is_nats
from .events.options import carrier_start, environment_of, event_settings
from .logs import set_up_logging
from .stdio import closed_at_the_start
from .trial import describe, try_to_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tiny_listener_metrics import ApplicationMetrics, Exposition
    from tiny_listener_supervisor import WatchPlan

    from ..core.listener import Listener

__all__ = ["run"]

logger = logging.getLogger("tiny_listener")

RELOAD_DEFAULTS = {
    "graceful_timeout": 1.0,  # after saving a file, old code should not answer for long
    "hang_timeout": 0.0,  # a debugger may stop a worker
    "reload_probation": 0.0,  # after saving a file, the new code should serve at once, even if it crashes
}
"""Options whose default --reload changes."""
CLOCK_SLACK = 2.0
"""Seconds by which file times may lag behind the clock."""


def run(app: str, options: dict[str, Any], given: set[str]) -> int:
    """Do what the options say, and return the exit code.

    :param app: MODULE:ATTRIBUTE
    :param options: all options by name
    :param given: names of those that are not at their defaults
    """
    set_up_logging(options["log_level"], options["log_format"], time=options["log_time"])
    if options["reload"]:
        options = {**options, **{name: value for name, value in RELOAD_DEFAULTS.items() if name not in given}}
    http_options = {name: options[name] for name in HTTP_OPTIONS & given}

    def load_app() -> Listener[Any]:
        return load(app, options["app_dir"], http_options, is_factory=options["factory"])

    if options["routes"] or options["openapi"] or options["check"] == "import":
        return _show(app, load_app, routes=options["routes"], openapi=options["openapi"])
    _leave_process_1()
    try:
        if options["check"] == "start":
            http_options.pop("fd", None)  # clients may be waiting there
            return try_to_start(app, load_app, options)
        if fds := take_from_systemd(os.environ, os.getpid()):
            _refuse_another_place(given)
            http_options["fd"] = fds
        for fd in _as_tuple(http_options.get("fd")):
            with suppress(OSError):  # it is not open, which is reported when it is used
                os.set_inheritable(fd, False)  # noqa: FBT003 - programs that the application starts must not inherit it
        return _run(app, load_app, {**options, "fd": http_options.get("fd")}, given)
    except (CannotLoad, OSError) as exc:
        click.echo(f"Error: {getattr(exc, 'strerror', None) or exc}", err=True)
        return 2 if isinstance(exc, WrongOptions) else 1


def _leave_process_1() -> None:
    if os.getpid() == 1:
        from tiny_listener_supervisor import leave_process_1  # noqa: PLC0415

        leave_process_1(os.environ)


def _refuse_another_place(given: set[str]) -> None:
    """Sockets that systemd passes are accepting already: if they were not served, clients would wait forever."""
    for name in ("host", "port", "uds", "fd"):
        if name in given:
            raise WrongOptions(f"systemd passed sockets (LISTEN_FDS), and --{name} names another address: choose one")


def _run(app: str, load_app: Any, options: dict[str, Any], given: set[str]) -> int:
    # Imported here so that --help is fast.
    from tiny_listener_supervisor import (  # noqa: PLC0415
        Admin,
        Control,
        Limits,
        LogFile,
        Notifier,
        PidFile,
        Rights,
        Single,
        Supervisor,
        SupervisorSettings,
        WorkerPlan,
        find_identity,
    )

    if options["umask"] is not None:
        os.umask(options["umask"])
    identity = None
    if options["user"] is not None or options["group"] is not None:
        identity = find_identity(options["user"], options["group"])
        load_app = _readable(load_app, identity.name, options["app_dir"])
    rights = Rights(identity)
    # What the carrier says to NATS must not wait for handlers: it is a process of its own.
    supervised = options["workers"] > 1 or options["reload"] or identity is not None or is_nats(options["events"])
    _refuse_what_is_not_here(options, supervised=supervised)
    notifier = Notifier.take(os.environ, os.getpid(), os.getppid())
    watch = None
    if options["reload"]:
        watch, load_app = _watch(load_app, options)

    log_file = None
    if options["log_file"]:
        log_file = LogFile(options["log_file"], rights)
        set_up_logging(options["log_level"], options["log_format"], log_file.fd, time=options["log_time"])

    if closed := closed_at_the_start():
        logger.warning("Closed at the start: %s; using /dev/null instead", ", ".join(closed))

    ledger = exposition = application = None
    if not options["no_metrics"]:
        from tiny_listener_metrics import Exposition, Ledger  # noqa: PLC0415

        ledger = Ledger()
        exposition = Exposition(ledger, version=__version__)
        application = _show_application(exposition, supervised=supervised)
    events = event_settings(app, options, environment_of(identity.environment if identity is not None else ()))
    plan = WorkerPlan(load_app, options["graceful_timeout"], options["cpu_affinity"], log_file, identity, events=events)
    admin = Admin(
        exposition,
        options["admin_host"],
        options["admin_port"],
        required="admin_port" in given,
        token=options["admin_token"],
        allowed_hosts=options["admin_allowed_hosts"] or (),
    )
    settings = SupervisorSettings(
        workers=options["workers"],
        reload_batch=options["reload_batch"],
        reload_probation=options["reload_probation"],
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
        max_restarts=options["max_restarts"],
        max_restarts_window=options["max_restarts_window"],
        inherited=_as_tuple(options["fd"]),
        uds=(options["uds"], options["uds_mode"]),
        carrier=carrier_start(events, given),
    )
    with PidFile(options["pid_file"], rights) if options["pid_file"] else nullcontext():
        if not supervised:
            observer = None
            if ledger is not None:
                from tiny_listener_metrics import Recorder  # noqa: PLC0415

                observer = Recorder(ledger.open_row("the process").writer())
            return Single(plan, settings, observer, admin, notifier, control=Control(None, rights)).run()
        if options["preload"]:
            try:
                listener = load_app()
            except Exception as exc:
                return _say_why(exc)
            plan = replace(plan, load=lambda: listener, preloaded=True)
        path = options["control_socket"]  # None: the default path
        control = Control(path, rights) if path != "" else None
        return Supervisor(
            plan, settings, ledger, admin, watch, application=application, control=control, notifier=notifier
        ).run()


def _refuse_what_is_not_here(options: dict[str, Any], *, supervised: bool) -> None:
    """Refuse options that this system does not support."""
    if supervised and sys.platform != "linux":
        option = "--reload" if options["reload"] else f"--workers {options['workers']}"
        without = "without it --workers 1" if options["reload"] else "--workers 1"
        raise CannotLoad(f"{option} needs Linux (SO_REUSEPORT, fork); {without} runs here")
    if options["max_rss"] is not None and not Path("/proc/self/statm").exists():
        raise CannotLoad("--max-rss needs /proc to see how much memory a worker uses: mount /proc, or omit --max-rss")


def _show_application(exposition: Exposition, *, supervised: bool) -> ApplicationMetrics | None:
    """Expose the application's own metrics; return where workers store them, if they do."""
    from tiny_listener_metrics import ApplicationMetrics, RegistryMetrics  # noqa: PLC0415 - only where there are metrics

    if not supervised:
        exposition.show_application(RegistryMetrics())
        return None
    if any(name in os.environ for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")):
        logger.warning(
            "PROMETHEUS_MULTIPROC_DIR is set: the application's own metrics are written to files there and are not "
            "exposed; unset it to have them at /metrics of the admin endpoint, aggregated over workers"
        )
        return None
    application = ApplicationMetrics()
    application.take_over()
    exposition.show_application(application)
    return application


def _as_tuple(fd: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return fd if isinstance(fd, tuple) else () if fd is None else (fd,)


def _readable(load_app: Callable[[], Listener[Any]], name: str, folder: str) -> Callable[[], Listener[Any]]:
    """Return a function that loads the application, or says so if the workers' user has no access to its folder."""

    def load_what_can_be_read() -> Listener[Any]:
        if not os.access(folder, os.R_OK | os.X_OK):
            raise CannotLoad(
                f"{name} has no permission to read {Path(folder).absolute()}, the folder of the application"
            )
        return load_app()

    return load_what_can_be_read


def _watch(
    load_app: Callable[[], Listener[Any]], options: dict[str, Any]
) -> tuple[WatchPlan, Callable[[], Listener[Any]]]:
    """Return what to watch, and a function that loads the application correctly although its files change."""
    from tiny_listener_supervisor import WatchPlan, distrust_bytecode  # noqa: PLC0415

    if find_spec("watchfiles") is None:
        raise CannotLoad("--reload needs watchfiles: pip install 'tiny-listener[reload]'")
    folders = options["reload_dir"] or (options["app_dir"],)
    watch = WatchPlan(
        folders=tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in folders)),
        includes=("*.py", *options["reload_include"]),
        excludes=tuple(options["reload_exclude"]),
    )
    since = time.time() - CLOCK_SLACK

    def load_afresh() -> Listener[Any]:
        distrust_bytecode(since)
        return load_app()

    return watch, load_afresh


def _say_why(exc: Exception) -> int:
    """Print why the application cannot be loaded, and return the exit code."""
    from tiny_listener_supervisor.worker.failures import describe_boot_failure  # noqa: PLC0415

    code, text = describe_boot_failure(exc)
    click.echo(text, err=True, nl=False)
    return code


def _show_document(app: str, listener: Listener[Any]) -> int:
    """Print the OpenAPI document of an application."""
    from ..http import HTTPListener  # noqa: PLC0415 - an application without HTTP need not load it
    from ..http.openapi import Info  # noqa: PLC0415
    from ..http.openapi import describe as describe_document  # noqa: PLC0415
    from ..http.response import json_bytes  # noqa: PLC0415

    if not isinstance(listener, HTTPListener):
        click.echo(f"Error: --openapi describes an HTTPListener, and {app} is a {type(listener).__name__}", err=True)
        return 2
    document = describe_document(listener, listener.info or Info(title=app))
    click.echo(msgspec.json.format(json_bytes(document), indent=2).decode())
    return 0


def _show(app: str, load_app: Any, *, routes: bool, openapi: bool) -> int:
    try:
        listener: Listener[Any] = load_app()
    except Exception as exc:
        return _say_why(exc)
    if openapi:
        return _show_document(app, listener)
    if not routes:
        click.echo(describe(app, listener))
        return 0
    rows = [
        (route.path, route.name, route.where.rpartition(" ")[2].strip("()"))
        for found in listener.router
        for route in getattr(found, "subscribers", [found])
    ]
    rows = [("EVENT", "NAME", "HANDLER"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for path, name, where in rows:
        click.echo(f"{path:<{widths[0]}}  {name:<{widths[1]}}  {where}")
    return 0
