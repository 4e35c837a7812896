"""The listening sockets. The supervisor makes each one once, and keeps it open as long as there is code that serves it.

A slot has its own socket for each TCP or UDP address; the kernel spreads connections over them (SO_REUSEPORT,
socket(7)). All workers of the slot, one after the other, get the same socket. So connections that wait in its queue
when a worker dies are served by the next worker. A unix socket cannot be shared that way: all slots share one.

Closing a listening socket resets the connections in its queue. So an address is closed only when no code is going to
serve it: the code that asked for it never became ready, or new code listens elsewhere. Clients are then refused at once
instead of waiting for a timeout.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import select
import socket
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeAlias

from tiny_listener.net.addresses import ListenError, listen_error, name_of
from tiny_listener.net.inherited import open_inherited
from tiny_listener.net.unix import UnixSocket, listen_unix

from ..system.rights import Rights
from .accept_depth import queue_depth
from .channel import Channel, ChannelClosed, fitting
from .claims import Claim, claim, locked
from .messages import Acquire, Address, FromWorker, Granted, Refused, ToWorker, fault_of
from .users_sockets import UsersSockets

__all__ = ["SocketBroker"]

logger = logging.getLogger("tiny_listener.supervisor")

PORTS_TO_TRY = 10
"""Number of free ports to try. Another server may have just claimed any of them."""

_Key: TypeAlias = tuple[int, int, str, int, int]


class _Group:
    """The sockets of one address, by slot."""

    def __init__(self, address: Address, port: int) -> None:
        self.address = address
        self.port = port
        self.sockets: dict[int, socket.socket] = {}
        self.unix: UnixSocket | None = None
        self.claim: Claim | None = None
        self.holders: set[int] = set()
        """Pids of the living workers that were sent one."""
        self.was_served = False
        """Whether a worker that held one has ever been ready."""

    def close(self, remove: Callable[[UnixSocket], None]) -> None:
        """Close all sockets. First remove the file of a unix socket, if it is still ours."""
        if self.unix is not None:
            remove(self.unix)
        for sock in self.sockets.values():
            sock.close()
        if self.claim is not None:
            self.claim.close()


class SocketBroker:
    """Makes listening sockets, and keeps them open as long as there is code that serves them.

    :param rights: the rights with which unix sockets are made, both those that workers ask for and the one in `named`
    :param inherited: file descriptors of listening sockets that workers inherit anyway; the broker only inspects them
    :param named: path and permissions of the unix socket that the command line names
    """

    def __init__(
        self,
        rights: Rights | None = None,
        inherited: Iterable[int] = (),
        named: tuple[str | None, int | None] = (None, None),
    ) -> None:
        self._rights = rights or Rights()
        self._named, self._named_mode = named
        self._users = UsersSockets(self._rights)
        self._inherited = [_copy_of(fd) for fd in inherited]
        self._groups: dict[_Key, _Group] = {}

    def acquire(self, slot: int, address: Address) -> socket.socket:
        """Return the slot's socket for an address, bound. The broker keeps owning it. A unix socket listens already.

        :raises ListenError: it cannot be bound
        """
        key = _key(address)
        group = self._groups.get(key)
        unix = address.family == socket.AF_UNIX
        try:
            if group is None:
                group = _Group(address, address.port)
                if self._is_users(address):
                    raise PermissionError(errno.EPERM, "it has to be made with the rights of the workers' user")
                if unix:
                    mode = address.mode if address.host != self._named else self._named_mode
                    group.unix = listen_unix(address.host, address.backlog, mode, self._rights.owner, address.kind)
                    group.sockets[0] = group.unix.sock
                else:
                    _occupy(group, slot)
                self._groups[key] = group
            place = 0 if unix else slot
            if place not in group.sockets:
                group.sockets[place] = _bind_shared(address, group.port)
        except OSError as exc:
            error = listen_error(exc, address.host, address.port, address.kind)
            raise (exc if isinstance(exc, ListenError) else error) from None
        return group.sockets[place]

    def answer(self, slot: int, pid: int, channel: Channel[FromWorker, ToWorker], message: Acquire) -> None:
        """Send a worker the sockets that it asks for, or the reason why it cannot have them."""
        asked = [_key(address) for address in message.addresses]
        # A worker that is gone, or does not read, gets no answer.
        with contextlib.suppress(ChannelClosed, BlockingIOError):
            try:
                for address in message.addresses:
                    self._forget_lost(_key(address))
                    if (fault := fault_of(address)) is not None:
                        raise ListenError(errno.EINVAL, f"cannot listen on {address.host!r}: {fault}")
                    if self._is_users(address):
                        again = partial(self.answer, slot, pid, channel, message)
                        self._users.open(
                            address, pid, partial(self._keep, address), again, partial(_refuse, channel, message.id)
                        )
                        return
                sockets = [self.acquire(slot, address) for address in message.addresses]
                self._note(asked, pid)
                channel.send_batch(Granted(message.id), [sock.fileno() for sock in sockets])
            except BlockingIOError:
                raise
            except OSError as exc:
                self._note(asked, pid)
                _refuse(channel, message.id, exc)

    def _is_users(self, address: Address) -> bool:
        """Whether a socket must be made with the rights of the workers' user.

        That is the case for every unix socket, except the one on the command line if only root controls where its path
        leads. Workers choose paths, and root must not create, change or remove a file that somebody else swapped in.
        """
        if address.family != socket.AF_UNIX or _key(address) in self._groups or not self._rights.differ:
            return False
        return address.host != self._named or not self._rights.are_roots(address.host)

    def _keep(self, address: Address, unix: UnixSocket) -> Callable[[], None]:
        """Keep a socket that the workers' user made. Return what closes it unless a worker has it by then."""
        group = self._groups[_key(address)] = _Group(address, 0)
        group.unix, group.sockets[0] = unix, unix.sock
        return self._drop_unheld

    def _forget_lost(self, key: _Key) -> None:
        """Allow an address to be bound again if its file was removed or replaced: clients can no longer find the old
        socket.

        Workers that have the old socket keep accepting the connections that wait there, until they drain.
        """
        group = self._groups.get(key)
        if group is not None and group.unix is not None and self._is_lost(group.unix):
            logger.warning("The file of unix:%s was removed or replaced: binding it again", group.unix.path)
            self._drop([key])

    def _is_lost(self, unix: UnixSocket) -> bool:
        """Whether clients can no longer find a socket. Unknown for sockets in folders of the workers' user, where a
        check could hang.
        """
        return self._rights.are_roots(unix.path) and unix.is_lost

    def _name(self, group: _Group) -> str:
        """Return the address of a group, with a note if the file of a unix socket is gone."""
        name = name_of(next(iter(group.sockets.values())))
        return f"{name} (its file is gone)" if group.unix is not None and self._is_lost(group.unix) else name

    def _note(self, keys: list[_Key], pid: int) -> None:
        for key in keys:
            if key in self._groups:
                self._groups[key].holders.add(pid)

    def ready(self, pid: int) -> None:
        """A worker serves its sockets: clients may wait there from now on, even if the worker dies."""
        for group in self._groups.values():
            group.was_served = group.was_served or pid in group.holders

    def forget(self, pid: int) -> None:
        """A worker is dead: close the sockets that no other worker asked for, if they were never served."""
        self._users.forget(pid)
        for group in self._groups.values():
            group.holders.discard(pid)
        self._drop_unheld()

    def _drop_unheld(self) -> None:
        self._drop([key for key, group in self._groups.items() if not group.holders and not group.was_served])

    def keep_only(self, pids: Collection[int]) -> list[str]:
        """Close the addresses of which none of these workers holds a socket; return their names.

        :param pids: the workers that serve, when every slot has one: nothing is going to serve what they do not hold
        """
        gone = [key for key, group in self._groups.items() if group.holders.isdisjoint(pids)]
        names = [self._name(self._groups[key]) for key in gone]
        self._drop(gone)
        return names

    def _drop(self, keys: list[_Key]) -> None:
        for key in keys:
            self._groups.pop(key).close(self._remove)

    def _remove(self, unix: UnixSocket) -> None:
        """Remove the file of a unix socket, with the same rights that would create one there."""
        if not self._rights.differ or (unix.path == self._named and self._rights.are_roots(unix.path)):
            unix.remove()
        else:
            self._users.remove(unix)

    @property
    def sockets(self) -> list[socket.socket]:
        """All sockets."""
        return [sock for group in self._groups.values() for sock in group.sockets.values()]

    def of_slot(self, slot: int) -> list[socket.socket]:
        """Return the slot's own sockets that listen or receive datagrams: clients may wait there."""
        groups = [group for group in self._groups.values() if group.unix is None]
        found = [group.sockets[slot] for group in groups if slot in group.sockets]
        accepts = (socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        return [sock for sock in found if sock.type == socket.SOCK_DGRAM or sock.getsockopt(*accepts)]

    def waiting(self) -> set[int]:
        """Return the slots at whose own sockets a connection or a datagram waits (poll(2))."""
        slots: dict[int, int] = {}
        poll = select.poll()
        for group in self._groups.values():
            if group.unix is None:
                for slot, sock in group.sockets.items():
                    slots[sock.fileno()] = slot
                    poll.register(sock, select.POLLIN)
        return {slots[fd] for fd, event in poll.poll(0) if event & select.POLLIN}

    def queues(self) -> dict[str, int]:
        """Return the accept queue depth of each slot; `shared` is for sockets with one queue for all slots."""
        depths: dict[str, int] = {}
        for sock in self._inherited:
            depths["shared"] = depths.get("shared", 0) + (queue_depth(sock.fileno()) or 0)
        for group in self._groups.values():
            for slot, sock in group.sockets.items():
                worker = "shared" if group.unix is not None else str(slot)
                if (depth := queue_depth(sock.fileno())) is not None:
                    depths[worker] = depths.get(worker, 0) + depth
        return depths

    def names(self) -> list[str]:
        """Return the addresses that clients connect to, one text for each."""
        ours = [self._name(group) for group in self._groups.values() if group.sockets]
        return [*map(name_of, self._inherited), *ours]

    def close(self) -> None:
        """Close all sockets, and remove the files of unix sockets that are still ours."""
        self._drop(list(self._groups))
        self._users.finish()
        for sock in self._inherited:
            sock.close()


def _refuse(channel: Channel[FromWorker, ToWorker], request: int, exc: OSError) -> None:
    """Tell a worker why it cannot have what it asked for, unless it is gone or does not read."""
    with contextlib.suppress(ChannelClosed, BlockingIOError):
        channel.send(Refused(request, exc.errno or 0, fitting(exc.strerror or str(exc))))


def _copy_of(fd: int) -> socket.socket:
    sock = open_inherited(fd)
    try:
        return sock.dup()
    finally:
        sock.detach()


def _key(address: Address) -> _Key:
    return address.family, address.kind, address.host, address.port, address.index


def _occupy(group: _Group, slot: int) -> None:
    """Claim and bind an address that no slot has yet; if it names no port, a free one.

    :raises OSError: the address is in use
    """
    address = group.address
    where = address.family, address.kind, address.host
    for tries_left in reversed(range(PORTS_TO_TRY)):
        sock = _bind_shared(address, 0) if address.port == 0 else None
        port = sock.getsockname()[1] if sock is not None else address.port
        with locked(*where, port):
            try:
                group.claim = claim(*where, port)
                if sock is None:
                    _refuse_strangers(address)
                    sock = _bind_shared(address, port)
            except OSError:
                if group.claim is not None:
                    group.claim.close()
                if sock is None or not tries_left:
                    raise
                sock.close()  # another server claimed that port at the same moment, and is about to bind it
                continue
        group.sockets[slot], group.port = sock, port
        return


def _refuse_strangers(address: Address) -> None:
    """Check that a port is free.

    With SO_REUSEPORT, bind would succeed next to another server's socket of the same user and split its connections. A
    socket without it fails instead.

    :raises OSError: EADDRINUSE
    """
    with socket.socket(address.family, address.kind) as probe:
        _bind(probe, address, address.port)


def _bind_shared(address: Address, port: int) -> socket.socket:
    sock = socket.socket(address.family, address.kind)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _bind(sock, address, port)
    except OSError:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, address: Address, port: int) -> None:
    if address.kind == socket.SOCK_STREAM:  # for UDP it would share the port as SO_REUSEPORT does, even the probe
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if address.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address.host, port))
