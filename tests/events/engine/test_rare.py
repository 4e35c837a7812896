"""The engine: what happens rarely, and then for long."""

from __future__ import annotations

from typing import Any

from tiny_listener.events.engine import Engine
from tiny_listener.events.engine.effects import Effects
from tiny_listener.events.envelope import HOLDS, Envelope
from tiny_listener.events.messages import Deliver, Failed, Hello, Publish, Unroutable
from tiny_listener.events.settings import Limits
from tiny_listener.events.store.memory import MemoryStore
from tiny_listener.events.store.ops import ToDead


class Turns:
    """An engine, its store and its time."""

    def __init__(self, store: MemoryStore | None = None, now: float = 0.0, **limits: Any) -> None:
        self.store = store or MemoryStore()
        self.limits = Limits(**limits)
        self.now = now
        self.engine = Engine(self.store.load(now, self.limits.dedup_window), self.limits, now)

    def turn(self, *messages: Any, link: int = 1) -> list[Any]:
        effects = self.take(*messages, link=link)
        self.store.commit(effects.ops)
        return [message for _, message in effects.sends]

    def take(self, *messages: Any, link: int = 1) -> Effects:
        for message in messages:
            self.engine.hear(link, message, self.now)
        self.engine.tick(self.now)
        return self.engine.take(self.now)


def hello() -> Hello:
    return Hello(0, 1, 10, {})


def event(n: int = 1, size: int = 0, **more: Any) -> Publish:
    wants_result = more.get("expires") is not None
    return Publish(n, Envelope(f"id {n}", "p", "p", b"x" * size, 0.0, "k", **more), 30.0, wants_result)


def kinds(messages: list[Any], *wanted: type) -> list[Any]:
    return [message for message in messages if isinstance(message, wanted)]


def test_each_deploy_has_its_own_minute() -> None:
    one = Turns()
    one.turn(hello(), event())
    for wait in (300.0, 300.0):
        one.turn(Unroutable(1))
        one.now += 1
        assert kinds(one.turn(), Deliver)
        one.turn(Failed(1, "error", "E", "", wait))
        one.now += wait
        assert kinds(one.turn(), Deliver)
    assert one.engine.letters.by_reason == {}
    for _ in range(61):
        one.turn(Unroutable(1))
        one.now += 1
        one.turn()
    assert one.engine.letters.by_reason == {"no route": 1}


def test_an_event_that_is_put_back_is_no_request_any_more() -> None:
    one = Turns()
    one.turn(hello(), event(expires=600.0, attributes={HOLDS: '["a"]', "own": "1"}))
    effects = one.take(Failed(1, "error", "E", ""))
    (letter,) = [op.letter for op in effects.ops if isinstance(op, ToDead)]
    one.engine.letters.redrive(letter, one.now)
    (deliver,) = kinds(one.turn(), Deliver)
    assert deliver.envelope.attributes == {"own": "1", "tlredrive": "1"}
    assert (deliver.attempt, deliver.wants_result) == (1, False)
