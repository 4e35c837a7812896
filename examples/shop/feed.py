"""What happens in the shop, as it happens."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from tiny_listener import Data, Depends, Event, EventGroup
from tiny_listener.http import Group

from .access import DENIED, needs
from .models import Order, Role

news = EventGroup(name="news")  # a group of its own: the feed's dependency asks a request for a token
feed = Group(name="feed", dependencies=[Depends(needs(Role.CLERK))])


@news.subscribe("order {number:int} placed")
async def tell(number: int, order: Annotated[Order, Data], event: Event) -> None:
    for queue in event.listener.state.readers:
        queue.put_nowait(f"order {number}: {order.total} cents\n")


@news.subscribe("order {number:int} placed")
async def bill(number: int) -> None:
    print(f"bill {number}", flush=True)


@feed.get("/feed", responses=DENIED)
async def follow(event: Event) -> AsyncIterator[str]:
    """A line for each order, until the worker drains."""
    app = event.listener
    queue: asyncio.Queue[str] = asyncio.Queue()
    app.state.readers.add(queue)
    draining = asyncio.ensure_future(app.draining)
    try:
        yield "hello\n"
        while not draining.done():
            line = asyncio.ensure_future(queue.get())
            await asyncio.wait([line, draining], return_when=asyncio.FIRST_COMPLETED)
            if line.done():
                yield line.result()
            else:
                line.cancel()
    finally:
        draining.cancel()
        app.state.readers.discard(queue)
