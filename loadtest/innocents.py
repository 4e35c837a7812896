"""Clients that ask and read as they should, and hold each answer against what it must be, byte for byte, in order."""

from __future__ import annotations

import asyncio
import random
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Innocents", "Place"]

DATE = re.compile(rb"\r\ndate: [^\r]+\r\n")
PATIENCE = 20.0
"""Seconds within which an answer must be there."""


@dataclass(frozen=True)
class Place:
    """Where the server is.

    :ivar path: of a unix socket; None: at a port of the loopback interface
    :ivar tls: how to speak TLS, where that is spoken
    """

    port: int = 0
    path: str | None = None
    tls: ssl.SSLContext | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        if self.path is not None:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.tls)


def head(status: str, kind: str, framing: str) -> bytes:
    """Return the head of an answer, without its date."""
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n".encode()


def whole(status: str, kind: str, body: bytes) -> bytes:
    """Return an answer with a length."""
    return head(status, kind, f"content-length: {len(body)}") + body


TEXT = "text/plain; charset=utf-8"


def asked(choice: random.Random) -> tuple[list[bytes], bytes]:
    """Return the pieces of a request of some kind, and its answer without the date."""
    token = f"{choice.randrange(1 << 40):010x}"
    kind = choice.choice(("plain", "wait", "json", "echo", "chunked", "stream", "refused", "missing"))
    end = b" HTTP/1.1\r\nHost: innocent\r\n"
    if kind == "echo":
        body = token.encode() * choice.randrange(1, 400)
        ask = b"POST /echo" + end + b"Content-Length: %d\r\n\r\n" % len(body)
        return [ask, body], whole("200 OK", "application/octet-stream", body)
    if kind == "chunked":
        body = token.encode()
        ask = b"POST /echo" + end + b"Transfer-Encoding: chunked\r\n\r\n"
        chunks = [b"1\r\n%c\r\n" % byte for byte in body]
        return [ask, *chunks, b"0\r\n\r\n"], whole("200 OK", "application/octet-stream", body)
    ask = f"GET /{kind}/{token}".encode() + end + b"\r\n"
    if kind == "plain":
        return [ask], whole("200 OK", TEXT, f"plain {token}".encode())
    if kind == "wait":
        return [ask], whole("200 OK", TEXT, f"waited {token}".encode())
    if kind == "json":
        return [ask], whole("200 OK", "application/json", f'{{"token":"{token}"}}'.encode())
    if kind == "refused":
        return [ask], whole("409 Conflict", TEXT, f"refused {token}\n".encode())
    if kind == "missing":
        return [ask], whole("404 Not Found", TEXT, b"Page Not Found\n")
    pieces = [f"{token} {number}\n".encode() for number in range(3)]
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return [ask], head("200 OK", TEXT, "transfer-encoding: chunked") + b"".join(chunks) + b"0\r\n\r\n"


@dataclass
class Innocents:
    """What came of the innocents' requests.

    :ivar wanted: requests that are to be sent, in all
    """

    wanted: int
    sent: int = 0
    answered: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    async def run(self, place: Place, clients: int, seed: int) -> None:
        """Ask until all that is wanted was sent."""
        await asyncio.gather(*(self._client(place, random.Random(f"{seed} {number}")) for number in range(clients)))

    async def _client(self, place: Place, choice: random.Random) -> None:
        while self.sent < self.wanted:
            try:
                reader, writer = await asyncio.wait_for(place.connect(), PATIENCE)
            except (OSError, TimeoutError) as exc:
                self.faults[f"no connection: {type(exc).__name__}"] += 1
                return
            try:
                for _ in range(choice.choice((1, 3, 50))):
                    if not await self._ask(reader, writer, choice):
                        break
            finally:
                writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, choice: random.Random) -> bool:
        """Send some requests, pipelined, and read their answers; return whether all was right."""
        count = choice.choice((1, 1, 1, 2, 8))
        self.sent += count
        requests = [asked(choice) for _ in range(count)]
        expected = b"".join(answer for _, answer in requests)
        try:
            if choice.random() < 0.5:
                writer.write(b"".join(piece for pieces, _ in requests for piece in pieces))
            else:
                for pieces, _ in requests:
                    for piece in pieces:
                        writer.write(piece)
                        await writer.drain()
            async with asyncio.timeout(PATIENCE):
                got = await _read(reader, len(expected), count)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, EOFError) as exc:
            self.faults[f"lost: {type(exc).__name__}"] += count
            return False
        if got != expected:
            self.faults[f"wrong: {got[:200]!r} in place of {expected[:200]!r}"] += 1
            return False
        self.answered += count
        return True


async def _read(reader: asyncio.StreamReader, size: int, dates: int) -> bytes:
    """Return the bytes of some answers, without their dates."""
    got = b""
    while True:
        stripped, found = DATE.subn(b"\r\n", got)
        if found >= dates and len(stripped) >= size:
            return stripped
        piece = await reader.read(65536)
        if not piece:
            raise EOFError(f"the connection ended after {got!r}")
        got += piece
