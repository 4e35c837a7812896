"""From MODULE:ATTRIBUTE to a listener that is ready to run."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import click

from ..core.listener import Listener
from ..errors import CannotLoad, WrongOptions
from ..process.importing import import_from_string
from .logs import leave_root_logger

__all__ = ["HTTP_OPTIONS", "check_app_string", "load"]

HTTP_OPTIONS = frozenset(
    {
        "host", "port", "uds", "uds_mode", "fd", "backlog", "limit_concurrency", "keep_alive_timeout", "access_log",
        "access_log_format",
        "max_request_line", "max_header", "max_headers", "max_header_fields", "max_body", "header_timeout",
        "body_timeout", "write_timeout", "linger_time", "linger_timeout",
        "ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_ciphers", "proxy_headers", "forwarded_allow_ips",
    }
)  # fmt: skip
"""Options that are settings of an `HTTPListener`, with the same names."""


def check_app_string(app: str) -> None:
    """Reject a string that cannot name an application.

    :raises click.UsageError: it is not of the form MODULE:ATTRIBUTE
    """
    module, colon, attribute = app.partition(":")
    if app.startswith("/") or app.rpartition(":")[0].startswith("/"):
        path = app.partition(":")[0]
        folder, _, file = path.rpartition("/")
        name = file.removesuffix(".py") or "http_web"
        raise click.UsageError(
            f"{app!r} is a file, and an application is MODULE:ATTRIBUTE in a folder: "
            f"--app-dir {folder or '/'} {name}:{attribute or 'app'}"
        )
    if (
        module.endswith(".py")
        or not colon
        or not all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))
    ):
        hint = ""
        if module.endswith(".py"):
            hint = f"; for {module} that is {module.removesuffix('.py').replace('/', '.')}:{attribute or 'app'}"
        raise click.UsageError(f"{app!r} is not of the form MODULE:ATTRIBUTE, such as http_web:app{hint}")


def load(app: str, app_dir: str, http_options: dict[str, Any], *, is_factory: bool = False) -> Listener[Any]:
    """Import an application and pass it the options of the command line.

    :param is_factory: whether the attribute is a function that returns the application
    :raises CannotLoad: the module or attribute does not exist, or is not a Listener
    :raises WrongOptions: the options do not apply to it
    :raises Exception: raised by the application while it is imported
    """
    if app_dir not in sys.path:
        sys.path.insert(0, app_dir)
    try:
        listener = import_from_string(app)
    except ImportError as exc:
        if exc.__traceback__ is not None and exc.__cause__ is None and exc.__suppress_context__:
            raise CannotLoad(str(exc)) from None
        raise
    except SystemExit as exc:  # it would end the process, or each worker, without any message
        error = RuntimeError(f"{app} called sys.exit({exc.code!r}) while it was imported")
        raise error.with_traceback(exc.__traceback__) from None
    if is_factory:
        listener = _make(app, listener)
    leave_root_logger()
    if isinstance(listener, type) and issubclass(listener, Listener):
        raise CannotLoad(f"{app} is a class: make an instance of it, app = {listener.__name__}()")
    if inspect.isroutine(listener):
        raise CannotLoad(f"{app} is a function: if it returns the application, add --factory")
    if not isinstance(listener, Listener):
        raise CannotLoad(f"{app} is not a tiny_listener.Listener, but of type {type(listener).__name__}")
    if http_options:
        _configure(app, listener, http_options)
    return listener


def _make(app: str, factory: Any) -> Any:
    """Call a factory.

    :raises CannotLoad: it cannot be called without arguments, or it is a coroutine function
    """
    if not callable(factory):
        raise CannotLoad(f"{app} is no factory but of type {type(factory).__name__}: omit --factory")
    if inspect.iscoroutinefunction(factory):
        raise CannotLoad(f"{app} is `async def`, and no loop runs yet: a factory is a plain function")
    try:
        inspect.signature(factory).bind()
    except TypeError as exc:
        raise CannotLoad(f"{app} is called without arguments, and {exc}: give them defaults") from None
    made = factory()
    if not isinstance(made, Listener):
        raise CannotLoad(f"{app}() returned {type(made).__name__}, not a tiny_listener.Listener")
    return made


def _configure(app: str, listener: Listener[Any], options: dict[str, Any]) -> None:
    from ..http import HTTPListener  # noqa: PLC0415 - an application without HTTP need not load it
    from ..http.access import AccessLog  # noqa: PLC0415
    from ..http.forwarded import Proxies  # noqa: PLC0415
    from ..http.tls import tls_context  # noqa: PLC0415

    if not isinstance(listener, HTTPListener):
        if isinstance(options.get("fd"), tuple):
            raise WrongOptions(f"systemd's sockets (LISTEN_FDS) would not be served: {app} is not an HTTPListener")
        names = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(options))
        raise WrongOptions(f"{names} would do nothing: {app} is not an HTTPListener; it opens its own event sources")
    if {"host", "port", "uds", "fd"} & options.keys():  # the command line overrides the address
        listener.configure(uds=None, uds_mode=None, fd=None)
    listener.configure(**options)
    if listener.settings.uds_mode is not None and listener.settings.uds is None:
        raise WrongOptions("--uds-mode does nothing without a unix socket: add --uds")
    if listener.settings.access_log_format is not None and not listener.settings.access_log:
        raise WrongOptions("--access-log-format does nothing without --access-log")
    # Report errors in these before anything runs, and with --check.
    AccessLog.of(listener.settings)
    tls_context(listener.settings)
    if listener.settings.proxy_headers is not None:
        Proxies(listener.settings.proxy_headers, listener.settings.forwarded_allow_ips)
