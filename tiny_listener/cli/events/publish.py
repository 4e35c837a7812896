"""`tiny-listener publish`: stores an event, for a server that runs, or for one that will."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ...errors import EventNotFound, ListenerError
from ...events import questions
from ...events.envelope import Envelope, check_id, check_size, key_text, new_id
from ...events.settings import EventSettings, Limits
from ..application import check_app_string, load
from .nats import AppName, default_app, is_nats
from .options import MEMORY, SQLITE, EventStore, default_store

if TYPE_CHECKING:
    from ...core.listener import Listener

__all__ = ["command"]

NATS_STORE = "nats:"
"""The status of a server on NATS shows this and the name of the application as its store."""


class NotPublished(click.ClickException):
    """The event is not stored; exit code 1."""


@click.command(context_settings={"max_content_width": 110})
@click.argument("app", metavar="MODULE:ATTRIBUTE")
@click.argument("path")
@click.option(
    "--key", help="Events with the same key are handled one at a time, in the order in which they were stored."
)
@click.option("--id", "event_id", metavar="ID", help="A second event with the same id is dropped, for two minutes.")
@click.option("--data", metavar="JSON|@FILE", help="The data, as JSON; @FILE reads it from a file, @- from stdin.")
@click.option("--delay", type=click.FloatRange(min=0), metavar="SECONDS", help="Let it be handled after this time.")
@click.option(
    "--events",
    type=EventStore(),
    metavar="sqlite:DIR|nats://HOST",
    help="The store, if no server runs that has it open. On NATS, a server of this machine stores the event.",
)
@click.option("--events-app", type=AppName(), metavar="NAME", help="The name that this server has for the application.")
@click.option("--socket", "socket_path", type=click.Path(), help="The server's control socket.")
@click.option("--pid", type=int, help="The server's process id, where several run.")
@click.option("--app-dir", default=".", show_default=True, help="The folder to import the application from.")
@click.option("--factory", is_flag=True, help="MODULE:ATTRIBUTE is a function that returns the application.")
def command(app: str, path: str, **options: Any) -> None:
    """Store one event for an application, whose workers handle it.

    PATH is the text of the event, such as "order 1 placed"; a route of the application must match it.
    """
    check_app_string(app)
    if options["events"] == MEMORY and options["socket_path"] is None and options["pid"] is None:
        raise click.UsageError("memory belongs to a server that runs: name it with --socket or --pid")
    try:
        listener = load(app, options["app_dir"], {}, is_factory=options["factory"])
        envelope = _envelope(listener, path, options)
        check_size(envelope, Limits().max_event)
        answer = _publish(app, envelope, options)
    except (ListenerError, ValueError) as exc:
        raise NotPublished(str(exc)) from None
    click.echo(f"{answer.id} {'is stored already' if answer.duplicate else 'is stored'}")


def _envelope(listener: Listener[Any], path: str, options: dict[str, Any]) -> Envelope:
    """Return the event.

    :raises EventNotFound: no route for published events matches
    :raises ValueError: the key, the id or the data is wrong
    """
    from ...core.publishing.payload import due_time  # noqa: PLC0415 - --help does without
    from ...core.publishing.terms import options_of  # noqa: PLC0415

    route, _ = listener.match_route(path)
    if route.is_http:
        raise EventNotFound(
            f"No handler is registered for the published event {path!r}: {route.where} handles requests"
        )
    now = time.time()
    return Envelope(
        id=new_id() if options["event_id"] is None else check_id("--id", options["event_id"]),
        path=path,
        route=route.path,
        data=_data(options["data"]),
        published_at=now,
        key=None if options["key"] is None else key_text(options["key"]),
        serial=options_of(route).get("serial", True),
        due=due_time(options["delay"], None, now),
    )


def _data(given: str | None) -> bytes:
    if given is None:
        return b"null"
    if given == "@-":
        text = sys.stdin.buffer.read()
    elif given.startswith("@"):
        try:
            text = Path(given[1:]).read_bytes()
        except OSError as exc:
            raise ValueError(f"--data {given}: {exc.strerror}") from None
    else:
        text = given.encode("utf-8", "surrogateescape")
    try:
        return msgspec.json.encode(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ValueError(f"--data is no JSON: {exc}") from None


def _publish(app: str, envelope: Envelope, options: dict[str, Any]) -> questions.Stored:
    """Give an event to the server that has the store open, or store it ourselves if none has.

    :raises CarrierError: a server has the store open that is not to be found, or it cannot be opened
    :raises CommandFailed: the server refuses
    """
    from .ctl import ask_carrier, server_of  # noqa: PLC0415

    store = options["events"] or f"{SQLITE}{default_store(app)}"
    if is_nats(store):
        store = f"{NATS_STORE}{options['events_app'] or default_app(app)}"
    place = options["socket_path"], options["pid"]
    if place == (None, None):
        path = server_of(store)
        if path is None and store.startswith(NATS_STORE):
            raise NotPublished(f"no server of this user on this machine has the events of {store}: start one")
        if path is None:
            folder = store.removeprefix(SQLITE)
            return asyncio.run(_store(EventSettings(folder), envelope))
        place = path, None
    return ask_carrier(place, questions.AskPublish(envelope), questions.Stored)


async def _store(settings: EventSettings, envelope: Envelope) -> questions.Stored:
    """Store an event while no server has the store open.

    :raises CarrierError: a server has it, or it cannot be opened
    :raises NotPublished: it is refused
    """
    from ...events.service import EventService  # noqa: PLC0415
    from ...events.store.folder import open_folder  # noqa: PLC0415
    from ...events.store.sqlite import SQLiteStore  # noqa: PLC0415

    assert settings.folder is not None
    with open_folder(settings.folder):
        # Whatever number of partitions the server was given, the store keeps it: one that waits could not be moved.
        service = EventService(settings, store=SQLiteStore(settings.folder, partitions=None))
        service.start()
        try:
            answer = await service.answer(questions.AskPublish(envelope))
        finally:
            await service.close()
    if not isinstance(answer, questions.Stored):
        raise NotPublished(getattr(answer, "text", "not stored"))
    return answer
