"""The accept queue depth of a listening socket: connections that wait to be accepted, as the kernel reports it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct

__all__ = ["queue_depth"]

TCP_INFO_SIZE = 104
TCPI_UNACKED = 24
"""Offset of this field in a tcp_info (linux/tcp.h). For a listening socket it is the length of the accept queue."""
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST = 1
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_RQLEN = 4
ANY_STATE = ANY_COOKIE = 0xFFFFFFFF
HEADER = struct.Struct("=IHHII")
"""nlmsghdr of netlink(7): length, type, flags, sequence, port."""
REQUEST = struct.Struct("=BBHIIIII")
"""unix_diag_req of sock_diag(7): family, protocol, padding, states, inode, show, cookie in two halves."""
MESSAGE_SIZE = 16
"""Bytes of a unix_diag_msg; attributes follow."""


def queue_depth(fd: int) -> int | None:
    """Return how many connections wait at a listening socket; None where the kernel does not tell, as for datagrams."""
    with contextlib.suppress(OSError, struct.error), socket.socket(fileno=os.dup(fd)) as sock:
        if sock.type != socket.SOCK_STREAM:
            return None
        if sock.family == socket.AF_UNIX:
            return _unix_depth(os.fstat(fd).st_ino)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        return int(struct.unpack_from("=I", info, TCPI_UNACKED)[0])
    return None


def _unix_depth(inode: int) -> int | None:
    """Ask sock_diag(7) for the unix socket with this inode."""
    request = REQUEST.pack(socket.AF_UNIX, 0, 0, ANY_STATE, inode, UDIAG_SHOW_RQLEN, ANY_COOKIE, ANY_COOKIE)
    header = HEADER.pack(HEADER.size + len(request), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as link:
        link.settimeout(1)
        link.send(header + request)
        answer = link.recv(4096)
    length, kind, _, _, _ = HEADER.unpack_from(answer)
    if kind != SOCK_DIAG_BY_FAMILY:  # an error: no such socket, or no support in the kernel
        return None
    at = HEADER.size + MESSAGE_SIZE
    while at < length:
        size, name = struct.unpack_from("=HH", answer, at)  # rtattr: its length, its type
        if name == UNIX_DIAG_RQLEN:
            return int(struct.unpack_from("=I", answer, at + 4)[0])
        at += max(4, (size + 3) & ~3)  # each begins at a multiple of four
    return None
