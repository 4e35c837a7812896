"""Takes orders out of RabbitMQ: each message is an event, and is acknowledged when its handler has returned.

Run it:  tiny-listener --workers 2 amqp_orders:app

    order.created    is answered in the queue that the message names (reply_to)
    anything else    is put into the queue `orders.dead`, as is what a handler failed with

AMQP_URL says where the broker is; amqp://guest:guest@127.0.0.1/ otherwise. It needs `pip install aio-pika`.
"""

import json
import logging
import os

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tiny_listener import Data, EventNotFound, Listener

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@127.0.0.1/")
logger = logging.getLogger("orders")


class Orders(Listener):
    async def listen(self) -> None:
        """Consume until the drain begins; what is in flight is finished, and the rest is another worker's."""
        connection = await aio_pika.connect_robust(URL)
        async with connection:
            self.channel = await connection.channel()
            await self.channel.set_qos(prefetch_count=10)
            await self.channel.declare_queue("orders.dead", durable=True)
            queue = await self.channel.declare_queue(
                "orders",
                durable=True,
                arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "orders.dead"},
            )
            consuming = await queue.consume(self.take)
            self.ready()
            await self.draining
            await queue.cancel(consuming)
            await self.wait_for_shutdown()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """Let an event handle a message. One that fails is rejected, and the broker puts it among the dead."""
        async with message.process(requeue=False, ignore_processed=True):
            try:
                await self.trigger_event(str(message.type), data={"message": message})
            except EventNotFound:
                await message.reject()
            except Exception:
                logger.exception("A message of the type %r is put among the dead", message.type)
                await message.reject()


app = Orders()


@app.on_event("order.created")
async def created(message: Data) -> None:
    order = json.loads(message.body)
    total = sum(item["price"] * item["count"] for item in order["items"])
    answer = aio_pika.Message(json.dumps({"order": order["id"], "total": total}).encode())
    await app.channel.default_exchange.publish(answer, routing_key=message.reply_to)
