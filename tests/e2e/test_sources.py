"""Examples whose events come from elsewhere, with the real brokers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import aiomqtt
import pytest

from tests.server import ROOT, Server, free_port, free_ports, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

EXAMPLES = ROOT / "examples"
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
"""Debian's command of that name in the path changes to a user of its own."""


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def running(command: list[str], port: int, log: Path, **env: str) -> Iterator[None]:
    """Run a broker while the block runs, from when it listens."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **env}, start_new_session=True)
    try:
        wait_for(lambda: listens(port) or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@contextlib.contextmanager
def mosquitto(tmp_path: Path, port: int) -> Iterator[None]:
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    path = f"{os.environ['PATH']}:/usr/sbin"
    with running([shutil.which("mosquitto", path=path) or "", "-c", str(conf)], port, tmp_path / "broker.log"):
        yield


@contextlib.contextmanager
def rabbitmq(tmp_path: Path, port: int) -> Iterator[str]:
    distribution, epmd = free_ports(2)
    folder = tmp_path / "rabbitmq"
    folder.mkdir()
    env = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "ERL_EPMD_PORT": str(epmd),
    }
    (folder / "plugins").write_text("[].\n")
    try:
        with running([RABBITMQ], port, tmp_path / "broker.log", **env):
            yield f"amqp://guest:guest@127.0.0.1:{port}/"
    finally:  # it leaves its port mapper behind, as a daemon
        subprocess.run(["epmd", "-port", str(epmd), "-kill"], stdout=subprocess.DEVNULL, check=True)


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
                if number == count // 2:  # what is in the queue, and in hand, is for the new workers
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
