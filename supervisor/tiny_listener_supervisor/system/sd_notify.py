"""What the service manager hears: ready, reloading, stopping, still alive (sd_notify(3), sd_watchdog_enabled(3))."""

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
"""Seconds that a manager which does not read may hold this process up."""


class Notifier:
    """Tells the service manager what this process does; without a manager it tells nobody.

    :param address: of the manager's datagram socket, as bind(2) takes it
    :param watchdog: seconds after which a manager that heard nothing takes this process for dead; None: it does not
    :param pid: of this process, which signals are for; None where the manager counts otherwise
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
        """Return the notifier that the environment asks for, and take the variables away: they are for no child.

        :param pid: of this process; a watchdog of another is none of ours
        :param parent: of its parent
        :raises CannotLoad: the variables make no sense
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
        # A script may stand between the manager and us, but not when process 1 started us: that is the manager, or the
        # init of a container, where our number is another than outside.
        main = pid if parent != 1 else None
        if not usec or watched != str(pid):
            return cls(address, pid=main)
        if not (usec.isascii() and usec.isdigit() and int(usec)):
            raise CannotLoad(f"WATCHDOG_USEC={usec} is no number of microseconds; unset it to go without")
        return cls(address, int(usec) / 1e6, main)

    def ready(self, status: str) -> None:
        """Say that events are taken in: at first, and after a reload."""
        self._is_reloading = False
        self._send("READY=1", f"STATUS={status}", *self._main)

    def reloading(self, status: str) -> None:
        """Say that a reload has begun."""
        self._is_reloading = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", f"STATUS={status}")

    def reloaded(self, status: str) -> None:
        """Say that the reload is over, if there was one."""
        if self._is_reloading and not self._is_stopping:
            self.ready(status)

    def stopping(self, status: str) -> None:
        """Say once that the end has begun."""
        if not self._is_stopping:
            self._is_stopping = True
            self._send("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """Say how things are, if that is news; the last words of a stop stay."""
        if text != self._status and not self._is_stopping:
            self._send(f"STATUS={text}")

    def watch(self, loop: asyncio.AbstractEventLoop, is_healthy: Callable[[], bool]) -> None:
        """Say at half of the watchdog's time that all is well, for as long as it is."""
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
            logger.warning("The service manager did not hear %s at %s: %s", lines[0], name, exc.strerror or exc)
