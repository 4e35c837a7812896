"""Orders by customer: each is stored, and those of one customer are handled one after the other.

tiny-listener --workers 4 orders:app
curl -d '{"customer": "ann", "total": 350}' -H 'Content-Type: application/json' localhost:8000/order/1
tiny-listenerctl events
"""

import msgspec

from tiny_listener import Event, Reject, Retry, RetryLater
from tiny_listener.http import HTTPListener, Response

app = HTTPListener()
totals: dict[str, int] = {}
closed: set[str] = set()


class Order(msgspec.Struct):
    customer: str
    total: int


@app.post("/order/{number:int}")
async def take(number: int, order: Order) -> Response:
    """Store the order and answer. The id makes a repeated request harmless."""
    await app.publish(f"order {number} placed", order, key=order.customer, id=f"order-{number}")
    return Response(status=202)


@app.on_event("order {number:int} placed", retry=Retry(max_attempts=5, first=1), timeout=30)
async def placed(number: int, order: Order, event: Event) -> None:
    """Handle an order. No other order of this customer is handled at the same time, by any worker."""
    if order.total < 0:
        raise Reject(f"order {number} has a negative total")
    if order.customer in closed:
        raise RetryLater(60)
    totals[order.customer] = totals.get(order.customer, 0) + order.total
    print(f"order {number} of {order.customer}: attempt {event.attempt}, {totals[order.customer]} in all", flush=True)


@app.on_event("total of {customer}")
async def total(customer: str) -> int:
    """Answer a request: `await app.request("total of ann", key="ann")`."""
    return totals.get(customer, 0)


@app.get("/total/{customer}")
async def show(customer: str) -> dict[str, int]:
    """Ask the worker that handles this customer's orders. The answer comes after those that were stored before."""
    return {"total": await app.request(f"total of {customer}", key=customer, timeout=5)}


@app.on_error(Reject)
async def gave_up(event: Event, error: Reject) -> None:
    """Called at the last failure of an event, not at those that are followed by another attempt."""
    print(f"{event.key}: {error}", flush=True)
