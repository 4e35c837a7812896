"""The body of a response that is sent in pieces, as fast as the client reads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...body.file_body import FileBody
from ...response import piece_bytes
from .sendfile import send_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..exchanges.exchange import Exchange

__all__ = ["send_body"]

MAX_SHARE = 64
"""Pieces that are sent in one loop iteration."""


async def send_body(exchange: Exchange, body: AsyncIterator[Any], length: int | None) -> None:  # noqa: C901
    """Send the pieces of a body, and its end. The event is counted before the last bytes are written.

    :param length: in bytes, if it was announced: then the last piece waits for the end of the iterator. Otherwise the
        body is sent in chunks (RFC 9112 section 7.1), or with HTTP/1.0 until the connection closes
    :raises TypeError: the iterator yielded something that is neither bytes nor a text; nothing of that is sent
    :raises ConnectionAbortedError: the client is gone
    :raises BaseException: raised by the iterator
    """
    connection = exchange.connection
    left = length
    chunked = length is None and exchange.request.version == 1
    if type(body) is FileBody:
        exchange.conclude_event()  # the kernel does not report the last byte
        connection.server.outbox.flush()
        try:
            await send_file(connection, body)
        finally:
            exchange.sent = body.length - body.left
        left = body.left
    last, share = b"", MAX_SHARE
    async for piece in body:
        data = piece_bytes(piece)
        if not exchange.is_wanted:
            raise ConnectionAbortedError("the client is gone")
        if not data:
            continue
        if connection.is_disconnected:
            connection.departure.stream_progressed()
        if left is not None:
            left -= len(data)
            if left < 0:
                raise ValueError("a stream yielded more bytes than its announced length")
            if not left:
                last = data
                continue
        connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
        exchange.sent += len(data)
        connection.server.outbox.flush()
        await connection.writable()
        share -= 1
        if not share:  # let other tasks run, even if the stream never waits
            share = MAX_SHARE
            await asyncio.sleep(0)
    if left:
        raise ValueError(f"a stream ended {left} bytes early")
    exchange.conclude_event()
    exchange.sent += len(last)
    if chunked:
        last = b"0\r\n\r\n"
    if last:
        connection.write(last)
        connection.server.outbox.flush()
        await connection.writable()
