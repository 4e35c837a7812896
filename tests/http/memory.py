"""A transport without a socket: what is written to it is kept, what is fed to it reaches its protocol."""

from __future__ import annotations

import asyncio
from typing import Any

from tiny_listener.http.h1.server import HTTPServer


class MemoryTransport(asyncio.Transport):
    """One end of a connection to a server; the test is the other."""

    def __init__(self, server: HTTPServer) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_lost = False
        self._closing = False
        self._paused = False
        self._protocol: Any = server()
        self._protocol.connection_made(self)

    async def feed(self, data: bytes) -> None:
        """Let the protocol receive bytes, unless the connection ended; first, let it want them."""
        for _ in range(1000):
            if not self._paused or self._closing:
                break
            await asyncio.sleep(0)
        else:
            raise AssertionError("the server never reads on")
        if not self._closing:
            self._protocol.data_received(data)

    async def end(self) -> bytes:
        """Close the client's side; return all that was written when the server has closed, too."""
        if not self._closing and not self._protocol.eof_received():
            self.close()
        for _ in range(1000):
            if self.is_lost:
                return bytes(self.written)
            await asyncio.sleep(0)
        raise AssertionError(f"the server never closes; it wrote {bytes(self.written)!r}")

    # --- as a transport -----------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def get_protocol(self) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert data
        if not self._closing:
            self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._lose)

    def abort(self) -> None:
        self.close()

    def _lose(self) -> None:
        self.is_lost = True
        self._protocol.connection_lost(None)
