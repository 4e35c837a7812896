"""Notifications to the service manager: ready, reloading, stopping, watchdog (sd_notify(3), sd_watchdog_enabled(3))."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING

from tiny_listener.errors import CannotLoad

if TYPE_CHECKING:
    import asyncio

__all__ = ["Notifier"]

logger = logging.getLogger("tiny_listener.supervisor")

SEND_TIME = 0.1
"""Seconds that this process may be blocked by a manager that does not read."""


class Notifier:
    """Notifies the service manager of the state of this process; without a manager it does nothing.

    :param address: of the manager's datagram socket, in the format of bind(2)
    :param watchdog: seconds without a message after which the manager considers this process dead; None: no watchdog
    :param pid: of this process, so that the manager signals the right one; None: the manager is in another pid
        namespace
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None, pid: int | None = None) -> None:
        self._address = address
        self._watchdog = watchdog
        self._main = () if pid is None else (f"MAINPID={pid}",)
        self._is_reloading = False
        self._is_stopping = False
        self._status = ""

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int, parent: int) -> Notifier:
        """Return the notifier that the environment asks for. Remove the variables: they are not meant for children.

        :param pid: of this process; a watchdog for another pid is ignored
        :param parent: pid of its parent
        :raises CannotLoad: the variables are invalid
        """
        name = environ.pop("NOTIFY_SOCKET", "")
        usec = environ.pop("WATCHDOG_USEC", "")
        watched = environ.pop("WATCHDOG_PID", str(pid))
        if not name:
            return cls()
        if name[0] not in "/@" or len(name) < 2:
            raise CannotLoad(
                f"NOTIFY_SOCKET={name} is neither a path nor an abstract name (@...); unset it to go without"
            )
        address = f"\0{name[1:]}" if name[0] == "@" else name
        # A script may run between the manager and this process, but not if our parent is process 1. That is the manager
        # itself, or the init of a container, where our pid differs from the one outside.
        main = pid if parent != 1 else None
        if not usec or watched != str(pid):
            return cls(address, pid=main)
        if not (usec.isascii() and usec.isdigit() and int(usec)):
            raise CannotLoad(f"WATCHDOG_USEC={usec} is not a number of microseconds; unset it to go without")
        return cls(address, int(usec) / 1e6, main)

    def ready(self, status: str) -> None:
        """Report that events are accepted: after the start, and after a reload."""
        self._is_reloading = False
        self._send("READY=1", f"STATUS={status}", *self._main)

    def reloading(self, status: str) -> None:
        """Report that a reload has started."""
        self._is_reloading = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def reloaded(self, status: str) -> None:
        """Report that the reload is over, if one was running."""
        if self._is_reloading and not self._is_stopping:
            self.ready(status)

    def stopping(self, status: str) -> None:
        """Report once that the stop has started."""
        if not self._is_stopping:
            self._is_stopping = True
            self._send("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Report a status if it changed. The last status of a stop remains."""
        if text != self._status and not self._is_stopping:
            self._send(f"STATUS={text}")

    def watch(self, loop: asyncio.AbstractEventLoop, is_healthy: Callable[[], bool]) -> None:
        """Send a keep-alive at half the watchdog interval, as long as the process is healthy."""
        if self._watchdog is not None:
            if is_healthy():
                self._send("WATCHDOG=1")
            loop.call_later(self._watchdog / 2, self.watch, loop, is_healthy)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        self._status = next((line.partition("=")[2] for line in lines if line.startswith("STATUS=")), self._status)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(SEND_TIME)
                sock.sendto("\n".join(lines).encode(), self._address)
        except OSError as exc:
            name = self._address.replace("\0", "@", 1)
            logger.warning("Cannot send %s to the service manager at %s: %s", lines[0], name, exc.strerror or exc)
