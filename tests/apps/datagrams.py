"""Answers each datagram with what it was and who took it: at UDP_PORT, or at the unix socket UNIX_PATH."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

from tiny_listener import Listener

PORT = int(os.environ.get("UDP_PORT", "0"))


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(b"%s %d" % (data, os.getpid()), addr)


class Datagrams(Listener[Any]):
    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        if "UNIX_PATH" in os.environ:
            path = Path(os.environ["UNIX_PATH"])
            await loop.create_datagram_endpoint(Echo, local_addr=path, family=socket.AF_UNIX)  # type: ignore[arg-type]
            return
        for host in ("127.0.0.1", "::1"):
            await loop.create_datagram_endpoint(Echo, (host, PORT))


app = Datagrams()


@app.startup
async def wait_at_the_gate() -> None:
    while "SHUT" in os.environ and Path(os.environ["SHUT"]).exists():
        await asyncio.sleep(0.01)
