"""Options of a NATS server that stores published events."""

from __future__ import annotations

import re
import socket
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...events.settings import NatsSettings
from ..values import Whole

if TYPE_CHECKING:
    from ..contradictions import Given

__all__ = [
    "NATS",
    "NO_CREDENTIALS",
    "AppName",
    "default_app",
    "is_nats",
    "nats_options",
    "nats_settings",
    "refuse_nats_contradictions",
    "servers",
]

NATS = (
    "events_app", "events_host", "events_replicas", "nats_creds", "nats_nkey", "nats_user", "nats_password_file",
    "nats_token_file", "nats_tls_ca", "nats_tls_cert", "nats_tls_key", "nats_inbox_prefix",
)  # fmt: skip
"""The options, as `--help` groups them. They need a NATS server."""
FILES = tuple(name for name in NATS if name.startswith("nats_") and name not in ("nats_user", "nats_inbox_prefix"))
CREDENTIALS = ("nats_creds", "nats_nkey", "nats_user", "nats_token_file")
EXAMPLE = "nats://10.0.0.1:4222 or tls://nats1:4222,tls://nats2:4222"
NO_CREDENTIALS = (
    "credentials do not belong in the URL, where others can read them: use --nats-user and --nats-password-file, or "
    "--nats-token-file"
)
URL = re.compile(r"(?P<place>(nats|tls)://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]))(:(?P<port>[0-9]{1,5}))?")
PORT, MAX_PORT = 4222, 65535
MAX_APP = 32
APP = re.compile(rf"[a-z0-9_-]{{1,{MAX_APP}}}")
MAX_HOST = 64
INBOX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
MAX_INBOX = 128

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def is_nats(store: str | None) -> bool:
    """Return whether `--events` names NATS servers."""
    return store is not None and store.startswith(("nats://", "tls://"))


def servers(text: str) -> tuple[str, ...]:
    """Return the URLs of a list, each with its port.

    :raises ValueError: the list is wrong; the message shows no password
    """
    if "@" in text:
        raise ValueError(NO_CREDENTIALS)
    urls = tuple(_url(one.strip()) for one in text.split(","))
    if len({url.partition(":")[0] for url in urls}) > 1:
        raise ValueError(f"{text!r} has both nats:// and tls://: use one of them for all servers")
    return urls


def _url(text: str) -> str:
    found = URL.fullmatch(text)
    port = PORT if found is None or found["port"] is None else int(found["port"])
    if found is None or not 1 <= port <= MAX_PORT:
        raise ValueError(f"{text!r} is no URL of a NATS server: use {EXAMPLE}")
    return f"{found['place']}:{port}"


class AppName(click.ParamType[str]):
    """The name that servers of one application have in common; names of streams contain it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        if not APP.fullmatch(text := str(value)):
            self.fail(f"{text!r} is not valid: use 1 to {MAX_APP} of a-z, 0-9, _ and -, such as shop", param, ctx)
        return text


class HostName(click.ParamType[str]):
    """The name of one server among those of the application."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        text = str(value)
        if not 1 <= len(text) <= MAX_HOST or not text.isprintable() or text != text.strip():
            self.fail(
                f"{text!r} is not valid: use 1 to {MAX_HOST} printable characters, without spaces around", param, ctx
            )
        return text


class Replicas(Whole):
    """A number of servers, of which a majority must answer."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        number = super().convert(value, param, ctx)
        if number % 2 == 0:
            self.fail(f"{number} is not valid: use 1, 3 or 5, for a majority must answer", param, ctx)
        return number


class Inbox(click.ParamType[str]):
    """The first tokens of a subject."""

    name = "subject"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        text = str(value)
        if len(text) > MAX_INBOX or not INBOX.fullmatch(text):
            self.fail(f"{text!r} is not the beginning of a subject: use one such as _INBOX_shop", param, ctx)
        return text


def nats_options(function: Decorated) -> Decorated:
    """Add the options to a command (a decorator)."""
    file = click.Path(dir_okay=False)
    for option in reversed((
        click.option(
            "--events-app",
            type=AppName(),
            metavar="NAME",
            help="Name of the application: servers with the same name share its events.  [default: the name of the "
            "module]",
        ),
        click.option(
            "--events-host",
            type=HostName(),
            metavar="NAME",
            help="Name of this server: no other one of the application has it, and it keeps it when it is started "
            "again.  [default: the machine's host name]",
        ),
        click.option(
            "--events-replicas",
            type=Replicas(1, 5),
            default=1,
            show_default=True,
            metavar="1|3|5",
            help="Servers of the NATS cluster that store each event, fixed when the streams are created.",
        ),
        click.option("--nats-creds", type=file, help="Credentials file, with a JWT and an NKey."),
        click.option("--nats-nkey", type=file, help="File with the seed of an NKey."),
        click.option("--nats-user", metavar="NAME", help="User name; the password is in --nats-password-file."),
        click.option("--nats-password-file", type=file, help="File with the password of the user."),
        click.option("--nats-token-file", type=file, help="File with a token."),
        click.option(
            "--nats-tls-ca",
            type=file,
            help="Certificates of the authorities to trust, in PEM.  [default: those of the system]",
        ),
        click.option("--nats-tls-cert", type=file, help="Certificate to present, in PEM."),
        click.option("--nats-tls-key", type=file, help="Its private key, unless it is in the same file."),
        click.option(
            "--nats-inbox-prefix",
            type=Inbox(),
            default="_INBOX",
            show_default=True,
            metavar="SUBJECT",
            help="First tokens of the subjects for answers, so that a user may subscribe to no others.",
        ),
    )):  # fmt: skip
        function = option(function)
    return function


def nats_settings(app: str, options: Mapping[str, Any]) -> NatsSettings:
    """Return the settings that the options make. Files become absolute.

    :param app: MODULE:ATTRIBUTE
    :raises click.UsageError: the machine has no name that could be used
    """
    files = {name: None if options[name] is None else str(Path(options[name]).absolute()) for name in FILES}
    return NatsSettings(
        servers=servers(options["events"]),
        app=options["events_app"] or default_app(app),
        host=options["events_host"] or _host(),
        replicas=options["events_replicas"],
        credentials=files["nats_creds"],
        nkey=files["nats_nkey"],
        user=options["nats_user"],
        password_file=files["nats_password_file"],
        token_file=files["nats_token_file"],
        tls_ca=files["nats_tls_ca"],
        tls_cert=files["nats_tls_cert"],
        tls_key=files["nats_tls_key"],
        inbox_prefix=options["nats_inbox_prefix"],
    )


def _host() -> str:
    try:
        return HostName().convert(socket.gethostname(), None, None)
    except click.BadParameter as exc:
        raise click.UsageError(
            f"The host name of this machine cannot be used, add --events-host: {exc.message}"
        ) from None


def default_app(app: str) -> str:
    """Return the name of an application that is given none. Two modules never have the same.

    :param app: MODULE:ATTRIBUTE
    """
    module = app.partition(":")[0]
    name = module.replace(".", "-")  # no name of a module has it
    if APP.fullmatch(name):
        return name
    sum_of_all = f"-{zlib.crc32(module.encode('utf-8', 'surrogateescape')):08x}"
    return re.sub("[^a-z0-9_-]", "_", name.lower())[: MAX_APP - len(sum_of_all)] + sum_of_all


def refuse_nats_contradictions(given: Given) -> None:
    """Drop options of NATS that a stronger option overrides.

    :raises click.UsageError: one would do nothing, or two contradict each other
    """
    store = given.strength.get("events", 0)
    if not is_nats(given.options["events"]):
        for name in NATS:
            strength = given.strength.get(name, 0)
            if strength and strength < store:  # a file has it, and the command line chose another store
                given.forget(name)
            elif strength:
                raise click.UsageError(f"{_option(name)} does nothing without --events nats://HOST:PORT")
        return
    _choose_credentials(given)
    for name, needed in (
        ("nats_password_file", "nats_user"), ("nats_user", "nats_password_file"), ("nats_tls_key", "nats_tls_cert"),
    ):  # fmt: skip
        if name in given.names and needed not in given.names:
            raise click.UsageError(f"{_option(name)} needs {_option(needed)}")


def _choose_credentials(given: Given) -> None:
    """Keep the strongest way to log in.

    :raises click.UsageError: there are two that are equally strong
    """
    found = sorted((name for name in CREDENTIALS if name in given.names), key=given.strength.__getitem__)
    if len(found) > 1 and given.strength[found[-1]] == given.strength[found[-2]]:
        one, other = map(_option, sorted(found[-2:], key=CREDENTIALS.index))
        raise click.UsageError(f"{one} and {other} are two ways to log in: choose one")
    for weaker in found[:-1]:
        given.forget(weaker)
        if weaker == "nats_user":
            given.forget("nats_password_file")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
