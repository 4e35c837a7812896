"""Requests at a fixed rate, whatever the server does, and how long each took from when it was due.

    python open_loop.py PORT [--rate 10000] [--seconds 5] [--connections 64]

A client that waits for an answer before it asks again asks less while the server is slow, and never sees what others
would have waited for (coordinated omission). Here a request is due when the clock says so; one for which no
connection is free waits, and that time counts. Without --rate every connection asks as fast as it is answered, which
gives the most that this client and the server do together. Prints a line of JSON; times are in microseconds.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
from time import perf_counter
from typing import Any

import uvloop
from arguments import MAX_CLIENTS, PORT, SECONDS, Arguments, Decimal, Number
from hdrh.histogram import HdrHistogram

REQUEST = b"GET /user/Bob HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
GREATEST = 60_000_000
"""The longest time that the histogram has a place for: a minute."""
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
GRACE = 5.0
"""Seconds that answers may take after the last request is due."""


class Load:
    """The requests of one run.

    :param rate: requests per second; None: as many as there can be
    :ivar late: seconds from when requests were due to when they were sent
    :ivar took: seconds from when requests were due to their answers
    """

    def __init__(self, rate: float | None, seconds: float) -> None:
        self.rate = rate
        self.seconds = seconds
        self.idle: list[Client] = []
        self.late: list[float] = []
        self.took: list[float] = []
        self.asked = 0
        self.failures = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def begin(self) -> None:
        """Send what is due, from now on."""
        self.began = perf_counter()
        self.limit = math.inf if self.rate is None else int(self.rate * self.seconds)
        self._send()

    def _send(self) -> None:
        now = perf_counter()
        passed = now - self.began
        over = passed >= self.seconds
        due = self.limit if self.rate is None or over else int(passed * self.rate) + 1
        while self.asked < due and self.idle and not (over and self.rate is None):
            client = self.idle.pop()
            client.due = now if self.rate is None else self.began + self.asked / self.rate
            self.late.append(now - client.due)
            self.asked += 1
            client.transport.write(REQUEST)
        if not over or (len(self.took) + self.failures < self.asked and passed < self.seconds + GRACE):
            asyncio.get_running_loop().call_soon(self._send)
        else:
            self.done.set_result(None)


class Client(asyncio.Protocol):
    """One connection, which has one request at a time.

    :ivar due: when its request was to be sent
    """

    transport: Any
    due = 0.0

    def __init__(self, load: Load, ready: asyncio.Future[int]) -> None:
        self._load = load
        self._ready = ready
        self._size = 0  # of a response; all have the same, once the first has told
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        self.transport = transport
        self.transport.write(REQUEST)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._received:
            data = self._received + data
        if len(data) < self._size:
            self._received = data
            return
        self._received = b""
        load = self._load
        if not self._size:
            if b"\r\n\r\n" not in data or not data.endswith(b"Hello, Bob!"):
                self._received = data
                return
            self._size = len(data)
            self._ready.set_result(self._size)
        elif len(data) == self._size and data.startswith(b"HTTP/1.1 200 "):
            load.took.append(perf_counter() - self.due)
        else:
            load.failures += 1
        load.idle.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`: a server may not close these."""
        self._load.failures += 1


def summary(seconds: list[float]) -> dict[str, float]:
    """Return the percentiles of some times, in microseconds."""
    histogram: Any = HdrHistogram(1, GREATEST, 3)
    for one in seconds:
        histogram.record_value(min(GREATEST, max(1, round(one * 1e6))))
    values = {f"p{percentile:g}": histogram.get_value_at_percentile(percentile) for percentile in PERCENTILES}
    return {**values, "max": histogram.get_max_value()}


async def run(port: int, rate: float | None, seconds: float, connections: int) -> dict[str, Any]:
    """Connect, ask, and return what came of it."""
    loop = asyncio.get_running_loop()
    load = Load(rate, seconds)
    clients = []
    for _ in range(connections):
        ready: asyncio.Future[int] = loop.create_future()
        clients.append(Client(load, ready))
        await loop.create_connection(lambda: clients[-1], "127.0.0.1", port)
        await ready
    gc.collect()
    gc.freeze()
    gc.disable()
    load.begin()
    await load.done
    elapsed = perf_counter() - load.began
    result = {
        "rate": len(load.took) / (elapsed if rate is None else seconds),
        "asked": load.asked,
        "failed": load.asked - len(load.took),
        "latency": summary(load.took),
        "late": summary(load.late),
    }
    for client in clients:
        client.transport.abort()
    return result


def main() -> None:
    """Run, print, end."""
    parser = Arguments(__doc__)
    parser.add_argument("port", type=PORT)
    parser.add_argument("--rate", type=Decimal(0.1, 10**7))
    parser.add_argument("--seconds", type=SECONDS, default=5.0)
    parser.add_argument("--connections", type=Number(1, MAX_CLIENTS), default=64)
    options = parser.parse_args()
    result = uvloop.run(run(options.port, options.rate, options.seconds, options.connections))
    json.dump(result, sys.stdout)
    print()


if __name__ == "__main__":
    main()
