"""Counts what it is told over UDP, as statsd does: each datagram is an event.

Run it:  tiny-listener --workers 2 udp_counts:app     and tell it:  echo -n 'visits:2|c' | nc -u -w1 127.0.0.1 8125

    visits:2|c         add two to the visits
    visits             how many were there? (of those that this worker counted)
"""

import asyncio
from collections import Counter
from typing import Any

from tiny_listener import Event, Listener

PORT = 8125


class Counts(Listener[Any], asyncio.DatagramProtocol):
    def __init__(self) -> None:
        super().__init__()
        self.totals: Counter[str] = Counter()

    async def listen(self) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, ("127.0.0.1", PORT))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.trigger_event(data.decode(errors="replace").strip(), data={"from": addr})


app = Counts()


@app.on_event("{name}:{count:int}|c")
async def add(name: str, count: int) -> None:
    app.totals[name] += count


@app.on_event("{name}")
async def tell(event: Event, name: str) -> None:
    app.transport.sendto(b"%d" % app.totals[name], event.data["from"])
