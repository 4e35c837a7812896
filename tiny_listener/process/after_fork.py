"""What a child of `os.fork()` must not keep of the server that it is a copy of.

An application may fork: a handler may use `multiprocessing` or a process pool, or call `os.fork()` itself. The child
has a copy of every file descriptor. While it lives, a port that the server closed stays in use, and a client whose
connection the server closed sees no end of file. Some things are shared rather than copied: an epoll set, the io_uring
rings that libuv uses to change it, and the socket that the C signal handler writes to (`signal.set_wakeup_fd`). What
the child does to these affects the server.

So the child is disconnected before any code of the application runs in it (`os.register_at_fork`):

- Listening sockets, connections accepted from them, and the channel to a supervisor are replaced by /dev/null, with
  dup2(2). The descriptor numbers stay in use, so that a later close(2) does not close a descriptor of the application.
- The epoll set is replaced by an empty one; io_uring rings are replaced by private memory.
- Signals get their default actions, so that TERM ends a child that nobody waits for.
- A child that returns into the event loop exits with code 1: it would serve from a copy of the server's memory.

File descriptors of the application stay open, including its own connections. They are told apart by their local
address. `subprocess` is not affected: the programs that it starts have none of these descriptors (O_CLOEXEC).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import logging
import mmap
import os
import select
import signal
import socket
import stat
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .open_files import open_descriptors

__all__ = [
    "Shared",
    "address_of",
    "end_if_forked",
    "forget_server",
    "remember_server",
    "separate_children",
    "separate_socket",
]

logger = logging.getLogger("tiny_listener")

MAP_FIXED = 0x10
"""See mmap(2); the `mmap` module does not have this constant."""
EVENTPOLL, EVENTFD, IO_URING = "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[io_uring]"
"""Targets of links in /proc/self/fd for descriptors that are not files (proc_pid_fd(5))."""

Address = tuple[int, int, Any]


class HasDescriptor(Protocol):
    """Something with a file descriptor, such as a socket."""

    def fileno(self) -> int:
        """Return the file descriptor; -1: it is closed."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What this process shares with its children: its server.

    :ivar loop: the loop that serves
    :ivar thread: the thread that the loop runs in
    :ivar addresses: returns all addresses that it has ever listened on: connections outlive their listening socket
    """

    loop: asyncio.AbstractEventLoop
    thread: int
    addresses: Callable[[], Iterable[Address]]


_servers: list[Shared] = []
_private: set[int] = set()
_private_sockets: weakref.WeakSet[HasDescriptor] = weakref.WeakSet()
_parents: list[int] = []
"""The process whose children are disconnected, if any."""
_registered: list[bool] = []


def separate_children(descriptors: Iterable[int] = ()) -> None:
    """Disconnect children of this process from it, from now on, even before there is a server.

    :param descriptors: further file descriptors, in addition to those of servers, that children must not keep
    """
    if not _registered:  # it cannot be unregistered
        _registered.append(True)
        os.register_at_fork(after_in_child=_leave_all)
    if _parents != [os.getpid()]:
        _parents[:] = [os.getpid()]
    _private.update(descriptors)


def separate_socket(sock: HasDescriptor) -> None:
    """Disconnect children of this process from a socket, or a lock, until it is closed."""
    separate_children()
    _private_sockets.add(sock)


def remember_server(loop: asyncio.AbstractEventLoop, addresses: Callable[[], Iterable[Address]]) -> Shared:
    """Disconnect children of this process from a server; see `Shared`."""
    separate_children()
    server = Shared(loop, threading.get_ident(), addresses)
    _servers.append(server)
    return server


def forget_server(server: Shared) -> None:
    """A server has ended: children may keep everything."""
    with contextlib.suppress(ValueError):
        _servers.remove(server)


def end_if_forked(pid: int, exit_code: int) -> None:
    """Exit at once if this process is a forked copy of the process with this pid: it has nothing to clean up."""
    if os.getpid() != pid:
        os._exit(exit_code)


def address_of(sock: socket.socket) -> Address | None:
    """Return what a listening socket has in common with the connections accepted from it, and with no other socket.

    For TCP and UDP that is the port, whatever address of this machine a client connects to; for a unix socket its name.
    """
    name = sock.getsockname()
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return socket.AF_INET, int(sock.type), name[1]  # an IPv6 socket may accept IPv4
    if sock.family == socket.AF_UNIX and name:
        return socket.AF_UNIX, int(sock.type), name
    return None


def _leave_all() -> None:
    """In a child: disconnect from all servers of the parent."""
    servers = _servers.copy()
    _servers.clear()
    if not _parents:
        return
    _parents.clear()
    _private.update(sock.fileno() for sock in _private_sockets if sock.fileno() >= 0)
    # An exception here would only be printed. Run every step, even if another one fails.
    for step in (_take_signals_back, _leave_descriptors, _leave_rings, _end_in_the_loop):
        with contextlib.suppress(Exception):
            step(servers)


# --- signals --------------------------------------------------------------------------------------


def _take_signals_back(servers: list[Shared]) -> None:
    wakes = signal.set_wakeup_fd(-1)
    if wakes >= 0:
        _private.add(wakes)
    loops = [server.loop for server in servers]
    for sig in signal.valid_signals():
        if _is_of_a_loop(signal.getsignal(sig), loops):
            faulthandler.unregister(sig)
            signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)


def _is_of_a_loop(handler: Any, loops: list[asyncio.AbstractEventLoop]) -> bool:
    """Whether a signal handler is ours or asyncio's, not the application's."""
    if not callable(handler):
        return False
    module = getattr(handler, "__module__", None) or ""
    ours = module.partition(".")[0] in ("tiny_listener", "tiny_listener_supervisor", "asyncio", "uvloop")
    return ours or getattr(handler, "__self__", None) in loops


# --- file descriptors -----------------------------------------------------------------------------


def _leave_descriptors(servers: list[Shared]) -> None:
    addresses = {address for server in servers for address in server.addresses()}
    opened = [fd for fd in open_descriptors() if fd > 2]
    ours = {fd for fd in opened if fd in _private or _is_at(fd, addresses)}
    if servers:
        ours |= {fd for fd in opened if _kind(fd) == IO_URING}
    sets = {fd: watched for fd in opened if _kind(fd) == EVENTPOLL and (watched := _watched_by(fd)) & ours}
    # An eventfd that wakes the loop from another thread would wake the server's loop.
    ours |= {fd for watched in sets.values() for fd in watched if _kind(fd) == EVENTFD}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in ours:
        os.dup2(null, fd, inheritable=False)
    os.close(null)
    _private.clear()
    for fd in sets:
        with select.epoll() as empty:
            os.dup2(empty.fileno(), fd, inheritable=False)


def _kind(fd: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def _is_at(fd: int, addresses: set[Address]) -> bool:
    """Whether a file descriptor is a socket at one of these addresses: it listens there, or was accepted there."""
    with contextlib.suppress(OSError):
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            sock = socket.socket(fileno=fd)
            try:
                return address_of(sock) in addresses
            finally:
                sock.detach()
    return False


def _watched_by(fd: int) -> set[int]:
    """Return the file descriptors in an epoll set (proc_pid_fdinfo(5))."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
        return {int(line.split()[1]) for line in lines if line.startswith("tfd:")}
    return set()


def _leave_rings(servers: list[Shared]) -> None:
    """Replace the io_uring(7) rings, which are shared with the server, by private memory."""
    if not servers:
        return
    mappings = Path("/proc/self/maps").read_text().splitlines()
    places = [line.split()[0] for line in mappings if line.endswith(IO_URING)]
    if not places:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 4, ctypes.c_long)
    for place in places:
        first, last = (int(end, 16) for end in place.split("-"))
        access, how = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
        libc.mmap(first, last - first, access, how, -1, 0)


# --- the loop -------------------------------------------------------------------------------------


def _end_in_the_loop(servers: list[Shared]) -> None:
    for server in servers:
        if server.thread == threading.get_ident():
            server.loop.call_soon(_came_back)


def _came_back() -> None:
    try:
        logger.error(
            "A child of os.fork() (pid %d) returned into the event loop, where it cannot serve: exiting with code 1; "
            "end it with os._exit(), or start it with multiprocessing",
            os.getpid(),
        )
    finally:
        os._exit(1)
