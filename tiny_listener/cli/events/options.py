"""Options of published events: where they are stored, and how many."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...errors import CarrierError
from ...events.settings import EventSettings, Limits
from ..values import Whole
from .nats import NATS, NO_CREDENTIALS, is_nats, nats_options, nats_settings, servers

if TYPE_CHECKING:
    from tiny_listener_supervisor import CarrierStart

__all__ = [
    "EVENT_SECTIONS",
    "EventStore",
    "carrier_start",
    "default_store",
    "environment_of",
    "event_options",
    "event_settings",
]

EVENTS = (
    "events", "events_sync", "events_concurrency", "events_max", "events_max_bytes", "events_partitions",
)  # fmt: skip
EVENT_SECTIONS = {"Published events": EVENTS, "Published events on NATS (--events nats://HOST:PORT)": NATS}
"""The options, as `--help` groups them."""
MEMORY = "memory"
SQLITE = "sqlite:"
MAX_PARTITIONS = 4096
MAX_CONCURRENCY = 1_000_000
HOMELESS = "/var/lib/tiny-listener"
"""Where the folder of an application is if its user has no home: an error will name it if it cannot be created."""
DATABASE = "events.db"
"""The file of a store that holds events of an earlier run."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class EventStore(click.ParamType[str]):
    """`sqlite:DIR`, `memory`, or URLs of NATS. A folder becomes absolute, and each URL has its port."""

    name = "store"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See `click.ParamType`."""
        text = str(value)
        if text == MEMORY:
            return text
        if is_nats(text):
            try:
                return ",".join(servers(text))
            except ValueError as exc:
                self.fail(str(exc), param, ctx)
        folder = text.removeprefix(SQLITE)
        if folder == text and "@" in text:  # some other URL: an error must not show its password
            self.fail(NO_CREDENTIALS, param, ctx)
        right = "use sqlite:DIR with the folder of the database, such as sqlite:/var/lib/shop, memory, or nats://HOST"
        if folder == text or not folder or "\0" in folder:
            self.fail(f"{value!r} is no store of events: {right}", param, ctx)
        if folder.startswith("//"):
            self.fail(f"{value!r} is a URL, and a folder is expected: {right}", param, ctx)
        return f"{SQLITE}{Path(folder).absolute()}"


def event_options(function: Decorated) -> Decorated:
    """Add the options to a command (a decorator)."""
    limits = Limits()
    for option in reversed((
        click.option(
            "--events",
            type=EventStore(),
            metavar="sqlite:DIR|memory|nats://HOST:PORT[,...]",
            help="Store published events in a database in this folder, only in memory, or on NATS JetStream, where "
            "several servers share them, and start what stores them with the server.  [default: a folder of the "
            "application in $STATE_DIRECTORY or $XDG_STATE_HOME/tiny-listener, once an event is published]",
        ),
        click.option(
            "--events-sync",
            type=click.Choice(["normal", "full"]),
            default="normal",
            show_default=True,
            help="What stored events survive: the death of every process, or with 'full' also a power cut.",
        ),
        click.option(
            "--events-concurrency",
            type=Whole(1, MAX_CONCURRENCY),
            default=EventSettings().concurrency,
            show_default=True,
            help="Maximum number of published events in flight per worker.",
        ),
        click.option(
            "--events-max",
            type=Whole(min=1),
            default=limits.max_events,
            show_default=True,
            help="Maximum number of published events that are not settled; then publishers wait.",
        ),
        click.option(
            "--events-max-bytes",
            type=Whole(min=1),
            default=limits.max_bytes,
            show_default=True,
            help="Maximum bytes of these events.",
        ),
        click.option(
            "--events-partitions",
            type=Whole(1, MAX_PARTITIONS),
            default=limits.partitions,
            show_default=True,
            help="Partitions of the keys, fixed when a store is created.",
        ),
        nats_options,
    )):  # fmt: skip
        function = option(function)
    return function


def event_settings(app: str, options: Mapping[str, Any], environ: Mapping[str, str]) -> EventSettings:
    """Return the settings that the options make.

    :param app: MODULE:ATTRIBUTE
    :param environ: the environment of the user that the database belongs to
    """
    store = options["events"]
    folder = nats = None
    if store is None:
        folder = default_store(app, environ)
    elif is_nats(store):
        nats = nats_settings(app, options)
    elif store != MEMORY:
        folder = store.removeprefix(SQLITE)
    limits = Limits(
        max_events=options["events_max"],
        max_bytes=options["events_max_bytes"],
        partitions=options["events_partitions"],
    )
    return EventSettings(folder, options["events_sync"], options["events_concurrency"], limits, nats)


def default_store(app: str, environ: Mapping[str, str] | None = None) -> str:
    """Return the folder of an application's events if no other one is given.

    :param app: MODULE:ATTRIBUTE
    :param environ: by default that of this process
    """
    from ...events.store.folder import default_folder  # noqa: PLC0415 - --help does without

    name = app.partition(":")[0]
    try:
        return str(default_folder(name, os.environ if environ is None else environ))
    except CarrierError:  # there is no home: a server without events need not have one
        return f"{HOMELESS}/{name}"


def carrier_start(settings: EventSettings, given: set[str]) -> CarrierStart:
    """Return when the carrier is started: with the server if that was asked for, or if events may wait in its folder.

    :param given: names of the options that are not at their defaults
    """
    from tiny_listener_supervisor import CarrierStart  # noqa: PLC0415 - --help does without

    if "events" in given or settings.nats is not None:
        return CarrierStart.REQUIRED
    waits = settings.folder is not None and os.access(Path(settings.folder, DATABASE), os.F_OK)
    return CarrierStart.AT_THE_START if waits else CarrierStart.WHEN_NEEDED


def environment_of(user: tuple[tuple[str, str], ...] = ()) -> dict[str, str]:
    """Return the environment that workers will have, as far as it says where their state is kept.

    :param user: variables of the user that they become; the supervisor's XDG_STATE_HOME is not theirs
    """
    environ = {**os.environ, **dict(user)}
    if user:
        environ.pop("XDG_STATE_HOME", None)
    return environ
