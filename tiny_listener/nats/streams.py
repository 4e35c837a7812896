"""The streams of an application: created when they are absent, and checked when they are not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

from ..errors import CarrierError
from ..events.settings import Limits
from .connection import ApiError, Connection, Unavailable
from .names import Names

__all__ = ["LEAST", "SCHEDULES", "open_streams"]

LEAST: Final = (2, 9)
"""The oldest server that is supported."""
METADATA: Final = (2, 10)
SCHEDULES: Final = (2, 12)
"""The oldest server that delays messages."""
PATIENCE: Final = 30.0
"""Seconds for JetStream to elect its leaders."""
NOT_FOUND: Final = 10059
NOT_ENABLED: Final = (10039, 10076)
IN_USE: Final = 10058
NO_PEERS: Final = 10005
DEAD_FOR: Final = 30 * 86400
"""Seconds that dead letters are kept."""
SECOND: Final = 1_000_000_000
VERSION: Final = "1"


async def open_streams(connection: Connection, names: Names, limits: Limits, replicas: int) -> None:
    """Create the streams, or check them.

    :raises CarrierError: JetStream is off, the server is too old, or a stream has another shape
    """
    if connection.version < LEAST:
        found = ".".join(map(str, connection.version))
        raise CarrierError(f"The NATS server has the version {found}, and 2.9 or later is needed: update it")
    events: dict[str, Any] = {
        "name": names.stream,
        "subjects": [names.subjects],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_msgs": limits.max_events,
        "max_bytes": limits.max_bytes,
        "duplicate_window": int(limits.dedup_window * SECOND),
        "num_replicas": replicas,
    }
    if connection.version >= METADATA:
        events["metadata"] = {"tiny-listener": VERSION, "partitions": str(limits.partitions)}
    dead: dict[str, Any] = {
        "name": names.dead,
        "subjects": [names.dead_subjects],
        "retention": "limits",
        "storage": "file",
        "max_age": DEAD_FOR * SECOND,
        "duplicate_window": int(limits.dedup_window * SECOND),
        "num_replicas": replicas,
    }
    await _open(connection, events)
    await _open(connection, dead)
    if connection.version >= SCHEDULES:
        later: dict[str, Any] = {
            "name": names.later_stream,
            "subjects": [names.later_subjects],
            "retention": "workqueue",
            "storage": "file",
            "allow_msg_schedules": True,
            "duplicate_window": int(limits.dedup_window * SECOND),
            "num_replicas": replicas,
        }
        await _open(connection, later)


async def _open(connection: Connection, wanted: dict[str, Any]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            with contextlib.suppress(ApiError):
                info = await connection.api(f"STREAM.INFO.{wanted['name']}")
                _check(info["config"], wanted)
                return
            await connection.api(f"STREAM.CREATE.{wanted['name']}", wanted)
            return
        except ApiError as exc:
            if exc.code == IN_USE:  # somebody else has created it since we looked
                continue
            if exc.code in NOT_ENABLED:
                raise CarrierError(
                    "JetStream is off at the NATS server: switch it on (jetstream {} in nats.conf, or nats-server -js)"
                ) from None
            if exc.code != NO_PEERS or time.monotonic() > until:
                raise CarrierError(f"The stream {wanted['name']} cannot be created: {exc}") from None
            await asyncio.sleep(0.5)  # of a cluster that was just started, not all nodes have met
        except Unavailable as exc:
            if time.monotonic() > until or not connection.has_jetstream:
                raise CarrierError(
                    f"JetStream does not answer ({exc}): is it on? (jetstream {{}} in nats.conf, or nats-server -js)"
                ) from None
            await asyncio.sleep(0.5)


def _check(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compare what must be the same. Limits and replicas may be changed by an operator.

    :raises CarrierError: something is not
    """
    for name in ("subjects", "retention", "discard"):
        if name in wanted and found.get(name) != wanted[name]:
            raise CarrierError(
                f"The stream {wanted['name']} has {name} {found.get(name)!r}, and {wanted[name]!r} is needed: "
                "give this application another name (--events-app), or delete the stream"
            )
    ours = wanted.get("metadata", {}).get("partitions")
    theirs = found.get("metadata", {}).get("partitions")
    if ours is not None and theirs is not None and ours != theirs:
        raise CarrierError(
            f"The stream {wanted['name']} was created with {theirs} partitions, not {ours}: "
            f"use --events-partitions {theirs}"
        )
