"""What operators do with dead letters and halted keys."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.events.store.kept import KeptStore
from tiny_listener.events import operator
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Deliver, Done, Failed, Hello, Publish
from tiny_listener.events.policy import Reason, RouteTerms
from tiny_listener.events.questions import (
    AskDead,
    AskDiscard,
    AskHalted,
    AskPublish,
    AskRedrive,
    AskSkip,
    AskView,
    DeadLetters,
    Halted,
    HaltedKey,
    Number,
    Question,
    Stored,
    View,
    Wrong,
)
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings, Limits


class Box:
    """A carrier and one worker, whose messages go straight into the engine."""

    def __init__(self, max_dead: int | None = None, **limits: Any) -> None:
        self.service = EventService(EventSettings(limits=Limits(**limits)), store=KeptStore(max_dead=max_dead))
        self.service.start()
        self.got: list[Deliver] = []
        self._send = self.service._send
        self.service._send = self._sent  # type: ignore[method-assign]
        self.numbers = 0
        self.hear(Hello(0, 1, 100, {"route": RouteTerms(), "halts": RouteTerms(halt=True)}))

    def _sent(self, effects: Any) -> None:
        self.got += [one for sent in effects.sends.values() for one in sent if isinstance(one, Deliver)]
        self._send(effects)

    def hear(self, *messages: Any) -> None:
        self.service._receive(1, list(messages))
        self.service.turn()

    def publish(self, id: str, key: str | None = None, route: str = "route") -> None:  # noqa: A002
        self.numbers += 1
        self.hear(Publish(self.numbers, Envelope(id, "p " + id, route, b"1", 1.0, key), 0))

    def fail(self, *ids: str, reason: Reason = "attempts") -> None:
        for deliver in [one for one in self.got if one.envelope.id in ids]:
            self.hear(Failed(deliver.seq, "error", "ValueError", "no", None, reason))
            self.got.remove(deliver)

    @property
    def ids(self) -> list[str]:
        return [deliver.envelope.id for deliver in self.got]

    async def ask(self, question: Question) -> Any:
        return await self.service.answer(question)

    async def dead(self, **terms: Any) -> list[str]:
        answer = await self.ask(AskDead(**terms))
        assert isinstance(answer, DeadLetters)
        return [row.id for row in answer.rows]


def box_with_letters() -> Box:
    box = Box()
    for n in range(6):
        box.publish(f"e{n}", "k" if n < 2 else None)
    box.fail("e0")
    box.fail("e1", "e2")
    box.fail("e3", "e4", "e5", reason="rejected")
    return box


def test_dead_letters_are_listed(runner: asyncio.Runner) -> None:
    async def main() -> None:
        box = box_with_letters()
        assert await box.dead() == ["e0", "e2", "e1", "e3", "e4", "e5"]
        assert await box.dead(reason="rejected") == ["e3", "e4", "e5"]
        assert await box.dead(id="e4") == ["e4"]
        assert await box.dead(reason="attempts", id="e4") == []
        page = await box.ask(AskDead(limit=4))
        assert page.more
        assert [row.id for row in page.rows] == ["e0", "e2", "e1", "e3"]
        rest = await box.ask(AskDead(after=page.rows[-1].number, limit=4))
        assert ([row.id for row in rest.rows], rest.more) == (["e4", "e5"], False)
        row = page.rows[0]
        assert (row.path, row.key, row.reason, row.error, row.text, row.attempts, row.data, row.slot) == (
            "p e0", "k", "attempts", "ValueError", "no", 1, "1", 0,
        )  # fmt: skip
        view = await box.ask(AskView())
        assert isinstance(view, View)
        assert (view.dead, view.waiting, view.in_flight) == ({"attempts": 3, "rejected": 3}, 0, {0: 0})
        await box.service.close()

    runner.run(main())


@pytest.mark.parametrize(
    ("question", "number", "back"),
    [
        (AskRedrive(), 6, ["e0", "e2", "e3", "e4", "e5"]),  # e1 waits behind e0
        (AskRedrive(id="e4"), 1, ["e4"]),
        (AskRedrive(reason="rejected"), 3, ["e3", "e4", "e5"]),
        (AskRedrive(rate=10_000), 6, ["e0", "e2", "e3", "e4", "e5"]),
    ],
)
def test_letters_are_put_back(
    runner: asyncio.Runner, question: AskRedrive, number: int, back: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "PAGE", 2)

    async def main() -> None:
        box = box_with_letters()
        assert await box.ask(question) == Number(number, is_done=question.rate is None)
        async with asyncio.timeout(20):
            while sorted(box.ids) != back:
                await asyncio.sleep(0)
        assert box.got[0].attempt == 1
        assert box.got[0].envelope.attributes == {"tlredrive": "1"}
        assert len(await box.dead()) == 6 - number
        assert sum(box.service.engine.letters.by_reason.values()) == 6 - number
        await box.service.close()

    runner.run(main())


def test_what_cannot_be_put_back(runner: asyncio.Runner) -> None:
    async def main() -> None:
        box = box_with_letters()
        assert await box.ask(AskRedrive(id="other")) == Wrong("no dead letter has the id 'other'")
        assert await box.ask(AskRedrive(reason="crashed")) == Number(0)
        for rate in (0, -1, float("nan")):
            assert "--rate takes events in a second" in (await box.ask(AskRedrive(rate=rate))).text
        assert await box.ask(AskDiscard("other")) == Wrong("no dead letter has the id 'other'")
        assert await box.ask(AskSkip("k")) == Wrong("the key 'k' is not halted")
        assert await box.ask(AskRedrive(rate=1e-6)) == Number(6, is_done=False)
        assert "already" in (await box.ask(AskRedrive())).text
        await box.service.close()

    runner.run(main())


def test_a_letter_that_is_discarded_meanwhile_is_not_put_back(runner: asyncio.Runner) -> None:
    async def main() -> None:
        box = box_with_letters()
        assert await box.ask(AskRedrive(rate=20)) == Number(6, is_done=False)
        async with asyncio.timeout(20):
            while "e0" not in box.ids:
                await asyncio.sleep(0)
        assert await box.ask(AskDiscard("e5")) == Number(1)
        async with asyncio.timeout(20):
            while await box.dead():
                await asyncio.sleep(0.001)
        assert box.service.operator._redriving is not None
        await box.service.operator._redriving
        assert sorted(box.ids) == ["e0", "e2", "e3", "e4"]
        assert sum(box.service.engine.letters.by_reason.values()) == 0
        await box.service.close()

    runner.run(main())


def test_letters_wait_for_room(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "PATIENCE", 0.001)

    async def main() -> None:
        box = Box(max_events=2)
        for n in range(4):
            box.publish(f"e{n}")
            box.fail(f"e{n}")
        asking = asyncio.ensure_future(box.ask(AskRedrive()))
        async with asyncio.timeout(20):
            while not asking.done() or box.got:
                assert box.service.engine.state.number <= 2
                for deliver in tuple(box.got):
                    box.hear(Done(deliver.seq))
                    box.got.remove(deliver)
                await asyncio.sleep(0)
        assert asking.result() == Number(4)
        assert await box.dead() == []
        await box.service.close()

    runner.run(main())


def test_an_operator_does_not_wait_for_room(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "PATIENCE", 0.001)
    monkeypatch.setattr(operator, "PROMPT", 0.01)

    async def main() -> None:
        box = Box(max_events=1)
        box.publish("e1")
        box.fail("e1")
        box.publish("e2")
        assert await box.ask(AskRedrive()) == Number(1, is_done=False)
        assert isinstance(await box.ask(AskRedrive()), Wrong)
        box.hear(Done(box.got[-1].seq))
        async with asyncio.timeout(20):
            while box.got[-1].envelope.id != "e1":
                await asyncio.sleep(0.001)
        assert await box.ask(AskRedrive()) == Number(0)
        await box.service.close()

    runner.run(main())


@pytest.mark.parametrize("way", ["redrive", "skip", "discard"])
def test_a_halted_key(runner: asyncio.Runner, way: str) -> None:
    async def main() -> None:
        box = Box()
        for n in range(3):
            box.publish(f"e{n}", "k", "halts")
        box.fail("e0")
        assert box.ids == []
        assert await box.ask(AskHalted()) == Halted([HaltedKey("k", "e0", 2)])
        ways: dict[str, Question] = {"redrive": AskRedrive(), "skip": AskSkip("k"), "discard": AskDiscard("e0")}
        question = ways[way]
        assert await box.ask(question) == Number(1)
        first = "e0" if way == "redrive" else "e1"
        assert box.ids == [first], "the event that halted its key comes first, one that is skipped not at all"
        assert await box.ask(AskHalted()) == Halted([])
        assert await box.dead() == (["e0"] if way == "skip" else [])
        box.hear(Done(box.got[0].seq))
        assert box.ids[1] == ("e1" if way == "redrive" else "e2")
        await box.service.close()

    runner.run(main())


def test_an_operator_publishes(runner: asyncio.Runner) -> None:
    async def main() -> None:
        box = Box(max_events=1, max_event=1000)
        envelope = Envelope("i", "p i", "route", b"1", 1.0)
        assert await box.ask(AskPublish(envelope)) == Stored("i", duplicate=False)
        assert await box.ask(AskPublish(envelope)) == Stored("i", duplicate=True)
        full = await box.ask(AskPublish(Envelope("j", "p", "route", b"1", 1.0)))
        assert "not stored: 1 events are waiting" in full.text
        large = await box.ask(AskPublish(Envelope("j", "p", "route", bytes(1000), 1.0)))
        assert "at most 1000 are allowed" in large.text
        await box.service.close()

    runner.run(main())


def test_a_key_whose_letter_was_dropped(runner: asyncio.Runner) -> None:
    async def main() -> None:
        box = Box(max_dead=1)
        for n, key in enumerate(("a", "a", "b")):
            box.publish(f"e{n}", key, "halts")
        box.fail("e0")
        box.fail("e2")
        view = await box.ask(AskView())
        assert (view.dead, view.halted) == ({"attempts": 1}, 2)
        assert await box.ask(AskHalted()) == Halted([HaltedKey("a", "", 1), HaltedKey("b", "e2", 0)])
        assert await box.ask(AskRedrive()) == Number(1)
        assert box.ids == ["e2"]
        assert await box.ask(AskSkip("a")) == Number(1)
        assert box.ids == ["e2", "e1"]
        await box.service.close()

    runner.run(main())
