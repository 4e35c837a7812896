"""A worker's end of a link to a carrier, and a store that fails, in a test."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

from tests.events.store.kept import KeptStore
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.link import Link
from tiny_listener.events.messages import (
    Confirm,
    Deliver,
    FromCarrier,
    Held,
    Hello,
    Publish,
    ToCarrier,
    Welcome,
)
from tiny_listener.events.policy import RouteTerms
from tiny_listener.events.service import EventService
from tiny_listener.events.store.ops import Op, StoreFailed

TERMS = {"p": RouteTerms()}


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.001)


class Worker:
    """A worker's end of a link."""

    def __init__(self, service: EventService, slot: int = 0) -> None:
        self.got: list[Any] = []
        self.slot = slot
        self.n = 0
        self.is_lost = False
        self.link: Link[FromCarrier, ToCarrier] = Link(FromCarrier, self._get, self._lose)
        ours, theirs = socket.socketpair()
        service.attach(theirs, slot)
        self.link.open(ours)

    def _get(self, messages: list[FromCarrier]) -> None:
        for message in messages:  # one for each event that is confirmed: how many travel together depends on the turns
            together = [Confirm([n], message.duplicate) for n in message.ns] if isinstance(message, Confirm) else None
            self.got += together or [message]

    def _lose(self) -> None:
        self.is_lost = True

    def send(self, *messages: ToCarrier) -> None:
        for message in messages:
            self.link.send(message)

    async def hello(self, store_id: str | None = None, holds: list[Held] | None = None, window: int = 10) -> None:
        await self.all(Welcome)
        self.send(Hello(self.slot, 1, window, TERMS, store_id, holds or []))

    def publish(self, id: str, key: str | None = "k", *, wait: float = 0, wants_result: bool = False) -> None:  # noqa: A002
        self.n += 1
        expires = 4e9 if wants_result else None
        envelope = Envelope(id, "p", "p", b"1", 1.0, key, expires=expires)
        self.send(Publish(self.n, envelope, wait, wants_result))

    async def all(self, kind: type, number: int = 1) -> list[Any]:
        """Return the messages of a kind, once there are so many."""
        await until(lambda: len([one for one in self.got if type(one) is kind]) >= number)
        return [one for one in self.got if type(one) is kind]

    @property
    def ids(self) -> list[str]:
        return [one.envelope.id for one in self.got if type(one) is Deliver]


class Full(KeptStore):
    """A store on a disk that may be full.

    :ivar fails: whether an operation does not fit
    """

    def __init__(self) -> None:
        super().__init__()
        self.fails: Callable[[Op], bool] = lambda _: False
        self.threads: set[str] = set()

    def commit(self, ops: list[Op]) -> None:
        self.threads.add(threading.current_thread().name)
        if any(self.fails(op) for op in ops):
            raise StoreFailed("the disk is full")
        super().commit(ops)


async def close(service: EventService, *workers: Worker) -> None:
    for worker in workers:
        worker.link.close()
    await service.unlinked()
    await service.close()
