"""Unix sockets that deputies create and remove: processes with the rights of the workers' user.

A deputy may hang if the path leads to a file system that the user provides. The supervisor does not wait for it, and
kills it after a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from tiny_listener.net.addresses import ListenError, listen_error
from tiny_listener.net.unix import UnixSocket

from ..system.rights import Rights, removing, unix_socket

if TYPE_CHECKING:
    from ..system.deputy import Deputy
    from .messages import Address

__all__ = ["UsersSockets"]

TIME_LIMIT = 5.0
"""Seconds that a deputy may take; normally it takes a hundredth of one."""
AT_THE_END = 1.0
"""Seconds that all deputies together may take when the supervisor exits."""
MAX_OPENING = 16
"""Sockets that may be in the making at the same time: workers can ask for any number."""

Keep: TypeAlias = Callable[[UnixSocket], Callable[[], None]]


class _Asker:
    """A worker that waits for a socket."""

    def __init__(self, pid: int, again: Callable[[], None], refuse: Callable[[OSError], None]) -> None:
        self.pid = pid
        self.again = again
        self.refuse = refuse


class UsersSockets:
    """Makes sockets and removes their files, with the rights of the workers' user."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._opening: dict[Address, list[_Asker]] = {}
        self._deputies: set[Deputy] = set()

    def open(
        self, address: Address, pid: int, keep: Keep, again: Callable[[], None], refuse: Callable[[OSError], None]
    ) -> None:
        """Start making a socket.

        :param pid: of the worker that asks
        :param keep: called with the socket; what it returns is called after all askers have been told
        :param again: called when the socket is kept, unless the worker is dead by then
        :param refuse: called with the reason if it fails
        :raises OSError: no process could be started for it, or too many are running
        """
        asker = _Asker(pid, again, refuse)
        if address in self._opening:
            self._opening[address].append(asker)
            return
        if len(self._opening) >= MAX_OPENING:
            raise ListenError(
                errno.EAGAIN, f"cannot listen on {address.host}: {MAX_OPENING} other unix sockets are being opened"
            )
        deputy = self._rights.begin_to_listen(address.host, address.backlog, address.mode, address.kind)
        self._opening[address] = [asker]

        def opened() -> None:
            askers = self._opening.pop(address)
            try:
                unix = unix_socket(address.host, *deputy.result())
            except OSError as exc:
                error = exc if isinstance(exc, ListenError) else listen_error(exc, address.host, None)
                for one in askers:
                    one.refuse(self._rights.explain(error))
                return
            settle = keep(unix)
            for one in askers:
                one.again()
            settle()

        self._attend(deputy, opened)

    def forget(self, pid: int) -> None:
        """A worker is dead: it no longer waits for a socket."""
        for askers in self._opening.values():
            askers[:] = [asker for asker in askers if asker.pid != pid]

    def remove(self, unix: UnixSocket) -> None:
        """Start removing the file of a socket, if it is still ours. The caller may close the socket."""
        with contextlib.suppress(OSError):  # the file stays behind; the next server that uses the path removes it
            self._attend(self._rights.begin(removing(unix), (unix.sock.fileno(),)), lambda: None)

    def finish(self) -> None:
        """Wait briefly for running deputies: the supervisor exits."""
        for deputy in list(self._deputies):
            with contextlib.suppress(OSError):
                deputy.wait(AT_THE_END / len(self._deputies))
            deputy.end()

    def _attend(self, deputy: Deputy, ended: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        self._deputies.add(deputy)
        timer = loop.call_later(TIME_LIMIT, deputy.kill)

        def hear() -> None:
            if deputy.hear():
                timer.cancel()
                loop.remove_reader(deputy.fileno())
                self._deputies.discard(deputy)
                deputy.reap()
                ended()

        loop.add_reader(deputy.fileno(), hear)
