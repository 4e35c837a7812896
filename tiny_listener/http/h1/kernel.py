"""Asks the kernel about a connection what the event loop does not report, without reading from it."""

from __future__ import annotations

import array
import fcntl
import select
import termios
from enum import Enum
from typing import Any

__all__ = ["Peer", "has_unread", "look_for_peer"]

POLLRDHUP: int = getattr(select, "POLLRDHUP", 0)
"""poll(2): the peer has closed its side. Linux only."""


class Peer(Enum):
    """The state of the peer of a connection."""

    THERE = "there"
    HAS_CLOSED_ITS_SIDE = "has closed its side"
    GONE = "gone"


def look_for_peer(transport: Any) -> Peer:
    """Return the state of a transport's client. Needed while reading is paused: then event loops do not report it."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return Peer.THERE
    poll = select.poll()
    try:
        poll.register(socket.fileno(), POLLRDHUP)
        events = sum(event for _, event in poll.poll(0))
    except (OSError, ValueError):  # it is closed
        return Peer.GONE
    if events & (select.POLLHUP | select.POLLERR | select.POLLNVAL):
        return Peer.GONE
    return Peer.HAS_CLOSED_ITS_SIDE if events & POLLRDHUP else Peer.THERE


def has_unread(transport: Any) -> bool:
    """Whether the kernel has unread bytes of a client (ioctl_tty(2), FIONREAD)."""
    socket = transport.get_extra_info("socket")
    if socket is None:
        return False
    count = array.array("i", [0])
    try:
        fcntl.ioctl(socket.fileno(), termios.FIONREAD, count)
    except (OSError, ValueError):  # it is closed
        return False
    return count[0] > 0
