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
from .run import run
from .stdio import open_what_is_closed
from .values import HostNames, Permissions, Seconds, Whole

__all__ = ["command", "main"]

SECTIONS: dict[str, tuple[str, ...]] = {
    "Application": ("app_dir", "config", "check", "routes"),
    "HTTP (applications that are an HTTPListener)": (
        "host", "port", "uds", "uds_mode", "fd", "backlog", "limit_concurrency", "keep_alive_timeout", "access_log",
    ),
    "Limits of HTTP, each with the status that answers what is past it": (
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
    "Workers under a supervisor, which --workers 2 or more, --reload, --user or --group bring": SUPERVISED,
    "Metrics": (
        "admin_host", "admin_port", "admin_token", "admin_token_file", "admin_open",
        "admin_allowed_hosts", "no_metrics",
    ),
    "Logs": ("log_level", "log_format", "log_file"),
}  # fmt: skip

PREFIX = "TINY_LISTENER_"
CHECK = "--check=import"
seconds = Seconds(min=0)
positive = Seconds(min=0, min_open=True)


class Command(click.Command):
    """The command, with its options grouped by subject in `--help`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command`; `--check` alone has a value too, and does not take the next argument for it."""
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
    "admin-port = 9464. The command line wins over the environment, and that over the file.",
)
@click.argument("app", metavar="MODULE:ATTRIBUTE", shell_complete=complete_app)
@click.option(
    "--app-dir",
    default=".",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="The folder that the application is imported from.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    is_eager=True,
    callback=read_config,
    help="A TOML file with options, in place of [tool.tiny-listener] in ./pyproject.toml.",
)
@click.option(
    "--check",
    type=click.Choice(["import", "start"]),
    metavar="[=start]",
    help="Import the application, validate it, and exit; with =start also start it and stop it, at a place of its own.",
)
@click.option("--routes", is_flag=True, help="Print the routes in the order in which they match, and exit.")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="A name or an address; 0.0.0.0 for all of IPv4, '' for IPv6 too.",
)
@click.option("--port", type=Whole(0, 65535), default=8000, show_default=True, help="0 for a free one.")
@click.option("--uds", type=click.Path(), help="A unix socket, in place of host and port.")
@click.option(
    "--uds-mode", type=Permissions("660"), help="The permissions of its file, such as 660.  [default: by umask]"
)
@click.option("--fd", type=Whole(min=0), help="An open listening socket, in place of host and port.")
@click.option(
    "--backlog",
    type=Whole(min=1),
    default=2048,
    show_default=True,
    help="Connections that may wait to be accepted.",
)
@click.option(
    "--limit-concurrency",
    type=Whole(min=1),
    help="Requests in flight in one worker; past it the answer is 503.",
)
@click.option(
    "--keep-alive-timeout",
    type=seconds,
    default=75,
    show_default=True,
    help="Seconds that a connection may be idle; 0: none is kept.",
)
@click.option("--access-log", is_flag=True, help="One line for each request.")
@click.option("--max-request-line", type=Whole(min=1), help="Bytes of a request line; 414.  [default: 8192]")
@click.option("--max-header", type=Whole(min=1), help="Bytes of one header line; 431.  [default: 8192]")
@click.option("--max-headers", type=Whole(min=1), help="Bytes of all header lines; 431.  [default: 65536]")
@click.option("--max-header-fields", type=Whole(min=1), help="Header fields; 431.  [default: 100]")
@click.option(
    "--max-body",
    type=Whole(min=0),
    help="Bytes of a body, where its route does not say; 413.  [default: 16777216]",
)
@click.option("--header-timeout", type=positive, help="Seconds until a head is complete; 408.  [default: 30]")
@click.option("--body-timeout", type=positive, help="Seconds that a body may be idle; 408.  [default: 60]")
@click.option("--write-timeout", type=positive, help="Seconds that a client may take nothing.  [default: 60]")
@click.option(
    "--linger-time", type=positive, help="Seconds for a client that still sends after its last response.  [default: 30]"
)
@click.option("--linger-timeout", type=positive, help="Seconds that such a client may be idle.  [default: 5]")
@click.option("--proxy-headers", is_flag=True, help="Take X-Forwarded-For and -Proto of trusted proxies at their word.")
@click.option("--forwarded-header", is_flag=True, help="The same for Forwarded (RFC 7239), in their place.")
@click.option(
    "--forwarded-allow-ips",
    metavar="LIST",
    default="127.0.0.1,::1,unix:",
    show_default=True,
    help="The proxies that are trusted: addresses, networks, 'unix:' for a unix socket, '*' for everybody.",
)
@click.option("--ssl-certfile", type=click.Path(), help="Speak TLS with this certificate, and its chain, in PEM.")
@click.option("--ssl-keyfile", type=click.Path(), help="Its key, unless that is in the same file.")
@click.option("--ssl-ca-certs", type=click.Path(), help="Let only clients in for which these authorities vouch.")
@click.option("--ssl-ciphers", metavar="LIST", help="Ciphers of TLS 1.2, in OpenSSL's format.")
@click.option("--reload", is_flag=True, help="Replace the workers when a file of the application changes.")
@click.option(
    "--reload-dir",
    type=click.Path(exists=True, file_okay=False),
    multiple=True,
    help="A folder to watch, with all below, in place of the --app-dir. May be given again.",
)
@click.option(
    "--reload-include",
    metavar="PATTERN",
    multiple=True,
    help="Files or folders to watch besides *.py, such as '*.html' or templates. May be given again.",
)
@click.option(
    "--reload-exclude",
    metavar="PATTERN",
    multiple=True,
    help="Files or folders whose changes do not matter. May be given again.",
)
@click.option(
    "--workers",
    type=Whole(min=1),
    default=1,
    show_default=True,
    help="Processes; from 2 on, or with --reload, a supervisor watches over them.",
)
@click.option("--preload", is_flag=True, help="Import the application once, before the workers are forked.")
@click.option(
    "--graceful-timeout",
    type=seconds,
    default=30,
    show_default=True,
    help="Seconds that running events may take after a stop; with --reload 1, unless given.",
)
@click.option(
    "--drain-delay",
    type=seconds,
    default=0,
    show_default=True,
    help="Seconds from a stop, when /readyz turns to 503, until nothing new is accepted.",
)
@click.option(
    "--boot-timeout",
    type=positive,
    default=60,
    show_default=True,
    help="Seconds that a worker may take until it is ready.",
)
@click.option(
    "--hang-timeout",
    type=seconds,
    default=30,
    show_default=True,
    help="Seconds that a worker's event loop may be blocked; then it is killed and replaced. 0: forever, as with "
    "--reload, unless given.",
)
@click.option(
    "--reload-batch",
    type=Whole(min=1),
    default=1,
    show_default=True,
    help="Workers that a reload (HUP) replaces at a time.",
)
@click.option(
    "--reload-probation",
    type=seconds,
    default=1,
    show_default=True,
    help="Seconds that a new worker has to live, once it is ready, before the old one drains. 0: none, as with "
    "--reload, unless given.",
)
@click.option("--max-requests", type=Whole(min=1), help="Replace a worker after so many events.")
@click.option(
    "--max-requests-jitter",
    type=Whole(min=0),
    default=0,
    show_default=True,
    help="At random up to so many more.",
)
@click.option("--max-lifetime", type=positive, help="Replace a worker after so many seconds.")
@click.option("--max-rss", type=Whole(min=1), help="Replace a worker that takes more MiB of memory.")
@click.option(
    "--max-restarts",
    type=Whole(min=0),
    help="Workers that may end unplanned within the window; one more ends the server, with code 4.  [default: any]",
)
@click.option(
    "--max-restarts-window",
    type=positive,
    default=60,
    show_default=True,
    help="The window of --max-restarts, in seconds.",
)
@click.option("--cpu-affinity", is_flag=True, help="Pin each worker to one core.")
@click.option("--pid-file", type=click.Path(dir_okay=False), help="Keep the process id in this file.")
@click.option(
    "--user", help="Root's workers become this user, before they import the application. Brings a supervisor."
)
@click.option("--group", help="And this group.  [default: that of the user]")
@click.option("--umask", type=Permissions("027"), help="What new files may not be, such as 027.")
@click.option(
    "--control-socket",
    metavar="PATH",
    help="Where tiny-listenerctl asks; '' for nowhere.  [default: a file in $XDG_RUNTIME_DIR/tiny-listener or "
    "/tmp/tiny-listener-UID, found by itself]",
)
@click.option(
    "--admin-host",
    default="127.0.0.1",
    show_default=True,
    help="Where the status page, /metrics, /status.json, /livez and /readyz listen.",
)
@click.option(
    "--admin-port",
    type=Whole(0, 65535),
    default=9464,
    show_default=True,
    help="Their port; 0 for a free one.",
)
@click.option(
    "--admin-token",
    metavar="TOKEN",
    help="What clients have to show there, but for /livez and /readyz: as Bearer, or as the password that a browser "
    "asks for, of any user. On the command line all users of the machine see it.",
)
@click.option("--admin-token-file", type=click.Path(), metavar="FILE", help="The same, from the first line of a file.")
@click.option("--admin-open", is_flag=True, help="Allow an admin endpoint on a non-loopback address without a token.")
@click.option(
    "--admin-allowed-hosts",
    metavar="LIST",
    type=HostNames(),
    help="Names by which clients may ask there, besides addresses and localhost: such as web.internal, *.web.internal "
    "for all below it, '*' for any.",
)
@click.option(
    "--no-metrics",
    is_flag=True,
    help="Measure nothing: /metrics is a 404; the workers' state, /livez and /readyz remain.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "critical"]),
    default="info",
    show_default=True,
    help="The least severe messages to log.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line.",
)
@click.option(
    "--log-file", type=click.Path(dir_okay=False), help="Append to this file, in place of stderr; USR1 reopens it."
)
@completion_option("tiny-listener")
@click.version_option(
    __version__,
    prog_name="tiny-listener",
    message="%(prog)s %(version)s",
    allow_from_autoenv=False,  # images name the version of what is in them so
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
        if near := difflib.get_close_matches(name, known, n=1, cutoff=0.9):  # others may be the application's
            click.echo(f"Warning: {name} is no option; did you mean {near[0]}?", err=True)


def _name_proxy_headers(given: set[str], options: dict[str, Any]) -> None:
    """Two flags of the command line are one setting."""
    x_forwarded, forwarded = options["proxy_headers"], options.pop("forwarded_header")
    if x_forwarded and forwarded:
        raise click.UsageError(
            "--proxy-headers and --forwarded-header: proxies write the one or the other, and clients may send both; "
            "choose that which yours write"
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
    """Run the command; whatever is wrong with it is one line on stderr and an exit code."""
    open_what_is_closed()
    try:
        code = command.main(args, prog_name="tiny-listener", standalone_mode=False)
    except click.ClickException as exc:
        hint = " (--help shows how)" if isinstance(exc, click.UsageError) else ""
        click.echo(f"Error: {' '.join(exc.format_message().split())}{hint}", err=True)
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    sys.exit(code)
