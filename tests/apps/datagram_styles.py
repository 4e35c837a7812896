"""An endpoint for each way to write a protocol; each answers a datagram with what it was, and how often it was opened.

The ports are in UDP_PORTS, in the order of the factories.
"""

import asyncio
import os
from typing import Any

from tiny_listener import Event, Listener, Param

PORTS = [int(port) for port in os.environ["UDP_PORTS"].split()]


class Keeps(asyncio.DatagramProtocol):
    """Keeps the transport of its last connection, as most do."""

    made = lost = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.made += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost += 1
        del self.transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(b"%s %d %d" % (data, self.made, self.lost), addr)


class KeepsAll(Keeps):
    """Counts over all objects of the class."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        KeepsAll.made += 1

    def connection_lost(self, exc: Exception | None) -> None:
        KeepsAll.lost += 1


class Later(Keeps):
    """Answers from a task, possibly after the socket was handed back."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        task = asyncio.ensure_future(self.answer(data, addr))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def answer(self, data: bytes, addr: Any) -> None:
        await asyncio.sleep(0.3)
        super().datagram_received(data, addr)


class Styles(Listener[Any], Keeps):
    async def listen(self) -> None:
        shared = Keeps()
        factories: list[Any] = [lambda: self, KeepsAll, lambda: shared, Later]
        for port, factory in zip(PORTS, factories, strict=True):
            await asyncio.get_running_loop().create_datagram_endpoint(factory, ("127.0.0.1", port))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.trigger_event(data.decode(), data={"from": addr})


app = Styles()


@app.on_event("{number:int}")
async def tell(event: Event, number: Param) -> None:
    app.transport.sendto(b"%s %d %d" % (str(number).encode(), app.made, app.lost), event.data["from"])
