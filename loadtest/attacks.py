"""Hostile acts of clients, each of one connection or a few, and each bounded in time."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from innocents import Place

__all__ = ["ACTS", "Attackers"]

HOST = b"Host: hostile\r\n"
HELD = 1.0
"""Seconds for which a connection is held at most."""
KINDS = ("own", "generator", "exit", "interrupt", "cancelled", "recursion", "memory", "value")

Streams: TypeAlias = "tuple[asyncio.StreamReader, asyncio.StreamWriter]"
Act: TypeAlias = "Callable[[Place, random.Random], Awaitable[int]]"
"""Does something hostile; returns how many acts it counts as."""


def get(target: str, fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    """Return a request."""
    return b"GET " + target.encode() + b" HTTP/" + version + b"\r\n" + HOST + fields + b"\r\n"


def leave(writer: asyncio.StreamWriter, choice: random.Random) -> None:
    """Close in one of the ways that there are."""
    sock = writer.get_extra_info("socket")
    if choice.random() < 0.6 and sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


async def _drink(reader: asyncio.StreamReader, seconds: float) -> bytes:
    got = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(seconds):
            while piece := await reader.read(65536):
                got += piece
    return got


TARGETS = (
    "/plain/x", "/wait/x", "/stream/x", "/events", "/large", "/nothing", "/raise-late/own", "/trap", "/cancel-later",
)  # fmt: skip


async def leaves_at_any_moment(place: Place, choice: random.Random) -> int:
    """Send a part of a request, or all of it, wait for a moment or not, and leave."""
    _, writer = await place.connect()
    data = get(choice.choice(TARGETS)) if choice.random() < 0.7 else BODIES[choice.randrange(len(BODIES))]
    data *= choice.choice((1, 1, 5))
    writer.write(data[: choice.randrange(len(data) + 1)])
    await asyncio.sleep(choice.choice((0, 0, 0.001, 0.003, 0.01)))
    leave(writer, choice)
    return 5


BODIES = (
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"x" * 1000,
    b"POST /slow-body HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 300,
    b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 50\r\n\r\n" + b"x" * 50,
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
)


async def closes_its_side(place: Place, choice: random.Random) -> int:
    """Close one side within a head, a body, or behind a request, and read what comes."""
    reader, writer = await place.connect()
    data = choice.choice((get(choice.choice(TARGETS)), *BODIES))
    writer.write(data[: choice.randrange(len(data) + 1)])
    if writer.can_write_eof():
        writer.write_eof()
    await _drink(reader, HELD)
    leave(writer, choice)
    return 1


async def reads_nothing(place: Place, choice: random.Random) -> int:
    """Ask for much and take nothing of it."""
    _, writer = await place.connect()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    target = choice.choice(("/large", "/blob"))
    writer.write(get(target) * (3 if target == "/large" else 300))
    await asyncio.sleep(choice.random() * HELD)
    leave(writer, choice)
    return 1


async def sends_slowly(place: Place, choice: random.Random) -> int:
    """Send a head, or a body, a byte at a time."""
    _, writer = await place.connect()
    data = choice.choice((get("/plain/x", b"A: " + b"b" * 200 + b"\r\n"), BODIES[0], BODIES[1]))
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(HELD):
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.001)
    leave(writer, choice)
    return 2


MALFORMED = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 1000000000\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\nContent-Length: 1000000000\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\nPRI * HTTP/2.0\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 100,
    b"GET /" + b"a" * 20_000,
    b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000,
    b"G\nE\nT\n\n",
)


async def breaks_the_protocol(place: Place, choice: random.Random) -> int:
    """Send something that is not a request, after a valid one or alone."""
    reader, writer = await place.connect()
    data = choice.choice(MALFORMED)
    if choice.random() < 0.3:
        data = bytes(choice.randrange(256) if choice.random() < 0.02 else byte for byte in data)
    writer.write(choice.choice((b"", get("/plain/x"), get("/wait/x"))) + data)
    await _drink(reader, choice.choice((0.0, 0.05)))
    leave(writer, choice)
    return 2


FAILING = (
    *(f"/raise/{kind}" for kind in KINDS),
    *(f"/raise-late/{kind}" for kind in KINDS),
    *(f"/raise-in-stream/{kind}" for kind in KINDS),
    *(f"/short/{kind}" for kind in ("item", "text", "end")),
    *(f"/unsendable/{kind}" for kind in ("surrogate", "late", "object", "header")),
    "/trap",
)


async def makes_handlers_fail(place: Place, choice: random.Random) -> int:
    """Ask for what handlers and streams fail at, in all ways."""
    reader, writer = await place.connect()
    count = choice.choice((1, 1, 4))
    writer.write(b"".join(get(choice.choice(FAILING)) for _ in range(count)))
    await _drink(reader, choice.choice((0.0, 0.002, 0.05)))
    leave(writer, choice)
    return count


async def makes_handlers_cancel(place: Place, choice: random.Random) -> int:
    """Ask for what cancels or keeps tasks, its own and later ones."""
    reader, writer = await place.connect()
    targets = ("/cancel-later", "/cancel-itself", "/keep-task", "/wait/x")
    writer.write(b"".join(get(choice.choice(targets)) for _ in range(choice.choice((1, 6)))))
    await _drink(reader, 0.03)
    leave(writer, choice)
    return 1


async def waits_for_events(place: Place, choice: random.Random) -> int:
    """Open a stream that never ends, and leave."""
    reader, writer = await place.connect()
    writer.write(get("/events"))
    await _drink(reader, choice.choice((0.0, 0.01, 0.2)))
    leave(writer, choice)
    return 1


async def comes_in_a_burst(place: Place, choice: random.Random) -> int:
    """Open many connections at once, and leave them."""
    opened = await asyncio.gather(*(place.connect() for _ in range(20)), return_exceptions=True)
    for streams in opened:
        if not isinstance(streams, BaseException):
            if choice.random() < 0.5:
                streams[1].write(get(choice.choice(TARGETS)))
            leave(streams[1], choice)
    return 20


async def pipelines_many(place: Place, choice: random.Random) -> int:
    """Send hundreds of requests at once, and read the answers or not."""
    reader, writer = await place.connect()
    writer.write(b"".join(get(choice.choice(TARGETS[:3])) for _ in range(choice.choice((50, 400)))))
    await _drink(reader, choice.choice((0.0, 0.01, 0.3)))
    leave(writer, choice)
    return 1


async def sends_small_chunks(place: Place, choice: random.Random) -> int:
    """Send a body in one-byte chunks, to who reads it and who does not."""
    reader, writer = await place.connect()
    target = choice.choice((b"/echo", b"/unread", b"/slow-body", b"/nothing"))
    writer.write(b"POST " + target + b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
    writer.write(b"1\r\na\r\n" * choice.choice((100, 20_000)))
    if choice.random() < 0.5:
        writer.write(b"0\r\n\r\n")
    await _drink(reader, choice.choice((0.0, 0.05)))
    leave(writer, choice)
    return 2


ACTS: tuple[Act, ...] = (
    leaves_at_any_moment,
    leaves_at_any_moment,
    closes_its_side,
    reads_nothing,
    sends_slowly,
    breaks_the_protocol,
    makes_handlers_fail,
    makes_handlers_cancel,
    waits_for_events,
    comes_in_a_burst,
    pipelines_many,
    sends_small_chunks,
)


class Attackers:
    """Clients that do one hostile act after the other."""

    def __init__(self) -> None:
        self.acts: Counter[str] = Counter()
        self._end = asyncio.Event()

    @property
    def count(self) -> int:
        """How many acts there were: that many lines the log may have at most."""
        return sum(self.acts.values())

    def stop(self) -> None:
        """Do nothing more."""
        self._end.set()

    async def run(self, place: Place, clients: int, seed: int) -> None:
        """Attack until told to stop."""
        await asyncio.gather(*(self._client(place, random.Random(f"{seed} attacker {n}")) for n in range(clients)))

    async def _client(self, place: Place, choice: random.Random) -> None:
        while not self._end.is_set():
            act = choice.choice(ACTS)
            counts = 1
            try:
                async with asyncio.timeout(10 * HELD):
                    counts = await act(place, choice)
            except (OSError, TimeoutError):
                pass  # the server may close when it likes
            self.acts[getattr(act, "__name__", "")] += counts
            await asyncio.sleep(0.002)
