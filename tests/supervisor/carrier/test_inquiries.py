"""What operators ask the carrier, by way of its keeper."""

from __future__ import annotations

import asyncio

from tiny_listener_supervisor.carrier.messages import (
    AnswerPart,
    Begin,
    Parts,
    QuestionPart,
    in_parts,
)

from tests.supervisor.carrier.bench import Bench
from tiny_listener.events import questions


def test_questions_longer_than_a_message_are_answered(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.keeper.start()
        carrier = await bench.ready()
        carrier.next(Begin)
        asked = asyncio.ensure_future(bench.keeper.ask(questions.AskSkip("x" * 300_000)))
        await asyncio.sleep(0)
        parts, question = Parts(questions.Question), None
        number = 0
        while question is None:
            while (received := carrier.channel.receive()) is None:
                await asyncio.sleep(0)
            part = received[0]
            assert isinstance(part, QuestionPart)
            number, question = part.id, parts.add(part)
        assert question == questions.AskSkip("x" * 300_000)
        answer = questions.Wrong("y" * 300_000)
        for message in in_parts(AnswerPart, number, answer):
            carrier.channel.send(message)
            await asyncio.sleep(0)
        assert await asked == answer
        bench.close()

    runner.run(main())


def test_without_a_carrier_the_last_view_answers(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        keeper = bench.keeper
        keeper.start()
        assert "starting" in str(await keeper.ask(questions.AskView()))
        carrier = await bench.ready()
        carrier.next(Begin)
        refreshing = [asyncio.ensure_future(keeper.refresh()) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        number = carrier.next(QuestionPart).id
        assert carrier.has_nothing(), "one question serves all who want a view"
        for message in in_parts(AnswerPart, number, questions.View(waiting=3)):
            carrier.channel.send(message)
        await asyncio.gather(*refreshing)
        assert keeper.view == questions.View(waiting=3)
        waits = asyncio.ensure_future(keeper.ask(questions.AskHalted()))
        await asyncio.sleep(0)
        bench.die()
        assert "ended before it answered" in str(await waits)
        assert await keeper.ask(questions.AskView()) == questions.View(waiting=3)
        assert "; it ended last: killed by SIGKILL" in str(await keeper.ask(questions.AskHalted()))
        bench.close()

    runner.run(main())


def test_an_answer_that_takes_too_long_is_not_waited_for(runner: asyncio.Runner) -> None:
    async def main() -> None:
        bench = Bench()
        bench.keeper.start()
        carrier = await bench.ready()
        carrier.next(Begin)
        assert "did not answer within 0.01 s" in str(await bench.keeper.ask(questions.AskHalted(), 0.01))
        for message in in_parts(AnswerPart, carrier.next(QuestionPart).id, questions.Number(1)):
            carrier.channel.send(message)
        waits = asyncio.ensure_future(bench.keeper.ask(questions.AskHalted()))
        await asyncio.sleep(0)
        for message in in_parts(AnswerPart, carrier.next(QuestionPart).id, questions.Number(2)):
            carrier.channel.send(message)
        assert await waits == questions.Number(2)
        bench.close()

    runner.run(main())
