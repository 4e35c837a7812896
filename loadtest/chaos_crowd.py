"""What a crowd notices while a server's workers are replaced, scaled, recycled, told to stop and killed.

    python loadtest/chaos_crowd.py [--scenarios NAME,...] [--seconds 30] [--workers 4] [--steady 2000] [--idle 10000]
                                   [--datagrams 20] [--seed N]

Steady clients keep their connection and ask about once a second. Idle ones do nothing for three seconds or more and
then ask, each at some moment of the four seconds after a disturbance: while a worker drains its idle connections.
Others send datagrams, each of which is to be answered. A client that finds its connection closed opens another, as
pools of connections do. A request on a connection is answered; or it is closed, when the client sent it in the instant
in which the server said that it closes, and nothing of an answer came: RFC 9112 section 9.3.1 lets it ask again; or it
is lost: reset, refused, late after ten seconds, or cut off. Prints Markdown, and the seed; exit code 1 when anything is
lost that a killed worker did not have in flight, or a steady client ever found a request unanswered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from arguments import MAX_CLIENTS, SECONDS, WORKERS, Arguments, Number
from chaos import Disturb, Server, hang_up, kill_a_worker, nothing, scale, workers_of
from environment import describe
from processes import free_port, running

LATE = 10.0
"""Seconds without an answer after which a client gives up."""
ASLEEP = 3.0
"""Seconds for which idle clients do nothing, at least."""
SPREAD = 4.0
"""Seconds after a disturbance, in which idle clients wake up."""
PAUSE = 6.0
"""Seconds between two disturbances: each is over, and idle clients have slept, before the next."""
REQUEST = b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n"
KINDS = ("steady", "idle", "datagrams")


def end_a_worker(server: Server, count: int) -> None:
    """Send TERM to one of the workers, another each time."""
    workers = workers_of(server.pid)
    if workers:
        os.kill(workers[count % len(workers)], signal.SIGTERM)


@dataclass(frozen=True)
class Scenario:
    """How the server is disturbed.

    :ivar kills: whether what killed workers had in flight may be lost
    """

    title: str
    disturb: Disturb
    options: tuple[str, ...] = ()
    kills: bool = False


SCENARIOS = {
    "none": Scenario("none", nothing),
    "reload": Scenario("HUP", hang_up),
    "scale": Scenario("TTIN and TTOU in turns", scale),
    "recycle": Scenario(
        "workers end after 3,000 requests", nothing, ("--max-requests", "3000", "--max-requests-jitter", "500")
    ),
    "term": Scenario("TERM of a worker", end_a_worker),
    "kill": Scenario("SIGKILL of a worker", kill_a_worker, kills=True),
}


@dataclass
class Tally:
    """What became of the requests of one kind of clients, by outcome: answered, closed, reset, refused, late, cut."""

    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """Requests that had an end which nobody should see."""
        return self.outcomes.total() - self.outcomes["answered"] - self.outcomes["closed"]


class Client(asyncio.Protocol):
    """A client of HTTP that keeps its connection."""

    def __init__(self, port: int, tally: Tally) -> None:
        self._port = port
        self._tally = tally
        self._transport: Any = None
        self._answer: asyncio.Future[str] | None = None
        self._received = b""

    async def ask(self) -> None:
        """Send a request, and wait for what becomes of it."""
        try:
            if self._transport is None:
                loop = asyncio.get_running_loop()
                await asyncio.wait_for(loop.create_connection(lambda: self, "127.0.0.1", self._port), LATE)
        except ConnectionRefusedError:
            self._tally.outcomes["refused"] += 1
            return
        except (OSError, TimeoutError):
            self._tally.outcomes["late"] += 1
            return
        self._answer = asyncio.get_running_loop().create_future()
        self._received = b""
        self._transport.write(REQUEST)
        try:
            self._tally.outcomes[await asyncio.wait_for(self._answer, LATE)] += 1
        except TimeoutError:
            self._tally.outcomes["late"] += 1
            self._transport.abort()
        self._answer = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if end and body == b"Welcome!":
            if b"\nconnection: close\r" in head + b"\r":
                self._leave()
            self._end("answered")

    def eof_received(self) -> bool:
        """See `asyncio.Protocol`."""
        self._leave()
        self._end("cut" if self._received else "closed")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._transport is not None:
            self._transport = None
            self._end("reset" if exc is not None else "closed")

    def _leave(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def _end(self, outcome: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)


class Sender(asyncio.DatagramProtocol):
    """A client of datagrams that waits for the answer to each."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport

    async def ask(self, data: bytes, tally: Tally) -> None:
        """Send a datagram, and wait for its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.sendto(data)
        try:
            while await asyncio.wait_for(asyncio.shield(self._answer), LATE) != data:
                self._answer = asyncio.get_running_loop().create_future()
            tally.outcomes["answered"] += 1
        except TimeoutError:
            tally.outcomes["late"] += 1
        except OSError:
            tally.outcomes["refused"] += 1

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """See `asyncio.DatagramProtocol`."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        """See `asyncio.DatagramProtocol`."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc)


class Crowd:
    """All clients of a run.

    :param ports: of HTTP, and of datagrams
    :param sizes: how many clients of each kind, in the order of KINDS
    """

    def __init__(self, ports: tuple[int, int], sizes: tuple[int, int, int], seed: int) -> None:
        self._ports = ports
        self._sizes = dict(zip(KINDS, sizes, strict=True))
        self._chance = random.Random(seed)
        self.tallies = {kind: Tally() for kind in KINDS}
        self._over = False
        self._disturbed = asyncio.Event()

    async def run(self, disturb: Any, seconds: float) -> None:
        """Send requests for this number of seconds while the server is disturbed."""
        http, udp = self._ports
        idle = [Client(http, self.tallies["idle"]) for _ in range(self._sizes["idle"])]
        for at in range(0, len(idle), 200):  # a queue of connections has an end
            await asyncio.gather(*(client.ask() for client in idle[at : at + 200]))
        asking = [asyncio.create_task(self._steady(http)) for _ in range(self._sizes["steady"])]
        asking += [asyncio.create_task(self._datagrams(udp)) for _ in range(self._sizes["datagrams"])]
        end = time.monotonic() + seconds
        await asyncio.sleep(ASLEEP)
        while True:
            await asyncio.to_thread(disturb)
            await asyncio.gather(*(self._wake(client) for client in idle))
            if time.monotonic() > end:
                break
            await asyncio.sleep(max(ASLEEP, PAUSE - SPREAD))
        self._over = True
        await asyncio.gather(*asking)

    async def _wake(self, client: Client) -> None:
        await asyncio.sleep(self._chance.uniform(0, SPREAD))
        await client.ask()

    async def _steady(self, port: int) -> None:
        client = Client(port, self.tallies["steady"])
        while not self._over:
            await asyncio.sleep(self._chance.uniform(0.5, 1.5))
            await client.ask()

    async def _datagrams(self, port: int) -> None:
        sender = Sender()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: sender, remote_addr=("127.0.0.1", port))
        number = 0
        with contextlib.closing(transport):
            while not self._over:
                await asyncio.sleep(self._chance.uniform(0.05, 0.15))
                number += 1
                await sender.ask(b"%d" % number, self.tallies["datagrams"])


HEAD = """\
| disturbance | times | steady: answered | closed | lost | idle: answered | closed | lost | datagrams: answered | lost | in flight |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""  # noqa: E501 - a table


def measure(scenario: Scenario, options: Any) -> tuple[list[str], list[str]]:
    """Run a server and its crowd; return the line of the table, and what is wrong."""
    port, admin, udp = free_port(), free_port(), free_port()
    os.environ |= {"CROWD_UDP_PORT": str(udp), "LOAD_TCP_PORT": str(udp)}
    command = [
        sys.executable, "-m", "tiny_listener", "--app-dir", "loadtest/servers", "--port", str(port), "--workers",
        str(options.workers), "--admin-port", str(admin), "--log-level", "critical", *scenario.options, "crowd:app",
    ]  # fmt: skip
    times = 0
    with running(command, port) as process:
        server = Server(process.pid, port)

        def disturb() -> None:
            nonlocal times
            scenario.disturb(server, times)
            times += 1

        crowd = Crowd((port, udp), (options.steady, options.idle, options.datagrams), options.seed)
        asyncio.run(crowd.run(disturb, options.seconds))
    steady, idle, datagrams = (crowd.tallies[kind] for kind in KINDS)
    cells = [times]
    for tally in (steady, idle):
        cells += [tally.outcomes["answered"], tally.outcomes["closed"], tally.lost]
    cells += [datagrams.outcomes["answered"], datagrams.lost, server.in_flight]
    faults = []
    # A datagram in flight in a killed worker is not a connection: at most one for each kill and sender.
    may_lose = server.in_flight + times * options.datagrams if scenario.kills else 0
    if (steady.lost + idle.lost + datagrams.lost) > may_lose:
        faults.append(f"{scenario.title}: more than {may_lose} lost: {crowd.tallies}")
    if not all(tally.outcomes["answered"] for tally in crowd.tallies.values()):
        faults.append(f"{scenario.title}: nobody was answered: {crowd.tallies}")
    return [f"| {scenario.title} | {' | '.join(f'{cell:,}' for cell in cells)} |"], faults


def main() -> int:
    """Measure and print; return the exit code."""
    parser = Arguments(__doc__)
    parser.add_argument("--scenarios", help=f"some of {', '.join(SCENARIOS)}, with commas between")
    parser.add_argument("--seconds", type=SECONDS, default=30.0, help="of each measurement")
    parser.add_argument("--workers", type=WORKERS, default=4)
    parser.add_argument("--steady", type=Number(1, MAX_CLIENTS), default=2000)
    parser.add_argument("--idle", type=Number(1, MAX_CLIENTS), default=10_000)
    parser.add_argument("--datagrams", type=Number(1, 1000), default=20, help="clients that send them")
    parser.add_argument("--seed", type=Number(0, 2**32), default=random.randrange(2**32))
    options = parser.parse_args()
    wanted = options.scenarios.split(",") if options.scenarios else list(SCENARIOS)
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = options.steady + options.idle + options.datagrams + 100
    if hard != resource.RLIM_INFINITY and hard < needed:
        parser.error(f"these clients need {needed:,} file descriptors, and RLIMIT_NOFILE is {hard:,}: use fewer")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    print(
        f"{options.workers} workers, {options.seconds:g} s each, a disturbance every {PAUSE + ASLEEP:g} s or so; "
        f"{options.steady:,} steady clients, {options.idle:,} idle ones, {options.datagrams} that send datagrams; "
        f"seed {options.seed}; {describe(sys.executable)}\n\n{HEAD}",
        flush=True,
    )
    faults: list[str] = []
    for name in wanted:
        lines, wrong = measure(SCENARIOS[name], options)
        print("\n".join(lines), flush=True)
        faults += wrong
    print("\n".join(["", *faults]))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
