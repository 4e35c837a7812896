"""The floor: uvloop and httptools with a constant answer, and nothing between them. Nobody does less in Python.

python loadtest/servers/floor.py PORT
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httptools
import uvloop

BODY = b"Hello, Bob!"
ANSWER = (
    b"HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


class Floor(asyncio.Protocol):
    """Answers every request with the same bytes."""

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport
        self._feed = httptools.HttpRequestParser(self).feed_data

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._feed(data)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._transport.write(ANSWER)


async def main() -> None:
    """Serve forever."""
    server = await asyncio.get_running_loop().create_server(Floor, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    await server.serve_forever()


uvloop.run(main())
