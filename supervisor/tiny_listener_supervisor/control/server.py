"""The control socket that `tiny-listenerctl` connects to. Only the owner of the server and root are allowed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tiny_listener.errors import CannotLoad
from tiny_listener.net.addresses import ListenError
from tiny_listener.net.unix import UnixSocket

from ..policy import workers_in_words
from ..system.rights import Rights
from .instances import control_folder, own_socket
from .messages import (
    REQUEST_LIMIT,
    TIME_LIMIT,
    Answer,
    AskEvents,
    AskStatus,
    ControlRequest,
    Denied,
    Done,
    Dump,
    EventsAnswer,
    Reload,
    Reloading,
    Scale,
    StopServer,
    read_request,
    to_line,
)

if TYPE_CHECKING:
    from tiny_listener.events import questions

    from ..admin.status import Status

__all__ = ["Commanded", "Control", "obey"]

logger = logging.getLogger("tiny_listener.supervisor")

CAUSE = "tiny-listenerctl"
MAX_CLIENTS = 32
"""Clients at the same time. More wait in the kernel's queue, or are refused."""
UCRED = struct.Struct("=iII")
"""ucred of unix(7): process, user, group."""


class Commanded(Protocol):
    """The server that requests control."""

    def status(self) -> Status:
        """Return the status."""

    async def refresh(self) -> None:
        """Bring what `status` shows of events up to date."""

    async def ask(self, question: questions.Question) -> questions.Answer:
        """Ask the carrier of published events."""

    def reload(self, cause: str) -> str | None:
        """Replace every worker; return None, or why not."""

    def scale(self, wanted: int, cause: str) -> str | None:
        """Set the number of workers; return None, or why not."""

    def stop(self, *, at_once: bool = False) -> None:
        """Stop, gracefully unless `at_once`."""

    def dump(self) -> int:
        """Make the workers write their stacks; return how many workers there are."""


def may_command(user: int, owner: int) -> bool:
    """Whether a user may control the server of another."""
    return user in (0, owner)


async def obey(commanded: Commanded, request: ControlRequest) -> Answer:
    """Execute a request."""
    refusal: str | None
    match request:
        case AskStatus():
            await commanded.refresh()
            return commanded.status()
        case AskEvents():
            return EventsAnswer(await commanded.ask(request.question))
        case Reload():
            refusal = commanded.reload(CAUSE)
            if refusal is None:
                return Reloading(commanded.status().version)
            return Denied(refusal)
        case Scale():
            refusal = commanded.scale(request.workers, CAUSE)
            done = f"scaling to {workers_in_words(request.workers)}"
        case StopServer():
            logger.info("%s: stopping%s", CAUSE, " at once" if request.at_once else "")
            commanded.stop(at_once=request.at_once)
            when = "at once" if request.at_once else "once everything in flight has finished"
            refusal, done = None, f"the server stops {when}"
        case Dump():
            refusal, done = None, f"{workers_in_words(commanded.dump())} told to write stacks to the server's log"
    return Done(done) if refusal is None else Denied(refusal)


class Control:
    """Listens on the control socket, in the supervisor's loop.

    :param path: of the socket; None: the default path
    :param rights: the rights with which its file is created and removed
    """

    def __init__(self, path: str | None = None, rights: Rights | None = None) -> None:
        self._path = path
        self._rights = rights or Rights()
        self._unix: UnixSocket | None = None
        self._server: Any = None
        self._clients = 0

    async def start(self, commanded: Commanded) -> None:
        """Listen.

        :raises CannotLoad: the path is not available, and was given explicitly
        """
        self._commanded = commanded
        try:
            path = self._path or self._usual_place()
            self._unix = self._rights.listen(path, MAX_CLIENTS, 0o600)
        except (OSError, CannotLoad) as exc:
            text = (getattr(exc, "strerror", None) or str(exc)).replace("--uds", "--control-socket")
            if getattr(exc, "filename", None):  # its folder cannot be created
                text = f"{exc.filename}: {text}"  # type: ignore[union-attr]
            if self._path is not None:
                raise ListenError(getattr(exc, "errno", 0), text) from None
            logger.warning("No control socket: %s; or choose another path with --control-socket", text)
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._protocol, sock=self._unix.sock)
        logger.debug("The control socket is %s", path)

    def _usual_place(self) -> str:
        user = os.geteuid()
        sweep = self._rights.are_roots(str(control_folder(os.environ, user) / "socket"))
        return str(own_socket(os.environ, user, os.getpid(), sweep=sweep))

    def stop(self) -> None:
        """Close the socket and remove its file."""
        if self._unix is not None:
            self._rights.remove(self._unix)
        if self._server is not None:
            self._server.close()

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = asyncio.StreamReader(limit=REQUEST_LIMIT)
        return asyncio.StreamReaderProtocol(reader, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(TIME_LIMIT):
                    writer.write(to_line(await self._answer(reader, writer)))
                    await writer.drain()
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
        sock = writer.get_extra_info("socket")
        pid, user, _ = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size))
        try:
            # Read first, even if refused: closing a socket with unread bytes resets it before the answer is read.
            line = await reader.readuntil(b"\n")
            if not may_command(user, os.geteuid()):
                logger.warning("Control socket: refused user %d (pid %d)", user, pid)
                return Denied(f"user {user} may not control this server; user {os.geteuid()} and root may")
            if self._clients > MAX_CLIENTS:
                return Denied(f"more than {MAX_CLIENTS} clients at once; try again")
            return await obey(self._commanded, read_request(line))
        except asyncio.LimitOverrunError:
            return Denied(f"a request is one line of at most {REQUEST_LIMIT} bytes")
        except (asyncio.IncompleteReadError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            why = "it is incomplete" if isinstance(exc, asyncio.IncompleteReadError) else str(exc)
            return Denied(f"this version of tiny-listener does not understand the request: {why}")
