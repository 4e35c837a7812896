"""Sends a file to a socket in the kernel, without copying it through this process (sendfile(2))."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

from ...body.file_body import FileBody

if TYPE_CHECKING:
    from ..connection import HTTPConnection

__all__ = ["LEAST", "send_file"]

LEAST = 64 * 1024
"""Bytes below which the two additional system calls cost more than they save."""
UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of file systems that the kernel cannot send from."""


async def send_file(connection: HTTPConnection, body: FileBody) -> None:
    """Send as much of a file as the kernel can; the caller reads and writes the rest.

    A small file is left to the caller, and so is everything if the bytes have to be encrypted.

    :raises EOFError: the file was truncated
    """
    transport = connection.transport
    socket = transport.get_extra_info("socket")
    if body.left < LEAST or connection.scheme != "http" or socket is None or not hasattr(os, "sendfile"):
        return
    try:
        fd = os.dup(socket.fileno())  # the loop does not allow use of the transport's own descriptor
    except OSError:  # no descriptor is left
        return
    body.own_socket(fd)
    await _drained(connection)
    loop = asyncio.get_running_loop()
    while body.left and not transport.is_closing():
        try:
            await body.send_some(fd)
            if connection.is_disconnected:
                connection.departure.stream_progressed()
        except BlockingIOError:
            connection.pause_writing()
            connection.server.outside(loop.add_writer, fd, connection.resume_writing)
            try:
                await connection.writable()
            finally:
                loop.remove_writer(fd)
        except ConnectionError:
            transport.abort()
        except OSError as exc:
            if exc.errno not in UNABLE:
                raise
            return


async def _drained(connection: HTTPConnection) -> None:
    """Wait until the transport has written all its data: the kernel would overtake it."""
    transport = connection.transport
    if transport.get_write_buffer_size():
        transport.set_write_buffer_limits(0)
        try:
            while transport.get_write_buffer_size() and not transport.is_closing():
                await connection.writable()
        finally:
            transport.set_write_buffer_limits()
