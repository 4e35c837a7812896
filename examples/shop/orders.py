"""Orders: placed, searched, addressed, shipped."""

from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from tiny_listener import Depends, Event
from tiny_listener.http import Group, Header, HTTPError, Query, Response

from .access import DENIED, Clerk, CurrentUser
from .models import Address, NewOrder, Order, Role, Sku, State
from .storage import Transaction, UnknownOrderError

PRICES = {Sku.TEA: 350, Sku.CUP: 1200, Sku.POT: 4900}
orders = Group(prefix="/orders", name="orders")


@orders.on_error(UnknownOrderError)
async def unknown(error: UnknownOrderError) -> Response:
    return Response("there is no such order", 404)


async def own(number: int, user: CurrentUser, session: Transaction) -> Order:
    """The order of the path: of a customer their own, of a clerk any."""
    order = session.order(number)
    if user.role is Role.CUSTOMER and order.customer != user.name:
        raise HTTPError(403, "it is somebody else's")
    return order


OwnOrder = Annotated[Order, Depends(own)]


@orders.post("", responses={**DENIED, 201: Order})
async def place(
    wanted: NewOrder,
    user: CurrentUser,
    session: Transaction,
    event: Event,
    idempotency_key: Annotated[str, Header, Meta(max_length=64)] = "",
) -> Response:
    """Place an order.

    Sent again with the same `Idempotency-Key` it is placed once.
    """
    app, keys = event.listener, session.database.keys
    if number := keys.get((user.name, idempotency_key)):
        return Response(session.order(number), 201)
    total = sum(PRICES[line.sku] * line.count for line in wanted.lines)
    order = Order(len(session.orders()) + 1, user.name, wanted.lines, total, wanted.note)
    session.save(order)
    await session.commit()  # before the customer, or anybody else, is told
    if idempotency_key:
        keys[user.name, idempotency_key] = order.number
    app.trigger_event(app.event("order {number:int} placed", number=order.number), data={"order": order})
    return Response(order, 201, {"location": f"/api/orders/{order.number}"})


@orders.get("", responses=DENIED)
async def search(
    user: CurrentUser,
    session: Transaction,
    state: Annotated[tuple[State, ...], Query, Meta(description="Those in one of these states.")] = (),
    limit: Annotated[int, Query, Meta(ge=1, le=100, description="At most so many.")] = 20,
) -> list[Order]:
    """List orders: a clerk's are all, a customer's their own."""
    seen = [order for order in session.orders() if user.role is Role.CLERK or order.customer == user.name]
    return [order for order in seen if not state or order.state in state][:limit]


@orders.get("/{number:int}", responses=DENIED)
async def read(order: OwnOrder) -> Order:
    """Read an order."""
    return order


@orders.put("/{number:int}/address", responses=DENIED)
async def send_to(address: Address, order: OwnOrder, session: Transaction) -> Order:
    """Say where it goes."""
    lines = f"{address.name}, {address.street}, {address.country}-{address.postcode}"
    session.save(changed := replace(order, address=lines))
    return changed


@orders.post("/{number:int}/shipment", responses={**DENIED, 409: "It is not paid, or shipped already."})
async def ship(clerk: Clerk, order: OwnOrder, session: Transaction) -> Order:
    """Ship an order that is paid."""
    if order.state is not State.PAID:
        raise HTTPError(409, f"it is {order.state.value}")
    session.save(changed := replace(order, state=State.SHIPPED))
    return changed
