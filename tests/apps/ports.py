"""Listens at the ports that a file names; a file that ends with `fail` lets it fail when it has bound them."""

import asyncio
import os
from pathlib import Path
from typing import Any

from tiny_listener import Listener

PORTS, _, WHAT = Path(os.environ["PORTS_FILE"]).read_text().strip().partition(" ")


class Ports(Listener[Any]):
    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def listen(self) -> None:
        for port in PORTS.split(","):
            await asyncio.start_server(self.answer, "127.0.0.1", int(port))
        if WHAT == "fail":
            raise RuntimeError("failed when all ports were bound")


app = Ports()
