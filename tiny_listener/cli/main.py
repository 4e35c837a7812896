"""`tiny-listener [OPTIONS] MODULE:ATTRIBUTE`."""

from __future__ import annotations

import difflib
import os
import sys
from typing import Any

import click

from .. import __version__
from .admin import find_token, refuse_to_be_open
from .application import check_app_string
from .completion import complete_app, completion_option
from .config import read_config
from .contradictions import SUPERVISED, Given, refuse_contradictions
from .events import run_command
from .events.options import EVENT_SECTIONS, event_options
from .run import run
from .stdio import open_what_is_closed
from .values import HostNames, Permissions, Seconds, Whole

__all__ = ["command", "main"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "Application": ("app_dir", "config", "factory", "check", "routes", "openapi"),
    "HTTP (applications that are an HTTPListener)": (
        "host", "port", "uds", "uds_mode", "fd", "backlog", "limit_concurrency", "keep_alive_timeout", "access_log",
        "access_log_format",
    ),
    "Limits of HTTP, each with the status of the response when it is exceeded": (
        "max_request_line", "max_header", "max_headers", "max_header_fields", "max_body", "header_timeout",
        "body_timeout", "write_timeout", "linger_time", "linger_timeout",
    ),
    "Behind proxies": ("proxy_headers", "forwarded_header", "forwarded_allow_ips"),
    "TLS": ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs", "ssl_ciphers"),
    "Development": ("reload", "reload_dir", "reload_include", "reload_exclude"),
    "Workers": (
        "workers", "preload", "graceful_timeout", "drain_delay", "boot_timeout", "cpu_affinity", "pid_file", "user",
        "group", "umask",
    ),
    "Workers under a supervisor (started by --workers 2 or more, --reload, --user or --group)": SUPERVISED,
    **EVENT_SECTIONS,
    "Metrics": (
        "admin_host", "admin_port", "admin_token", "admin_token_file", "admin_open",
        "admin_allowed_hosts", "no_metrics",
    ),
    "Logs": ("log_level", "log_format", "log_time", "log_file"),
}  # fmt: skip

PREFIX = "TINY_LISTENER_"
CHECK = "--check=import"
seconds = Seconds(min=0)
positive = Seconds(min=0, min_open=True)


class Command(click.Command):
    """The command; `--help` groups its options by subject."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`. `--check` works with and without a value, and does not consume the next argument."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [CHECK if arg == "--check" else arg for arg in args[:end]] + args[end:])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Command`."""
        records = {p.name: p.get_help_record(ctx) for p in self.get_params(ctx)}
        named = {name for names in SECTIONS.values() for name in names}
        rest = tuple(name for name in records if name not in named and name != "app")
        for title, names in (*SECTIONS.items(), ("Other", rest)):
            rows = [record for name in names if (record := records[name or ""]) is not None]
            with formatter.section(title):
                formatter.write_dl(rows)


@click.command(
    cls=Command,
    context_settings={"auto_envvar_prefix": "TINY_LISTENER", "max_content_width": 110},
    epilog="Every option is also an environment variable, TINY_LISTENER_<NAME>, and a key of [tool.tiny-listener] in "
    "pyproject.toml or of the --config file: --admin-port 9464 is TINY_LISTENER_ADMIN_PORT=9464 and "
    "admin-port = 9464. The command line overrides the environment, which overrides the file.",
)
@click.argument("app", metavar="MODULE:ATTRIBUTE", shell_complete=complete_app)
@click.option(
    "--app-dir",
    default=".",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder to import the application from.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    is_eager=True,
    callback=read_config,
    help="TOML file with options, instead of [tool.tiny-listener] in ./pyproject.toml.",
)
@click.option(
    "--check",
    type=click.Choice(["import", "start"]),
    metavar="[=start]",
    help="Import and validate the application, and exit; with =start also start and stop it, on a private address.",
)
@click.option(
    "--factory", is_flag=True, help="MODULE:ATTRIBUTE is a function without arguments that returns the application."
)
@click.option("--routes", is_flag=True, help="Print the routes in matching order, and exit.")
@click.option("--openapi", is_flag=True, help="Print the OpenAPI 3.1 document of an HTTPListener, and exit.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Host name or address to listen on; 0.0.0.0 for all IPv4 addresses, '' for IPv6 as well.",
)
@click.option(
    "--port", type=Whole(0, 65535), default=8000, show_default=True, help="Port to listen on; 0 for a free one."
)
@click.option("--uds", type=click.Path(), help="Path of a unix socket to listen on, instead of host and port.")
@click.option(
    "--uds-mode", type=Permissions("660"), help="Permissions of the unix socket, such as 660.  [default: by umask]"
)
@click.option("--fd", type=Whole(min=0), help="File descriptor of an open listening socket, instead of host and port.")
@click.option(
    "--backlog",
    type=Whole(min=1),
    default=2048,
    show_default=True,
    help="Maximum number of connections that wait to be accepted.",
)
@click.option(
    "--limit-concurrency",
    type=Whole(min=1),
    help="Maximum number of requests in flight per worker; further ones get a 503.",
)
@click.option(
    "--keep-alive-timeout",
    type=seconds,
    default=75,
    show_default=True,
    help="Seconds that a connection may be idle; 0 disables keep-alive.",
)
@click.option("--access-log", is_flag=True, help="Log one line per request.")
@click.option(
    "--access-log-format", metavar="TEXT", help="Format of these lines, with gunicorn's atoms, such as %(h)s."
)
@click.option("--max-request-line", type=Whole(min=1), help="Bytes of a request line; 414.  [default: 8192]")
@click.option("--max-header", type=Whole(min=1), help="Bytes of one header line; 431.  [default: 8192]")
@click.option("--max-headers", type=Whole(min=1), help="Bytes of all header lines; 431.  [default: 65536]")
@click.option("--max-header-fields", type=Whole(min=1), help="Header fields; 431.  [default: 100]")
@click.option(
    "--max-body",
    type=Whole(min=0),
    help="Bytes of a body, unless its route sets a limit; 413.  [default: 16777216]",
)
@click.option("--header-timeout", type=positive, help="Seconds until a head is complete; 408.  [default: 30]")
@click.option("--body-timeout", type=positive, help="Seconds that a body may be idle; 408.  [default: 60]")
@click.option("--write-timeout", type=positive, help="Seconds that a client may read nothing.  [default: 60]")
@click.option(
    "--linger-time",
    type=positive,
    help="Seconds to read from a client that still sends after its last response.  [default: 30]",
)
@click.option("--linger-timeout", type=positive, help="Seconds that such a client may be idle.  [default: 5]")
@click.option(
    "--proxy-headers", is_flag=True, help="Trust X-Forwarded-For, -Proto, -Host, -Port and -Prefix of trusted proxies."
)
@click.option("--forwarded-header", is_flag=True, help="Trust Forwarded (RFC 7239) instead.")
@click.option(
    "--forwarded-allow-ips",
    metavar="LIST",
    default="127.0.0.1,::1,unix:",
    show_default=True,
    help="Trusted proxies: addresses, networks, 'unix:' for a unix socket, '*' for all.",
)
@click.option("--ssl-certfile", type=click.Path(), help="Serve TLS with this certificate and its chain, in PEM.")
@click.option("--ssl-keyfile", type=click.Path(), help="Private key of the certificate, unless it is in the same file.")
@click.option(
    "--ssl-ca-certs", type=click.Path(), help="Accept only clients with a certificate from these authorities."
)
@click.option("--ssl-ciphers", metavar="LIST", help="TLS 1.2 ciphers, in OpenSSL's format.")
@click.option("--reload", is_flag=True, help="Replace the workers when a file of the application changes.")
@click.option(
    "--reload-dir",
    type=click.Path(exists=True, file_okay=False),
    multiple=True,
    help="Folder to watch, including subfolders, instead of the --app-dir. Can be repeated.",
)
@click.option(
    "--reload-include",
    metavar="PATTERN",
    multiple=True,
    help="Files or folders to watch in addition to *.py, such as '*.html' or templates. Can be repeated.",
)
@click.option(
    "--reload-exclude",
    metavar="PATTERN",
    multiple=True,
    help="Files or folders whose changes are ignored. Can be repeated.",
)
@click.option(
    "--workers",
    type=Whole(min=1),
    default=1,
    show_default=True,
    help="Number of worker processes; with 2 or more, or with --reload, a supervisor manages them.",
)
@click.option("--preload", is_flag=True, help="Import the application once, before forking the workers.")
@click.option(
    "--graceful-timeout",
    type=seconds,
    default=30,
    show_default=True,
    help="Seconds that events in flight may take after a stop. With --reload the default is 1.",
)
@click.option(
    "--drain-delay",
    type=seconds,
    default=0,
    show_default=True,
    help="Seconds between a stop, when /readyz turns to 503, and the end of accepting connections.",
)
@click.option(
    "--boot-timeout",
    type=positive,
    default=60,
    show_default=True,
    help="Seconds that a worker may take to become ready.",
)
@click.option(
    "--hang-timeout",
    type=seconds,
    default=30,
    show_default=True,
    help="Seconds that a worker's event loop may be blocked before the worker is killed and replaced; 0: no limit, "
    "which is the default with --reload.",
)
@click.option(
    "--reload-batch",
    type=Whole(min=1),
    default=1,
    show_default=True,
    help="Number of workers that a reload (HUP) replaces at the same time.",
)
@click.option(
    "--reload-probation",
    type=seconds,
    default=1,
    show_default=True,
    help="Seconds that a new worker must run, once it is ready, before the old one drains; 0: no probation, which is "
    "the default with --reload.",
)
@click.option("--max-requests", type=Whole(min=1), help="Replace a worker after this number of events.")
@click.option(
    "--max-requests-jitter",
    type=Whole(min=0),
    default=0,
    show_default=True,
    help="Add a random number of events, up to this one, to --max-requests.",
)
@click.option("--max-lifetime", type=positive, help="Replace a worker after this number of seconds.")
@click.option("--max-rss", type=Whole(min=1), help="Replace a worker that uses more than this many MiB of memory.")
@click.option(
    "--max-restarts",
    type=Whole(min=0),
    help="Workers that may end unexpectedly within the window; one more stops the server, with exit code 4.  "
    "[default: no limit]",
)
@click.option(
    "--max-restarts-window",
    type=positive,
    default=60,
    show_default=True,
    help="Window of --max-restarts, in seconds.",
)
@click.option("--cpu-affinity", is_flag=True, help="Pin each worker to one core.")
@click.option("--pid-file", type=click.Path(dir_okay=False), help="Write the process id to this file.")
@click.option(
    "--user", help="User that workers become before they import the application; needs root. Starts a supervisor."
)
@click.option("--group", help="Group that they become.  [default: that of the user]")
@click.option("--umask", type=Permissions("027"), help="Permissions that new files do not get, such as 027.")
@click.option(
    "--control-socket",
    metavar="PATH",
    help="Path of the socket for tiny-listenerctl; '' for none.  [default: a file in $XDG_RUNTIME_DIR/tiny-listener "
    "or /tmp/tiny-listener-UID, where tiny-listenerctl finds it]",
)
@event_options
@click.option(
    "--admin-host",
    default="127.0.0.1",
    show_default=True,
    help="Host of the admin endpoint: status page, /metrics, /status.json, /livez and /readyz.",
)
@click.option(
    "--admin-port",
    type=Whole(0, 65535),
    default=9464,
    show_default=True,
    help="Port of the admin endpoint; 0 for a free one.",
)
@click.option(
    "--admin-token",
    metavar="TOKEN",
    help="Token for the admin endpoint, except /livez and /readyz: as Bearer token, or as the password of any user in "
    "a browser. On the command line all users of the machine can see it.",
)
@click.option(
    "--admin-token-file", type=click.Path(), metavar="FILE", help="Read the admin token from the first line of a file."
)
@click.option("--admin-open", is_flag=True, help="Allow an admin endpoint on a non-loopback address without a token.")
@click.option(
    "--admin-allowed-hosts",
    metavar="LIST",
    type=HostNames(),
    help="Host names of the admin endpoint, in addition to addresses and localhost: for example web.internal, "
    "*.web.internal for all names below it, '*' for any name.",
)
@click.option(
    "--no-metrics",
    is_flag=True,
    help="Disable metrics: /metrics returns 404; the status of the workers, /livez and /readyz remain.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    default="info",
    show_default=True,
    help="Lowest level to log.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Log as text, or as one JSON object per line.",
)
@click.option("--log-time", is_flag=True, help="Begin lines of text with the time, UTC; JSON always has it.")
@click.option(
    "--log-file", type=click.Path(dir_okay=False), help="Append to this file instead of stderr; USR1 reopens it."
)
@completion_option("tiny-listener")
@click.version_option(
    __version__,
    prog_name="tiny-listener",
    message="%(prog)s %(version)s",
    allow_from_autoenv=False,  # images use this variable for the version of their contents
)
@click.pass_context
def command(ctx: click.Context, /, app: str, **options: Any) -> None:  # fmt: skip
    """Run the Listener that MODULE:ATTRIBUTE names, such as http_web:app."""
    check_app_string(app)
    _name_unknown_variables(ctx)
    given = Given.of(ctx, options)
    refuse_contradictions(given)
    options["admin_token"] = find_token(options.pop("admin_token"), options.pop("admin_token_file"))
    refuse_to_be_open(options["admin_host"], options["admin_token"], allowed=options.pop("admin_open"))
    names = given.names
    _name_proxy_headers(names, options)
    ctx.exit(run(app, options, names))


def _name_unknown_variables(ctx: click.Context) -> None:
    known = {f"{PREFIX}{(p.name or '').upper()}" for p in ctx.command.params}
    for name in sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known):
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.9):  # others may belong to the application
            click.echo(f"Warning: {name} is not an option; did you mean {near[0]}?", err=True)


def _name_proxy_headers(given: set[str], options: dict[str, Any]) -> None:
    """Two flags of the command line set one setting."""
    x_forwarded, forwarded = options["proxy_headers"], options.pop("forwarded_header")
    if x_forwarded and forwarded:
        raise click.UsageError(
            "--proxy-headers and --forwarded-header: proxies set one of them, and clients may send both; choose the "
            "one that your proxies set"
        )
    if "forwarded_allow_ips" in given and not x_forwarded and not forwarded:
        raise click.UsageError("--forwarded-allow-ips does nothing without --proxy-headers or --forwarded-header")
    given.discard("forwarded_header")
    if forwarded:
        given.add("proxy_headers")
    if not x_forwarded and not forwarded:
        given.discard("proxy_headers")
    options["proxy_headers"] = "forwarded" if forwarded else "x-forwarded"


def main(args: list[str] | None = None) -> None:
    """Run the command. Errors are one line on stderr and an exit code."""
    open_what_is_closed()
    try:
        code = run_command(command, "tiny-listener", sys.argv[1:] if args is None else args)
    except click.ClickException as exc:
        hint = " (--help shows how)" if isinstance(exc, click.UsageError) else ""
        click.echo(f"Error: {' '.join(exc.format_message().split())}{hint}", err=True)
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(code)
