"""Listens on the ports that a file next to the test names, and fails after that if the file says so."""

import asyncio
import os
from pathlib import Path

from tiny_listener import Listener

WORDS = Path(os.environ["PORTS_FILE"]).read_text().split()


class App(Listener):
    async def greet(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    async def listen(self) -> None:
        for word in WORDS:
            if word == "fail":
                raise RuntimeError("this version fails after it opened its servers")
            await asyncio.start_server(self.greet, "127.0.0.1", int(word))


app = App()
