"""`--check=start`: starts the application as a worker would, and stops it, on addresses that no client knows."""

from __future__ import annotations

import errno
import os
import socket
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from ..net.addresses import listen_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..core.listener import Listener
    from ..net.provider import ListenAddress

__all__ = ["PrivateSockets", "try_to_start"]

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


class PrivateSockets:
    """Provides a socket that no client knows for each address: at a free loopback port, or in a folder. So it does not
    conflict with a running server. It refuses an address that is requested twice, as the kernel would.

    :param folder: for the files of unix sockets
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._given: set[tuple[int, int, str, int]] = set()

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        """See `SocketProvider`."""
        return [self._private(address) for address in addresses]

    def _private(self, address: ListenAddress) -> socket.socket:
        key = address.family, address.kind, address.host, address.port
        if key in self._given:
            taken = OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            raise listen_error(taken, address.host, address.port or None)
        if address.port or address.family == socket.AF_UNIX:
            self._given.add(key)
        sock = socket.socket(address.family, address.kind)
        try:
            if address.family == socket.AF_UNIX:
                sock.bind(f"{self._folder}/{len(self._given)}")
            else:
                sock.bind((LOOPBACK[socket.AddressFamily(address.family)], 0))
        except OSError as exc:
            sock.close()
            raise listen_error(exc, address.host, address.port) from None
        return sock


def try_to_start(app: str, load_app: Callable[[], Listener[Any]], options: dict[str, Any]) -> int:
    """Start the application and stop it. Return the exit code that `run` would return if it did not boot.

    :raises CannotLoad: the user or the group does not exist
    """
    from tiny_listener_supervisor import Single, SupervisorSettings, WorkerPlan, find_identity  # noqa: PLC0415

    if options["user"] is not None or options["group"] is not None:
        find_identity(options["user"], options["group"]).assume()
    loaded = []

    def load() -> Listener[Any]:
        loaded.append(load_app())
        return loaded[0]

    plan = WorkerPlan(load, options["graceful_timeout"])
    settings = SupervisorSettings(workers=1, boot_timeout=options["boot_timeout"])
    with TemporaryDirectory() as folder:
        trial = Single(plan, settings, trial=PrivateSockets(folder))
        code = trial.run()
    if code == 0 and trial.was_ready:
        click.echo(f"{describe(app, loaded[0])}; it starts and stops")
    return code


def describe(app: str, listener: Listener[Any]) -> str:
    """Describe an application."""
    count = len(listener.routes)
    return f"{app}: {type(listener).__name__} with {count} route{'s' * (count != 1)}"
