"""Event loops that know their servers, and that can take listening sockets from a supervisor.

An application may open servers in any way that asyncio offers. Its loop records them, so that a shutdown can stop them
all. If a supervisor owns the sockets, the loop asks it for them instead of binding.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..process.after_fork import Address, address_of
from .addresses import listen_error
from .datagrams import DatagramServer, TakenOverDatagrams
from .many_servers import ManyServers
from .provider import ListenAddress, SocketProvider
from .takeover import Takeover
from .unix import UnixSocket, listen_unix

try:
    import uvloop

    _UVLoop: Any = uvloop.Loop
except ImportError:  # pragma: no cover - uvloop does not support this platform
    _UVLoop = None

__all__ = ["ServerLoop", "new_event_loop"]

Create = TypeVar("Create", bound=Callable[..., Coroutine[Any, Any, Any]])

DEFAULT_BACKLOG = 2048
"""As in uvicorn and gunicorn; the kernel caps it at net.core.somaxconn. asyncio's own 100 overflows in a burst."""


def _opening(create: Create) -> Create:
    """Record in the loop that a server is being opened."""

    @functools.wraps(create)
    async def counted(self: Any, *args: Any, **options: Any) -> Any:
        self.opening += 1
        try:
            return await create(self, *args, **options)
        finally:
            self.opening -= 1
            # By then, an application that opens several servers in a row has started opening the next.
            self.call_soon(self._settle)

    return counted  # type: ignore[return-value]


class ServerLoop:
    """Added to an event loop class: it records servers, and asks `socket_provider` for sockets."""

    socket_provider: SocketProvider | None = None
    on_activity: Callable[[], None] | None = None
    """Like that of `Lifecycle`, for readers of datagrams."""
    on_servers: Callable[[], None] | None = None
    """Called when servers are open and none is being opened."""

    def __init__(self) -> None:
        super().__init__()
        self.servers: list[Any] = []
        self.opening = 0
        self.takeover = Takeover(self.servers)
        self.addresses: set[Address] = set()
        """All addresses that servers have ever listened on; see `after_fork`."""
        self._unix: list[UnixSocket] = []
        # asyncio makes the same one on first use, but does not expose it.
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))

    def set_default_executor(self, executor: Any) -> None:
        """See `asyncio.loop.set_default_executor`."""
        super().set_default_executor(executor)  # type: ignore[misc]
        self.executor: ThreadPoolExecutor = executor

    @_opening
    async def create_server(
        self,
        protocol_factory: Any,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        family: int = socket.AF_UNSPEC,
        flags: int = socket.AI_PASSIVE,
        sock: socket.socket | None = None,
        backlog: int = DEFAULT_BACKLOG,
        **options: Any,
    ) -> Any:
        """See `asyncio.loop.create_server`."""
        create: Any = super().create_server  # type: ignore[misc]
        if self.socket_provider is None or sock is not None:
            where = (
                {"sock": sock} if sock is not None else {"host": host, "port": port, "family": family, "flags": flags}
            )
            try:
                return self._opened(await create(protocol_factory, **where, backlog=backlog, **options))
            except OSError as exc:
                raise listen_error(exc, host if isinstance(host, str) else None, port or 0) from None
        for owned in ("reuse_address", "reuse_port", "keep_alive"):
            options.pop(owned, None)
        addresses = await self._resolve(host, port or 0, family, flags, backlog=backlog)
        sockets = await self.socket_provider.acquire(addresses)

        def open_at(sock: socket.socket) -> Any:
            return create(protocol_factory, sock=sock, backlog=backlog, **options)

        many = ManyServers([await open_at(sock) for sock in sockets], self)  # type: ignore[arg-type]
        for own in sockets:
            self.takeover.learn(own, many, open_at)
        return self._opened(many)

    @_opening
    async def create_unix_server(
        self,
        protocol_factory: Any,
        path: str | os.PathLike[str] | None = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = DEFAULT_BACKLOG,
        mode: int | None = None,
        **options: Any,
    ) -> Any:
        """See `asyncio.loop.create_unix_server`; `mode`: permissions of the file."""
        create: Any = super().create_unix_server  # type: ignore[misc]
        if path is None and sock is None:
            raise ValueError("create_unix_server() takes a path, or a bound socket")
        cleanup = options.pop("cleanup_socket", False) and sock is not None
        if sys.version_info >= (3, 13):
            options["cleanup_socket"] = cleanup  # it could remove the file of another server
        if path is None or sock is not None:
            return self._opened(await create(protocol_factory, path, sock=sock, backlog=backlog, **options))
        if self.socket_provider is not None:
            address = ListenAddress(socket.AF_UNIX, os.fsdecode(path), backlog=backlog, mode=mode)
            (sock,) = await self.socket_provider.acquire([address])
            return self._opened(await create(protocol_factory, sock=sock, backlog=backlog, **options))
        unix = listen_unix(os.fsdecode(path), backlog, mode)
        self._unix.append(unix)
        try:
            return self._opened(await create(protocol_factory, sock=unix.sock, backlog=backlog, **options))
        except BaseException:
            self._unix.remove(unix)
            unix.remove()
            unix.sock.close()
            raise

    @_opening
    async def create_datagram_endpoint(
        self,
        protocol_factory: Any,
        local_addr: Any = None,
        remote_addr: Any = None,
        *,
        family: int = 0,
        sock: socket.socket | None = None,
        **options: Any,
    ) -> Any:
        """See `asyncio.loop.create_datagram_endpoint`; sockets that receive come from the supervisor."""
        receives = local_addr is not None and remote_addr is None and sock is None
        if receives and family == socket.AF_UNIX:
            return await self._take_datagrams_at(os.fsdecode(local_addr), protocol_factory)
        if not receives or self.socket_provider is None or not isinstance(local_addr, tuple):
            create: Any = super().create_datagram_endpoint  # type: ignore[misc]
            try:
                opened = await create(protocol_factory, local_addr, remote_addr, family=family, sock=sock, **options)
            except OSError as exc:
                if not receives or not isinstance(local_addr, tuple):
                    raise
                why = exc.__cause__ if isinstance(exc.__cause__, OSError) else exc  # uvloop's has no errno
                raise listen_error(why, local_addr[0], local_addr[1], socket.SOCK_DGRAM) from None
            if receives:
                self._remember([opened[0].get_extra_info("socket")])
            return opened
        host, port = local_addr
        where = await self._resolve(host, port, family, socket.AI_PASSIVE, kind=socket.SOCK_DGRAM)
        (sock,) = await self.socket_provider.acquire(where[:1])  # asyncio takes the first too
        if options.get("allow_broadcast"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        loop: Any = self
        server, endpoint, protocol = self._opened_datagrams(sock, protocol_factory)

        async def open_at(sock: socket.socket) -> TakenOverDatagrams:
            return TakenOverDatagrams(loop, sock, endpoint)

        self.takeover.learn(sock, server, open_at)
        return endpoint, protocol

    async def _take_datagrams_at(self, path: str, protocol_factory: Any) -> tuple[Any, Any]:
        """Open an endpoint at the path of a unix socket, which all workers share."""
        if self.socket_provider is not None:
            address = ListenAddress(socket.AF_UNIX, path, kind=socket.SOCK_DGRAM)
            (sock,) = await self.socket_provider.acquire([address])
        else:
            unix = listen_unix(path, 0, kind=socket.SOCK_DGRAM)
            self._unix.append(unix)
            sock = unix.sock
        return self._opened_datagrams(sock, protocol_factory)[1:]

    def _opened_datagrams(self, sock: socket.socket, protocol_factory: Any) -> tuple[Any, Any, Any]:
        loop: Any = self
        self._remember([sock])
        server, endpoint, protocol = DatagramServer.open(loop, sock, protocol_factory)
        self._opened(server)
        return server, endpoint, protocol

    def close(self) -> None:
        """See `asyncio.loop.close`. It also removes the files of unix sockets that are still ours."""
        self.remove_files()
        super().close()  # type: ignore[misc]

    def remove_files(self) -> None:
        """Remove the files of unix sockets that are still ours."""
        while self._unix:
            self._unix.pop().remove()

    def _opened(self, server: Any) -> Any:
        self._remember(getattr(server, "sockets", ()))
        self.servers.append(server)
        return server

    def _remember(self, sockets: Iterable[Any]) -> None:
        self.addresses.update(filter(None, map(address_of, sockets)))

    def _settle(self) -> None:
        if self.servers and not self.opening and self.on_servers is not None:
            self.on_servers()

    async def _resolve(
        self,
        host: str | Sequence[str] | None,
        port: int,
        family: int,
        flags: int,
        *,
        backlog: int = DEFAULT_BACKLOG,
        kind: int = socket.SOCK_STREAM,
    ) -> list[ListenAddress]:
        hosts: Iterable[str | None] = [host or None] if host is None or isinstance(host, str) else host
        resolve: Any = self.getaddrinfo  # type: ignore[attr-defined]
        found: dict[ListenAddress, None] = {}
        for name in hosts:
            try:
                known = await resolve(name, port, family=family, type=kind, flags=flags)
            except socket.gaierror as exc:
                raise listen_error(exc, name, port) from None
            for af, _, _, _, sockaddr in known:
                if af in (socket.AF_INET, socket.AF_INET6):
                    found[ListenAddress(int(af), sockaddr[0], sockaddr[1], backlog, kind=int(kind))] = None
        if not found:
            raise OSError(f"getaddrinfo({host!r}) returned no address")
        return list(found)


if _UVLoop is not None:

    class _Loop(ServerLoop, _UVLoop):  # type: ignore[misc]
        pass

else:  # pragma: no cover

    class _Loop(ServerLoop, asyncio.SelectorEventLoop):  # type: ignore[no-redef]
        pass


class AsyncioLoop(ServerLoop, asyncio.SelectorEventLoop):
    """The same on asyncio's own loop: for debugging, and where uvloop is not available."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop: uvloop's if it is available, otherwise asyncio's."""
    return _Loop()
