"""A TCP proxy, as the network between a client and a server: it can be cut, and be restored."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["Link", "linked"]


class Link:
    """A proxy to a port of 127.0.0.1, which runs in a thread.

    :ivar port: where clients connect to
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"link to {target}")
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    async def _listen(self) -> None:
        self._passes = asyncio.Event()
        self._passes.set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Let nothing through, and tell nobody, as when packets are lost."""
        self._call(self._passes.clear)

    def restore(self) -> None:
        """Let all through, also what was sent meanwhile."""
        self._call(self._passes.set)

    def drop(self) -> None:
        """Reset all connections, as a router does that is started again."""
        self._call(self._abort)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        mine = {writer}
        try:
            await self._passes.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            mine.add(back)
            self._writers |= mine
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._writers -= mine
            self._tasks.discard(task)
            for one in mine:
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self._passes.wait()
            writer.write(data)
            await writer.drain()
        await self._passes.wait()
        raise ConnectionResetError  # the other direction ends with it

    def close(self) -> None:
        """Reset all connections, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def linked(port: int) -> Iterator[Link]:
    """Have a link to a port while the block runs."""
    link = Link(port)
    link.start()
    try:
        yield link
    finally:
        link.close()
