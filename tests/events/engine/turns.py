"""An engine, turn by turn, in a test."""

from __future__ import annotations

from typing import Any

from tests.events.store.kept import KeptStore
from tiny_listener.events.engine import Engine
from tiny_listener.events.engine.effects import Effects
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Hello, Publish
from tiny_listener.events.settings import Limits


class Turns:
    """An engine, its store and its time."""

    def __init__(self, store: KeptStore | None = None, now: float = 0.0, **limits: Any) -> None:
        self.store = store or KeptStore()
        self.limits = Limits(**limits)
        self.now = now
        self.engine = Engine(self.store.load(now, self.limits.dedup_window), self.limits, now)

    def turn(self, *messages: Any, link: int = 1) -> list[Any]:
        effects = self.take(*messages, link=link)
        self.store.commit(effects.ops)
        return [message for sent in effects.sends.values() for message in sent]

    def take(self, *messages: Any, link: int = 1) -> Effects:
        for message in messages:
            self.engine.hear(link, [message], self.now)
        self.engine.tick(self.now)
        return self.engine.take(self.now)


def hello() -> Hello:
    return Hello(0, 1, 10, {})


def event(n: int = 1, size: int = 0, **more: Any) -> Publish:
    wants_result = more.get("expires") is not None
    return Publish(n, Envelope(f"id {n}", "p", "p", b"x" * size, 0.0, "k", **more), 30.0, wants_result)


def kinds(messages: list[Any], *wanted: type) -> list[Any]:
    return [message for message in messages if isinstance(message, wanted)]
