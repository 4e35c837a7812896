"""What the crowd asks: HTTP, and datagrams that are answered at the port that CROWD_UDP_PORT names.

tiny-listener --app-dir loadtest/servers crowd:app
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from tiny_listener.http import HTTPListener


class Answers(asyncio.DatagramProtocol):
    """Sends each datagram back, by the transport that it was given when it was opened."""

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """See `asyncio.DatagramProtocol`."""
        self._transport.sendto(data, addr)


class Crowd(HTTPListener):
    """Serves HTTP, and datagrams."""

    async def listen(self) -> None:
        """Open the sockets."""
        await super().listen()
        protocol = Answers()
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: protocol, local_addr=("127.0.0.1", int(os.environ["CROWD_UDP_PORT"]))
        )


app = Crowd()


@app.get("/")
async def home() -> str:
    """Greet nobody in particular."""
    return "Welcome!"
