"""What dies, and what comes of its events."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tests.nats.box import Box, Server, boxes, until
from tiny_listener.events.messages import Cancel, Confirm, Deliver, Done
from tiny_listener.events.questions import AskView, View
from tiny_listener.nats.connection import ApiError
from tiny_listener.nats.names import host_token
from tiny_listener.nats.owning import members, partitions


def test_the_next_of_a_key_waits_until_the_server_has_confirmed(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            box.publish("a")
            box.publish("b")
            (first,) = await box.worker.all(Deliver)
            await box.worker.all(Confirm, 2)
            await asyncio.sleep(0.05)
            assert box.worker.ids == ["a"]
            server.kill()  # the acknowledgement is lost
            await until(lambda: not box.store.connection.is_connected)
            box.worker.send(Done(first.seq))
            await asyncio.sleep(0.2)
            assert box.worker.ids == ["a"]
            server.start()
            assert await box.handled(2) == ["a", "b"]

    runner.run(main())


def test_a_server_that_is_killed_loses_nothing_and_publishers_wait(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            for n in range(50):
                box.publish(f"e{n}", key=f"k{n % 5}", wait=30)
            await box.worker.all(Confirm, 50)
            server.kill()
            for n in range(50, 60):
                box.publish(f"e{n}", key=f"k{n % 5}", wait=30)
            await until(lambda: not box.store.connection.is_connected)
            view = await box.service.answer(AskView())
            assert isinstance(view, View)
            assert (view.failure, view.partitions) == ("there is no connection to NATS", 8)
            await asyncio.sleep(0.3)
            server.start()
            ids = await box.handled(60)
            for key in range(5):
                assert [one for one in ids if int(one[1:]) % 5 == key] == [f"e{n}" for n in range(key, 60, 5)]

    runner.run(main())


def test_two_servers_share_the_keys_and_one_takes_over_what_the_other_leaves(
    runner: asyncio.Runner, server: Server
) -> None:
    async def main() -> None:
        one, other = Box(server, "one"), Box(server, "other")
        async with boxes(one):
            await one.owns(8)
            await other.start()
            await until(lambda: len(other.store.partitions.owned) + len(one.store.partitions.owned) == 8)
            await until(lambda: other.store.partitions.owned)
            for n in range(40):
                one.publish(f"e{n}", key=f"k{n % 8}")
            await until(lambda: len(one.delivered) + len(other.delivered) == 8)
            assert one.delivered
            assert other.delivered
            handling = asyncio.ensure_future(one.handled(40 - 5 * len(other.delivered)))
            await asyncio.wait_for(handling, 20)
            await other.stop()  # it has the first event of its keys in flight, and gives it back
            await one.owns(8)
            ids = await one.handled(40)
            for key in range(8):
                seen = [each for each in ids if int(each[1:]) % 8 == key]
                assert seen == [f"e{n}" for n in range(key, 40, 8)]

    runner.run(main())


def test_a_dead_server_loses_its_keys_after_the_lease(
    runner: asyncio.Runner, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "LEASE", 1.0)
    monkeypatch.setattr(partitions, "QUIET", 0.2)

    async def main() -> None:
        one, other = Box(server, "one"), Box(server, "other")
        await one.start()
        await one.owns(8)
        for n in range(16):
            one.publish(f"e{n}", key=f"k{n % 4}")
        await until(lambda: len(one.delivered) == 4)
        await one.worker.all(Confirm, 16)
        await other.start()
        await one.die()
        await other.owns(8)
        ids = await other.handled(16)
        for key in range(4):
            assert [each for each in ids if int(each[1:]) % 4 == key] == [f"e{n}" for n in range(key, 16, 4)]
        one.worker.link.close()
        await other.stop()

    runner.run(main())


def test_a_carrier_that_is_started_again_takes_its_keys_at_once(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        one, again = Box(server, "one"), Box(server, "one")
        await one.start()
        await one.owns(8)
        one.publish("a")
        one.publish("b")
        await until(lambda: one.worker.ids == ["a"])
        await one.worker.all(Confirm, 2)
        (first,) = one.delivered
        await one.die()
        await again.start()
        # Its worker still has the first event in flight: the new carrier may not start it, or the next of the key.
        one.worker.link.close()
        await again.owns(8)
        await until(lambda: again.worker.ids == ["a"])
        assert again.delivered[0].seq == first.seq
        assert await again.handled(2) == ["a", "b"]
        await again.stop()

    runner.run(main())


def test_a_consumer_that_is_deleted_is_made_again_and_nothing_runs_twice(
    runner: asyncio.Runner, server: Server
) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            await box.owns(8)
            box.publish("a")
            box.publish("b")
            (first,) = await box.worker.all(Deliver)
            await box.worker.all(Confirm, 2)
            partition = box.store._held[first.seq].partition
            await box.store.connection.api(f"CONSUMER.DELETE.TL_shop.{box.store.partitions.consumers[partition]}")
            box.worker.send(Done(first.seq))
            await until(lambda: box.worker.ids == ["a", "b"])
            assert await box.handled(2) == ["a", "b"]
            await until(lambda: not box.store._held)

    runner.run(main())


def test_what_another_server_has_taken_is_stopped(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            await box.owns(8)
            box.publish("a")
            (first,) = await box.worker.all(Deliver)
            await box.worker.all(Confirm)
            partition = box.store._held[first.seq].partition
            api, names = box.store.connection.api, box.store.names
            thief = names.consumer(partition, "e", host_token("thief"))
            config = {"durable_name": thief, "filter_subject": names.filter(partition), "ack_policy": "explicit"}
            while True:
                with contextlib.suppress(ApiError):  # its owner was faster, and has made it again
                    await api(f"CONSUMER.DELETE.TL_shop.{box.store.partitions.consumers[partition]}")
                    await api(f"CONSUMER.DURABLE.CREATE.TL_shop.{thief}", {"stream_name": "TL_shop", "config": config})
                    break
            (cancel,) = await box.worker.all(Cancel)
            assert cancel.seq == first.seq
            box.worker.send(Done(first.seq))  # on its way already: nobody hears it
            await api(f"CONSUMER.DELETE.TL_shop.{thief}")
            await until(lambda: box.worker.ids == ["a", "a"])
            assert [one.attempt for one in box.delivered] == [1, 1], "no attempt is counted"
            box.worker.send(Done(box.delivered[-1].seq))
            await until(lambda: not box.store._held)

    runner.run(main())


def test_what_a_killed_server_has_forgotten_is_not_handled_twice(runner: asyncio.Runner, server: Server) -> None:
    async def main() -> None:
        box = Box(server)
        async with boxes(box):
            await box.owns(8)
            for n in range(200):
                box.publish(f"e{n}", key=f"k{n % 100}", wait=30)
            done: set[int] = set()

            def settle() -> int:
                for one in box.delivered:
                    if one.seq not in done:
                        done.add(one.seq)
                        box.worker.send(Done(one.seq))
                return len(done)

            await until(lambda: settle() >= 50)
            server.kill()  # with acknowledgements on their way
            await until(lambda: not box.store.connection.is_connected)
            server.start()
            await until(lambda: settle() == 200 and not box.store._held)
            assert len(box.delivered) == 200

    runner.run(main())
