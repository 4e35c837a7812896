"""The shop's memory, and the session in which one event changes it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated
from uuid import UUID

from tiny_listener import Depends, Event

from .models import Order


class UnknownOrderError(LookupError):
    """There is no order of this number."""


@dataclass
class Database:
    """Stands for a database: what is in it is committed."""

    orders: dict[int, Order] = field(default_factory=dict)
    keys: dict[tuple[str, str], int] = field(default_factory=dict)  # of orders, by customer and Idempotency-Key
    deliveries: set[UUID] = field(default_factory=set)  # of webhooks that were handled


class Session:
    """Changes of a database that are kept back until they are committed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.changed: dict[int, Order] = {}

    def orders(self) -> list[Order]:
        return list((self.database.orders | self.changed).values())

    def order(self, number: int) -> Order:
        try:
            return self.changed.get(number) or self.database.orders[number]
        except KeyError:
            raise UnknownOrderError(number) from None

    def save(self, order: Order) -> None:
        self.changed[order.number] = order

    async def commit(self) -> None:
        self.database.orders.update(self.changed)
        self.changed.clear()

    async def roll_back(self) -> None:
        self.changed.clear()


async def session(event: Event) -> AsyncIterator[Session]:
    """A session for one event: committed when it was handled, rolled back when it failed."""
    opened = Session(event.listener.state.database)
    try:
        yield opened
    except BaseException:
        await opened.roll_back()
        raise
    await opened.commit()


Transaction = Annotated[Session, Depends(session)]
