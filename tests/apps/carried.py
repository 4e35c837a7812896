"""Asks for the carrier of events, and says what it hears from it."""

import asyncio
import os
import socket
from typing import Any

from tiny_listener.http import HTTPListener


class App(HTTPListener):
    heard: list[str]
    links: list[socket.socket]

    async def listen(self) -> None:
        self.heard, self.links = [], []
        if "NOT_CARRIED" not in os.environ:
            carrier: Any = self.host.carrier
            carrier.want(self.linked, starts=True)
        await super().listen()

    def linked(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self.links.append(sock)
        asyncio.get_running_loop().add_reader(sock.fileno(), self.hear, sock)

    def hear(self, sock: socket.socket) -> None:
        try:
            text = sock.recv(1000).decode()
        except ConnectionError:
            text = ""
        if not text:
            asyncio.get_running_loop().remove_reader(sock.fileno())
            sock.close()
            self.links.remove(sock)
        self.heard.append(text.strip() or "end")


app = App()


@app.get("/heard")
async def heard() -> list[str]:
    return app.heard


@app.get("/say/{text}")
async def say(text: str) -> str:
    app.links[-1].send(text.encode())
    return "said"


@app.get("/slow")
async def slow() -> str:
    app.links[-1].send(b"begun")
    await app.draining
    app.links[-1].send(b"settled")
    return "settled"


@app.get("/fork")
async def fork() -> str:
    """Leave a child that lives on, with copies of what this process has open."""
    if os.fork() == 0:
        os.setsid()
        socket.socketpair()[0].recv(1)
        os._exit(0)
    return "forked"
