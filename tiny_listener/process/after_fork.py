"""What a child of `os.fork()` must not keep of the server that it is a copy of.

An application may fork: a handler that uses `multiprocessing` or a pool of processes, or calls `os.fork()` itself. The
child has a copy of every file descriptor, so that, for as long as it lives, a port that the server closed stays in use,
and a client whose connection the server closed sees no end. It shares more than copies: an epoll set, and the rings of
io_uring that libuv changes it by, are one object in both processes, and so is the socket that the C handler of a signal
writes to (`signal.set_wakeup_fd`): what the child does there happens to the server.

So the child is made deaf before any code of the application runs in it (`os.register_at_fork`):

- Listening sockets, the connections that were accepted from them, and the channel to a supervisor become /dev/null, by
  dup2(2): the numbers stay taken, so that a later close(2) of one of them closes nothing of the application's.
- The epoll set becomes an empty one of the child's own, rings of io_uring become memory of its own.
- Signals do what they do in a process of its own; a child that nobody waits for can be ended by TERM.
- A child that returns into the event loop ends with code 1: it would serve from a copy of the server's memory.

File descriptors of the application stay, its own connections too. They are told apart by their local address.
`subprocess` is not concerned: what it starts has none of these descriptors (O_CLOEXEC).
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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .open_files import open_descriptors

__all__ = ["Shared", "address_of", "end_if_forked", "forget_server", "remember_server", "separate_children"]

logger = logging.getLogger("tiny_listener")

MAP_FIXED = 0x10
"""See mmap(2); the module of that name has no such constant."""
EVENTPOLL, EVENTFD, IO_URING = "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[io_uring]"
"""What a link in /proc/self/fd says of a descriptor that is no file (proc_pid_fd(5))."""

Address = tuple[int, int, Any]


@dataclass(frozen=True, slots=True)
class Shared:
    """What this process has of its server.

    :ivar loop: the loop that serves
    :ivar thread: the one that the loop runs in
    :ivar addresses: returns those that were ever listened at: connections outlive their listening socket
    """

    loop: asyncio.AbstractEventLoop
    thread: int
    addresses: Callable[[], Iterable[Address]]


_servers: list[Shared] = []
_private: set[int] = set()
_parents: list[int] = []
"""The process whose children are concerned, if any is."""
_registered: list[bool] = []


def separate_children(descriptors: Iterable[int] = ()) -> None:
    """Let children of this process keep nothing of what it is: from now on, before there is a server.

    :param descriptors: file descriptors, beside those of servers, that are none of theirs
    """
    if not _registered:  # it cannot be taken back
        _registered.append(True)
        os.register_at_fork(after_in_child=_leave_all)
    if _parents != [os.getpid()]:
        _parents[:] = [os.getpid()]
    _private.update(descriptors)


def remember_server(loop: asyncio.AbstractEventLoop, addresses: Callable[[], Iterable[Address]]) -> Shared:
    """Let children of this process keep nothing of a server; see `Shared`."""
    separate_children()
    server = Shared(loop, threading.get_ident(), addresses)
    _servers.append(server)
    return server


def forget_server(server: Shared) -> None:
    """A server has ended: children may keep what they like."""
    with contextlib.suppress(ValueError):
        _servers.remove(server)


def end_if_forked(pid: int, exit_code: int) -> None:
    """End this process at once if it is a copy of the one with that id, made by a fork: it has nothing to clean up."""
    if os.getpid() != pid:
        os._exit(exit_code)


def address_of(sock: socket.socket) -> Address | None:
    """Return what a listening socket has in common with the connections that are accepted from it, and no other socket.

    Of TCP and UDP that is the port, whatever address of this machine a client connects to; of a unix socket its name.
    """
    name = sock.getsockname()
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return socket.AF_INET, int(sock.type), name[1]  # a socket of IPv6 may accept IPv4
    if sock.family == socket.AF_UNIX and name:
        return socket.AF_UNIX, int(sock.type), name
    return None


def _leave_all() -> None:
    """In a child: keep nothing of the servers of the process that it is a copy of."""
    servers = _servers.copy()
    _servers.clear()
    if not _parents:
        return
    _parents.clear()
    # What goes wrong in here would be printed and forgotten; each step is worth taking without the others.
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
    """Whether a handler is ours or asyncio's, and not the application's."""
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
    # What wakes the loop from another thread would wake the server's.
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
    """Put memory of this process over the rings of io_uring(7), which it shares with the server."""
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
            "A child of os.fork() (pid %d) returned into the event loop, where it cannot serve: it ends with exit code "
            "1; let it end with os._exit(), or start it by multiprocessing",
            os.getpid(),
        )
    finally:
        os._exit(1)
