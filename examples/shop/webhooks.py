"""What banks tell us, signed over the raw bytes."""

import hashlib
import hmac
import logging
from typing import Annotated
from uuid import UUID

from msgspec.structs import replace

from tiny_listener import Depends, Event
from tiny_listener.http import Group, Header, HTTPError, Request

from .models import Bank, Payment, State
from .storage import Transaction, UnknownOrderError


async def signed(request: Request, event: Event, x_signature: Annotated[str, Header] = "") -> None:
    """Refuse a body that was not signed with our secret, before anything decodes it."""
    secret = event.listener.state.settings.webhook_secret.encode()
    right = hmac.new(secret, await request.body(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right.encode(), x_signature.encode()):
        raise HTTPError(401, "the signature is wrong")


webhooks = Group(prefix="/webhooks", name="webhooks", dependencies=[Depends(signed)])


@webhooks.after_event
async def note(event: Event) -> None:
    logging.getLogger("shop").info("%s told us: %s", event.params["bank"], event.params["delivery"])


@webhooks.post(
    "/{bank}/{delivery:uuid}",
    max_body=10_000,
    responses={401: "The signature is wrong.", 409: "No order waits for this payment."},
)
async def paid(bank: Bank, delivery: UUID, payment: Payment, session: Transaction) -> None:
    """Take a payment in; one that is delivered again counts once."""
    if delivery in session.database.deliveries:
        return
    try:
        order = session.order(payment.order)
    except UnknownOrderError:
        raise HTTPError(409, "there is no such order") from None
    if (order.state, order.total) != (State.PLACED, payment.amount):
        raise HTTPError(409, "this order does not wait for this payment")
    session.save(replace(order, state=State.PAID))
    await session.commit()  # before the bank is told that we have it
    session.database.deliveries.add(delivery)
