"""Events on a real NATS server, as carriers see them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.nats.box import Box, Server, boxes, running, until
from tiny_listener import CarrierError
from tiny_listener.events.messages import Confirm, Deliver, Done, Failed, Refuse, Result
from tiny_listener.events.questions import (
    AskDead,
    AskDiscard,
    AskHalted,
    AskRedrive,
    AskSkip,
    DeadLetters,
    Halted,
    Number,
)
from tiny_listener.events.settings import EventSettings, NatsSettings
from tiny_listener.nats.store import NatsStore


def test_events_are_stored_handled_and_gone(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            for n in range(30):
                box.publish(f"e{n}", key=f"k{n % 3}", attributes={"a": "b"})
            box.publish("none", key=None, data=b'{"x":[1,2]}')
            ids = await box.handled(31)
            for key in range(3):
                assert [one for one in ids if one != "none" and int(one[1:]) % 3 == key] == [
                    f"e{n}" for n in range(key, 30, 3)
                ]
            (last,) = [one.envelope for one in box.delivered if one.envelope.id == "none"]
            assert (last.key, last.data) == (None, b'{"x":[1,2]}')
            box.publish("e1")
            await until(lambda: any(one.duplicate for one in box.worker.got if type(one) is Confirm))
            await until(lambda: not box.store._held)
            info = await box.store.connection.api("STREAM.INFO.TL_shop")
            assert info["state"]["messages"] == 0
            assert len(box.delivered) == 31

    runner.run(main())


def test_a_retry_waits_in_its_key(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            box.publish("a")
            box.publish("b")
            (first,) = await box.worker.all(Deliver)
            box.worker.send(Failed(first.seq, "error", "ValueError", "no", 0.2))
            await until(lambda: box.worker.ids == ["a", "a"])
            assert box.delivered[1].attempt == 2
            assert await box.handled(2) == ["a", "a", "b"]

    runner.run(main())


def test_an_event_for_later(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        import time

        box = Box(server)
        async with boxes(box):
            box.publish("late", due=time.time() + 1.5)
            box.publish("now")
            await until(lambda: box.worker.ids == ["now"])
            await box.worker.all(Confirm, 2)
            started = time.monotonic()
            await until(lambda: len(box.worker.ids) == 1 or box.worker.ids == ["now", "late"])
            assert await box.handled(2) == ["now", "late"]
            assert 0.5 < time.monotonic() - started < 5
            assert box.delivered[1].envelope.key == "k"

    runner.run(main())


def test_a_request_is_answered_by_another_server(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        import time

        one, other = Box(server, "one"), Box(server, "other")
        async with boxes(one, other):
            await until(lambda: len(other.store.partitions.owned) + len(one.store.partitions.owned) == 8)
            for n in range(16):
                one.publish(f"e{n}", key=f"k{n}", wants=True, expires=time.time() + 30)
            await until(lambda: len(one.delivered) + len(other.delivered) == 16)
            assert other.delivered
            for box in (one, other):
                for deliver in box.delivered:
                    assert deliver.wants_result
                    box.worker.send(Done(deliver.seq, deliver.envelope.id.encode()))
            results = await one.worker.all(Result, 16)
            assert {result.n: result.data for result in results} == {n + 1: b"e%d" % n for n in range(16)}

    runner.run(main())


def test_dead_letters(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        one, other = Box(server, "one"), Box(server, "other")
        async with boxes(one, other):
            for n in range(3):
                one.publish(f"e{n}", key=f"k{n}", attributes={"traceparent": "00"})
            await until(lambda: len(one.delivered) + len(other.delivered) == 3)
            for box in (one, other):
                for deliver in box.delivered:
                    box.worker.send(Failed(deliver.seq, "error", "ValueError", "no", None, "rejected"))
            await until(lambda: not one.store._held and not other.store._held)
            found = await other.service.answer(AskDead())
            assert isinstance(found, DeadLetters)
            rows = {row.id: row for row in found.rows}
            assert sorted(rows) == ["e0", "e1", "e2"]
            assert (rows["e1"].key, rows["e1"].reason, rows["e1"].error, rows["e1"].text) == (
                "k1",
                "rejected",
                "ValueError",
                "no",
            )
            assert rows["e1"].attributes == {"traceparent": "00"}
            assert not (await other.service.answer(AskDead(reason="crashed"))).rows  # type: ignore[union-attr]
            assert await other.service.answer(AskDiscard("e0")) == Number(1)
            before = len(one.delivered) + len(other.delivered)
            await one.service.answer(AskRedrive(id="e1"))
            await until(lambda: len(one.delivered) + len(other.delivered) == before + 1)
            (again,) = [each for box in (one, other) for each in box.delivered if each.envelope.id == "e1"][1:]
            assert (again.attempt, again.envelope.attributes["tlredrive"]) == (1, "1")
            left = await one.service.answer(AskDead())
            assert [row.id for row in left.rows] == ["e2"]  # type: ignore[union-attr]

    runner.run(main())


def test_a_foreign_message_is_put_aside(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            await box.owns(8)
            await box.store.connection.publish("tl.shop.k3.x", b"hello")
            box.publish("a")
            await box.handled(1)

            async def dead() -> int:
                info = await box.store.connection.api("STREAM.INFO.TLD_shop")
                return int(info["state"]["messages"])

            while await dead() != 1:
                await asyncio.sleep(0.02)
            assert (await box.service.answer(AskDead())).rows == []  # type: ignore[union-attr]

    runner.run(main())


def test_publishers_of_a_full_stream_wait_and_are_refused_then(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server, max_events=3)
        async with boxes(box):
            for n in range(3):
                box.publish(f"e{n}", key=f"k{n}")
            await box.worker.all(Confirm, 3)
            box.publish("refused", wait=0.3)
            (refused,) = await box.worker.all(Refuse)
            assert refused.kind == "overloaded"
            assert "maximum messages exceeded" in refused.text
            box.publish("waits", wait=20)
            await box.handled(4)
            assert "waits" in box.worker.ids

    runner.run(main())


def test_a_second_server_of_the_same_name_does_not_start(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        one, other = Box(server, "one"), Box(server, "one")
        async with boxes(one):
            with pytest.raises(CarrierError, match="Another server on NATS has the name 'one' too"):
                await other.start()

    runner.run(main())


def test_nobody_answers(runner: asyncio.Runner, server: Server) -> None:
    server.kill()

    async def main() -> None:
        with pytest.raises(CarrierError, match=rf"No NATS server answers at nats://127.0.0.1:{server.port}"):
            await Box(server).start()

    runner.run(main())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("-no-js",), "JetStream does not answer|JetStream is off"),
        (("--user", "u", "--pass", "secret"), "refuses this server: .*Authorization Violation"),
    ],
    ids=["JetStream is off", "credentials are missing"],
)
def test_a_server_that_cannot_be_used(
    runner: asyncio.Runner, tmp_path: Path, options: tuple[str, ...], why: str
) -> None:
    async def main() -> None:
        with running(tmp_path, *options) as server, pytest.raises(CarrierError, match=why):
            await Box(server).start()

    runner.run(main())


def test_a_stream_of_another_shape_is_refused(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        async with boxes(Box(server)):
            pass
        with pytest.raises(CarrierError, match="created with 8 partitions, not 16: use --events-partitions 8"):
            await Box(server, partitions=16).start()

    runner.run(main())


def test_a_halted_key(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        from tiny_listener.events.messages import Hello
        from tiny_listener.events.policy import RouteTerms

        one, other = Box(server, "one"), Box(server, "other")
        async with boxes(one, other):
            for box in (one, other):
                box.worker.send(Hello(0, 1, 100, {"p": RouteTerms(halt=True)}))
            one.publish("a")
            one.publish("b")
            await until(lambda: one.delivered or other.delivered)
            owner, stranger = (one, other) if one.delivered else (other, one)
            owner.worker.send(Failed(owner.delivered[0].seq, "error", "ValueError", "no", None))
            await until(lambda: stranger.service.engine.letters.halted.get("k"))
            found = await stranger.service.answer(AskHalted())
            assert isinstance(found, Halted)
            assert [key.key for key in found.keys] == ["k"]
            assert owner.worker.ids == ["a"]
            assert await stranger.service.answer(AskSkip("k")) == Number(1)
            await until(lambda: owner.worker.ids == ["a", "b"])
            assert not owner.service.engine.letters.halted

    runner.run(main())


def test_no_credentials_are_sent_without_tls_where_it_was_asked_for(runner: asyncio.Runner, tmp_path: Path) -> None:
    """A server without TLS, or somebody in its place, would read them."""
    heard = bytearray()

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"X","version":"2.12.0","max_payload":1048576,"jetstream":true}\r\n')
        while data := await reader.read(1000):
            heard.extend(data)
        writer.close()

    async def main() -> None:
        (tmp_path / "password").write_text("secret")
        async with await asyncio.start_server(plain, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            nats = NatsSettings(
                (f"tls://127.0.0.1:{port}",), "shop", "one", user="u", password_file=str(tmp_path / "password")
            )
            with pytest.raises(CarrierError, match=r"secure connection required|No NATS server answers"):
                await NatsStore(EventSettings(nats=nats)).open()
        assert b"secret" not in heard
        assert b"CONNECT" not in heard

    runner.run(main())
