"""CloudEvents: orders come in as a webhook, those of a customer are handled in order, and another system hears of them.

NEXT_URL=http://127.0.0.1:8000/events tiny-listener --workers 4 webhooks:app
curl -d '{"total": 350}' -H 'Content-Type: application/json' -H 'ce-specversion: 1.0' -H 'ce-id: 7' \\
    -H 'ce-source: /shop' -H 'ce-type: com.example.order.placed' -H 'ce-partitionkey: ann' localhost:8000/events
"""

import os

import msgspec

from tiny_listener import Event, Reject, Retry, RetryLater
from tiny_listener.cloudevents import CloudEvent
from tiny_listener.http import HTTPListener
from tiny_listener.http.cloudevents import CloudEventNotDelivered, Handshake

NEXT_URL = os.environ.get("NEXT_URL")

app = HTTPListener()
app.listen_cloudevents("/events", path="received {type}", handshake=Handshake(rate=600))


class Order(msgspec.Struct):
    total: int


@app.on_event("received com.example.order.placed", retry=Retry(max_attempts=5), timeout=60)
async def placed(order: Order, event: CloudEvent) -> None:
    """Handle an order, and tell the next system: each attempt the same event, by its source and id."""
    print(f"order {event.id} of {event.partitionkey}: {order.total}", flush=True)
    if NEXT_URL is None:
        return
    paid = event.replace(type="com.example.order.paid", source="/payments", id=f"payment of {event.id}")
    try:
        await app.send_cloudevent(NEXT_URL, paid, plain_http=True)
    except CloudEventNotDelivered as error:
        if error.is_final:
            raise Reject(str(error)) from None
        raise RetryLater(error.retry_after or 1) from None


@app.on_event("received com.example.order.paid")
async def paid(event: Event) -> None:
    """Here the next system is this one."""
    print(f"{event.attributes['id']} is received, {event.payload['total']}", flush=True)


@app.get("/example")
async def example() -> CloudEvent:
    """Answer with an event: in binary mode, or structured for those who ask by Accept."""
    return CloudEvent("com.example.order.placed", "/shop", {"total": 350}, id="7")
