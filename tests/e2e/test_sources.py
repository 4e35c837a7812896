"""Examples whose events come from elsewhere, with the real brokers."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import aio_pika
import aiomqtt
import pytest

from tests.brokers import mosquitto, rabbitmq
from tests.server import ROOT, Server, free_port, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

EXAMPLES = ROOT / "examples"


def dispatched(server: Server, event: str, outcome: str = "ok") -> float:
    return server.total("tiny_listener_events_total", event=event, outcome=outcome)


@pytest.mark.needs("mosquitto")
def test_mqtt_sensors(tmp_path: Path) -> None:
    port = free_port()
    env = {"MQTT_PORT": str(port)}
    options = ["--workers", "2"]

    async def measure() -> None:
        async with aiomqtt.Client("127.0.0.1", port) as client:
            await client.subscribe("alarms/#", qos=1)
            for number in range(40):
                await client.publish("sensors/kitchen/temperature", f"{20 + number % 20}.5", qos=1)
            await client.publish("sensors/kitchen/light", "on", qos=1)
            await client.publish("sensors/kitchen/temperature", "warm", qos=1)
            alarms = []
            async with asyncio.timeout(30):
                async for message in client.messages:
                    alarms.append(str(message.payload, "utf-8"))
                    if len(alarms) == 20:
                        break
            assert sorted(alarms) == sorted(f"{degrees}.5 degrees" for degrees in range(30, 40) for _ in range(2))

    with (
        mosquitto(tmp_path, port),
        serving("mqtt_sensors:app", *options, cwd=EXAMPLES, env=env, pass_port=False) as server,
    ):
        asyncio.run(measure())
        wait_for(lambda: dispatched(server, "sensors/{rest:path}") == 1)
        wait_for(lambda: dispatched(server, "sensors/{room}/temperature") == 40)
        wait_for(lambda: dispatched(server, "sensors/{room}/temperature", "error") == 1)
        assert "could not convert string to float: 'warm'" in server.log
        assert server.log.count("kitchen/light: on") == 1
        assert server.stop() == 0


@pytest.mark.needs("mosquitto")
def test_mqtt_sensors_wait_for_their_broker(tmp_path: Path) -> None:
    port = free_port()
    with serving("mqtt_sensors:app", cwd=EXAMPLES, env={"MQTT_PORT": str(port)}, pass_port=False) as server:
        wait_for(lambda: "the next try is in a second" in server.log)

        async def tell() -> None:
            async with aiomqtt.Client("127.0.0.1", port) as client:
                while not dispatched(server, "sensors/{room}/temperature"):
                    await client.publish("sensors/kitchen/temperature", "1.0", qos=1)
                    await asyncio.sleep(0.1)

        for _ in range(2):
            with mosquitto(tmp_path, port):
                asyncio.run(tell())
        assert server.stop() == 0


@pytest.mark.needs("rabbitmqctl")
def test_amqp_orders(tmp_path: Path) -> None:
    port = free_port()
    count = 60

    async def order(url: str, server: Server) -> None:
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            answers = await channel.declare_queue(exclusive=True)

            async def send(kind: str, body: bytes) -> None:
                message = aio_pika.Message(body, type=kind, reply_to=answers.name)
                await channel.default_exchange.publish(message, routing_key="orders")

            for number in range(count):
                items = [{"price": 3, "count": number}, {"price": 1, "count": 2}]
                await send("order.created", json.dumps({"id": number, "items": items}).encode())
                if number == count // 2:  # what is in the queue, and in flight, is for the new workers
                    server.process.send_signal(signal.SIGHUP)
            await send("order.created", b"{")
            await send("order.eaten", b"{}")
            totals: dict[int, int] = {}
            async with asyncio.timeout(60):
                while len(totals) < count:
                    answer = await answers.get(fail=False)
                    if answer is None:
                        await asyncio.sleep(0.02)
                        continue
                    await answer.ack()
                    said = json.loads(answer.body)
                    totals[said["order"]] = said["total"]
            assert totals == {number: 3 * number + 2 for number in range(count)}
            dead = await channel.declare_queue("orders.dead", durable=True)
            kinds = set()
            async with asyncio.timeout(30), dead.iterator() as messages:
                async for message in messages:
                    await message.ack()
                    kinds.add(message.type)
                    if len(kinds) == 2:
                        break
            assert kinds == {"order.created", "order.eaten"}

    with rabbitmq(tmp_path, port) as url:
        options = ["--workers", "2"]
        env = {"AMQP_URL": url}
        with serving("amqp_orders:app", *options, cwd=EXAMPLES, env=env, pass_port=False) as server:
            asyncio.run(order(url, server))
            assert dispatched(server, "order.created") == count
            assert dispatched(server, "order.created", "error") == 1
            assert server.log.count("Traceback") == 1
            assert server.stop() == 0


def test_timer() -> None:
    with serving("timer:app", "--workers", "2", cwd=EXAMPLES, pass_port=False) as server:
        wait_for(lambda: "every 1 s: 3 times" in server.log)
        wait_for(lambda: dispatched(server, "every 5 s", "timeout") >= 1)
        old = set(server.workers())
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(set(server.workers()) - old) == 2 and not old & set(server.workers()), 30)
        begun = server.log.count("every 1 s: 1 times")
        assert begun <= 2  # one clock at a time
        wait_for(lambda: server.log.count("every 1 s: 1 times") == 2)  # the successor's
        assert server.stop() == 0
