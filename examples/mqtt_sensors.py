"""Follows sensors over MQTT: each message is an event, whose text is its topic.

Run it:   tiny-listener --workers 2 mqtt_sensors:app
Tell it:  mosquitto_pub -t sensors/kitchen/temperature -m 31.5

MQTT_HOST and MQTT_PORT say where the broker is; 127.0.0.1 and 1883 otherwise. It needs `pip install aiomqtt`.
"""

import asyncio
import logging
import os

import aiomqtt

from tiny_listener import Listener

HOST = os.environ.get("MQTT_HOST", "127.0.0.1")
PORT = int(os.environ.get("MQTT_PORT", "1883"))
TOPICS = "$share/sensors/sensors/#"
"""A shared subscription: the broker gives each message to one of the workers."""

logger = logging.getLogger("sensors")


class Sensors(Listener):
    def __init__(self) -> None:
        super().__init__()
        self.client: aiomqtt.Client | None = None

    async def listen(self) -> None:
        """Subscribe; and again, whenever the broker was away."""
        while not self.is_draining:
            try:
                async with aiomqtt.Client(HOST, PORT) as self.client:
                    await self.client.subscribe(TOPICS, qos=1)
                    self.ready()
                    await self.read_until_the_drain(self.client)
            except aiomqtt.MqttError as exc:
                logger.warning("%s; the next try is in a second", exc)
                await asyncio.sleep(1)

    async def read_until_the_drain(self, client: aiomqtt.Client) -> None:
        """Read messages, and leave the rest to other workers when the drain begins; raises MqttError."""
        reading = asyncio.create_task(self.read(client))
        try:
            await asyncio.wait([reading, asyncio.ensure_future(self.draining)], return_when="FIRST_COMPLETED")
            if reading.done():
                reading.result()
            leaving = asyncio.create_task(client.unsubscribe(TOPICS))
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError:  # the worker has nothing else to do; the broker has not answered yet
                await leaving
                raise
        finally:  # it ends before the connection, of which it would not know why it was closed
            reading.cancel()
            await asyncio.wait([reading])

    async def read(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            self.trigger_event(str(message.topic), data={"value": bytes(message.payload).decode(errors="replace")})


app = Sensors()


@app.on_event("sensors/{room}/temperature")
async def temperature(room: str, value: str) -> None:
    if float(value) > 30 and app.client is not None:
        await app.client.publish(f"alarms/{room}", f"{value} degrees", qos=1)


@app.on_event("sensors/{rest:path}")
async def other(rest: str, value: str) -> None:
    print(f"{rest}: {value}", flush=True)
