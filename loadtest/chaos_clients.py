"""The clients of `chaos.py`, and what became of their requests: threads with plain sockets, or locust's users."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from scenarios import USERS

__all__ = ["LATE", "NEW_CONNECTION", "Client", "Clients", "Locust", "Outcomes", "Threads"]

HERE = Path(__file__).parent
LATE = 10.0
"""Seconds without a byte after which a client gives up."""
ENDS = (b"Hello, Bob!", b"piece\n" * 20)
"""How the bodies of complete responses end."""
NEW_CONNECTION = b"GET /user/Bob HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n\r\n"
KEPT = b"GET /user/Bob HTTP/1.1\r\nHost: chaos\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n\r\n"


@dataclass
class Outcomes:
    """What became of the requests of all clients.

    :ivar fresh: of those that open a new connection for each request, by outcome: answered, refused, lost, late
    :ivar kept: of those that keep their connection for as long as the server does
    :ivar streams: of those that read a response which takes five seconds
    :ivar disturbances: how often the server was disturbed meanwhile
    :ivar in_flight: connections that killed workers had accepted and not closed
    :ivar times: seconds that each request took of those that open new connections
    """

    fresh: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    disturbances: int = 0
    in_flight: int = 0
    times: list[float] = field(default_factory=list, repr=False)


class Client:
    """Asks for one path again and again, on a connection that it keeps if it may.

    :param port: of the server
    :param request: bytes to send
    """

    def __init__(self, port: int, request: bytes) -> None:
        self.port = port
        self.request = request
        self.sock: socket.socket | None = None

    def ask(self) -> str:
        """Send a request, take the response; return the outcome."""
        try:
            sock = self._connection()
            sock.sendall(self.request)
            response = HTTPResponse(sock)
            response.begin()
            body = response.read()
        except ConnectionRefusedError:
            return self._close("refused")
        except TimeoutError:
            return self._close("late")
        except (OSError, HTTPException):
            return self._close("lost")
        if response.will_close:
            self._close("")
        return "answered" if response.status == 200 and body.endswith(ENDS) else self._close("lost")

    def _connection(self) -> socket.socket:
        """Return one that the server has not closed, as far as one can see (urllib3 looks in the same way)."""
        if self.sock is not None and select.select([self.sock], [], [], 0)[0]:
            self._close("")
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.port), LATE)
        return self.sock

    def _close(self, outcome: str) -> str:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
        return outcome


class Clients:
    """Clients that ask a server, until they are told to stop.

    :ivar outcomes: of their requests, once they have stopped
    """

    def __init__(self) -> None:
        self.outcomes = Outcomes()

    @abstractmethod
    def start(self) -> None:
        """Begin."""

    @abstractmethod
    def stop(self) -> None:
        """Let them finish what they have asked for."""


class Threads(Clients):
    """`count` clients with a new connection for each request, two that keep theirs, and one that reads a stream."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__()
        self._over = threading.Event()
        outcomes = self.outcomes
        kinds = [(outcomes.fresh, NEW_CONNECTION)] * count + [(outcomes.kept, KEPT)] * 2 + [(outcomes.streams, STREAM)]
        self._tallies: list[tuple[Counter[str], Counter[str]]] = []
        self._threads = []
        for total, request in kinds:
            self._tallies.append((total, Counter()))
            arguments = Client(port, request), self._tallies[-1][1]
            self._threads.append(threading.Thread(target=self._ask, args=arguments))

    def _ask(self, client: Client, tally: Counter[str]) -> None:
        times = self.outcomes.times if client.request is NEW_CONNECTION else []
        while not self._over.is_set():
            began = time.monotonic()
            tally[client.ask()] += 1
            times.append(time.monotonic() - began)

    def start(self) -> None:
        """See `Clients`."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """See `Clients`."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        for total, tally in self._tallies:
            total.update(tally)


class Locust(Clients):
    """The users of the load tests: those that open new connections, those that read streams, and all others.

    :param scenarios: of `USERS`
    :param tcp_port: where the server takes lines
    :param seconds: how long they ask
    """

    def __init__(self, port: int, tcp_port: int, scenarios: list[str], count: int, seconds: float) -> None:
        super().__init__()
        self._port, self._tcp_port, self._count, self._seconds = port, tcp_port, count, seconds
        self._users = [name for scenario in scenarios for name in USERS[scenario]]
        self._stack = contextlib.ExitStack()

    def start(self) -> None:
        """See `Clients`."""
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        report = str(self._folder / "locust")
        command = [
            sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless", "--only-summary",
            "--host", f"http://127.0.0.1:{self._port}", "--tcp-port", str(self._tcp_port), "--loglevel", "ERROR",
            "--users", str(self._count), "--spawn-rate", str(self._count), "--run-time", f"{self._seconds:.0f}s",
            "--stop-timeout", "15", "--progress", "0", "--slo", os.devnull, "--csv", report, "--json-file", report,
            *self._users,
        ]  # fmt: skip
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._stack.callback(self._process.kill)

    def stop(self) -> None:
        """See `Clients`."""
        with self._stack:
            self._process.wait(60)
            for kind, answered, times in self._read_stats():
                kind["answered"] += answered
                if kind is self.outcomes.fresh:
                    self.outcomes.times += [ms / 1000 for ms in times.elements()]
            for kind, outcome, count in self._read_failures():
                kind[outcome] += count

    def _kind(self, method: str, name: str) -> Counter[str]:
        scenario = name.partition(" ")[0]
        if scenario == "churn":
            return self.outcomes.fresh
        return self.outcomes.streams if method == "STREAM" else self.outcomes.kept

    def _read_stats(self) -> Iterator[tuple[Counter[str], int, Counter[float]]]:
        for entry in json.loads((self._folder / "locust.json").read_text()):
            times = Counter({float(ms): count for ms, count in entry["response_times"].items()})
            kind = self._kind(entry["method"], entry["name"])
            yield kind, entry["num_requests"] - entry["num_failures"], times

    def _read_failures(self) -> Iterator[tuple[Counter[str], str, int]]:
        with (self._folder / "locust_failures.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                error = row["Error"].lower()
                outcome = "refused" if "refused" in error else "late" if "time" in error else "lost"
                print(f"  {row['Occurrences']} times: {row['Method']} {row['Name']}: {row['Error']}")
                yield self._kind(row["Method"], row["Name"]), outcome, int(row["Occurrences"])
