"""Why an application failed to boot or to serve: for the log, and for the command's exit code."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Iterable

from tiny_listener.errors import CannotLoad, WrongOptions
from tiny_listener.net.addresses import ListenError, listen_error
from tiny_listener.process.tracebacks import format_without_our_frames

from ..ipc.messages import Address

__all__ = ["cannot_listen", "describe_boot_failure", "http_addresses", "say_that_it_failed"]

logger = logging.getLogger("tiny_listener.worker")


def describe_boot_failure(exc: BaseException) -> tuple[int, str]:
    """Return the exit code and the text for an application that cannot be loaded or started."""
    if isinstance(exc, (CannotLoad, ListenError)):
        code = 2 if isinstance(exc, WrongOptions) else 1
        return code, f"Error: {exc.strerror if isinstance(exc, ListenError) else exc}\n"
    return 3, format_without_our_frames(exc)


def say_that_it_failed(exc: BaseException) -> None:
    """Log why a ready application ended. An exception that escaped the event loop has been logged already."""
    if not isinstance(exc, KeyboardInterrupt):
        logger.critical("The application failed", exc_info=exc)


def cannot_listen(exc: BaseException, addresses: Iterable[Address], *, shared: bool) -> ListenError | None:
    """Return a better error where listen(2) failed because another server took the address after it was bound.

    That can happen: until one of two sockets listens, bind(2) gives both the address (SO_REUSEADDR, socket(7)). uvloop
    does not raise EADDRINUSE then. It closes the socket, and the next use of the socket fails.

    :param exc: why the application did not boot
    :param addresses: the addresses that this process was to listen on
    :param shared: whether our sockets have SO_REUSEPORT, so that listening siblings do not conflict
    """
    if isinstance(exc, (ListenError, CannotLoad)):
        return None
    for address in addresses:
        if address.port and address.kind == socket.SOCK_STREAM and address.family != socket.AF_UNIX:
            with socket.socket(address.family, address.kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if address.family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    probe.bind((address.host, address.port))
                except OSError as taken:
                    if taken.errno == errno.EADDRINUSE:
                        return listen_error(taken, address.host, address.port)
    return None


def http_addresses(listener: object) -> list[Address]:
    """Return the TCP addresses of an `HTTPListener`; none for other listeners, which open what they like."""
    settings = getattr(listener, "settings", None)
    port = getattr(settings, "port", None)
    if not port or getattr(settings, "uds", None) is not None or getattr(settings, "fd", None) is not None:
        return []
    try:
        found = socket.getaddrinfo(
            getattr(settings, "host", None) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return []
    return [Address(family, str(where[0]), port, 0) for family, _, _, _, where in found]
