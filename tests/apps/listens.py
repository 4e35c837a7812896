"""Listens in every way that asyncio has."""

import asyncio
import json
import os
import tempfile
from typing import Any

from tiny_listener import Listener

PATH = f"{tempfile.gettempdir()}/tiny-listener-test-{os.getppid()}.sock"


class Plain(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        transport.write(f"slot {app.slot}".encode())
        transport.close()


class App(Listener):
    async def stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"slot {self.slot}".encode())
        writer.close()

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        servers: list[Any] = [
            await asyncio.start_server(self.stream, port=0),
            await asyncio.start_server(self.stream, "localhost", 0),
            await loop.create_server(Plain, "127.0.0.1", 0),
            await loop.create_server(Plain, ["127.0.0.1", "::1"], 0),
            await asyncio.start_unix_server(self.stream, PATH),
        ]
        closed = await loop.create_server(Plain, "127.0.0.1", 0)
        places = [s.getsockname()[:2] if s.family != 1 else s.getsockname() for v in servers for s in v.sockets]
        port = servers[2].sockets[0].getsockname()[1]
        try:
            await loop.create_server(Plain, "127.0.0.1", port)
        except OSError as exc:
            print("already taken:", "in use" in str(exc), flush=True)
        closed.close()
        await closed.wait_closed()
        if self.slot == 0:
            print(json.dumps(places), flush=True)


app = App()
