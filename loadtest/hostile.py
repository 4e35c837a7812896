"""Innocent clients among hostile ones: whether they notice, and what is left when both are gone.

    python loadtest/hostile.py [--requests 100000] [--seed N] [--only NAME,...] [--clients 24] [--attackers 12]

Each configuration is a server of its own: on uvloop or asyncio, with 1 or 3 workers, with and without an access log,
over TCP, TLS, or a unix socket. Innocents hold each answer against what it must be, byte for byte, in order. Afterwards
the server must be as it was: connections, requests in flight, tasks, descriptors. Its log may have one line for each
hostile act, and no traceback but an application's. TERM must end it within 4 s. Prints the seed, and Markdown, and
leaves that in loadtest/results/, with the log of each server where anything was noticed; then the exit code is 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from arguments import Arguments, Number
from attacks import Attackers
from innocents import Innocents, Place
from processes import free_port

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMITS = (
    "--header-timeout=2",
    "--body-timeout=2",
    "--write-timeout=2",
    "--keep-alive-timeout=30",
    "--linger-time=1",
    "--linger-timeout=0.5",
)
PATIENCE = 30.0
"""Seconds within which a server must be as it was."""
TERM_LIMIT = 4.0
"""Seconds within which it must end."""
ACCESS = re.compile(r'^INFO:     \S+ - "')
WORDS = ("never retrieved", "never awaited", "was destroyed", "it is closed", "socket.send() raised", "WARNING")
"""Of log lines that no hostile act may cause."""
FAILURE = re.compile(r"^ERROR:    Event '.*' failed in ")


@dataclass(frozen=True)
class Configuration:
    """How a server runs."""

    loop: str
    workers: int
    access_log: bool
    transport: str

    @property
    def name(self) -> str:
        """What it is called."""
        log = "-log" if self.access_log else ""
        return f"{self.loop}-{self.workers}-{self.transport}{log}"


CONFIGURATIONS = [
    Configuration(loop, workers, log, transport)
    for transport, loop, workers, log in itertools.product(
        ("tcp", "tls", "unix"), ("uvloop", "asyncio"), (1, 3), (False, True)
    )
]


@dataclass
class Verdict:
    """What came of one configuration."""

    configuration: Configuration
    answered: int
    acts: int
    seconds: float
    faults: list[str]
    log: list[str]

    def row(self) -> str:
        """Return a row of a Markdown table."""
        said = "; ".join(self.faults) or "nothing"
        return f"| {self.configuration.name} | {self.answered:,} | {self.acts:,} | {self.seconds:.0f} s | {said} |"


@contextlib.contextmanager
def certificate(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Make a certificate of 127.0.0.1."""
    files = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-out", str(files[0]), "-keyout", str(files[1])], check=True, capture_output=True, timeout=60
    )
    yield files


class Server:
    """A server of one configuration, and its log."""

    def __init__(self, configuration: Configuration, folder: Path) -> None:
        self._log = folder / "log"
        self.workers = configuration.workers
        options = [*LIMITS, "--workers", str(configuration.workers), "--no-metrics", "--admin-port", "0"]
        options += ["--control-socket", ""] if configuration.workers > 1 else []
        if configuration.access_log:
            options.append("--access-log")
        port, path, tls = free_port(), None, None
        if configuration.transport == "unix":
            path = str(folder / "socket")
            options += ["--uds", path]
        else:
            options += ["--port", str(port)]
        if configuration.transport == "tls":
            with certificate(folder) as (cert, key):
                options += ["--ssl-certfile", str(cert), "--ssl-keyfile", str(key)]
            tls = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        self.place = Place(port, path, tls)
        command = [sys.executable, "-m", "tiny_listener", "--app-dir", str(HERE / "servers"), *options, "hostile:app"]
        environment = {**os.environ, "HOSTILE_LOOP": configuration.loop, "PYTHONPATH": os.pathsep.join(sys.path)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    @property
    def log(self) -> list[str]:
        """The lines that it wrote."""
        return self._log.read_text(errors="replace").splitlines()

    async def ready(self) -> None:
        """Return when it serves."""
        deadline = time.monotonic() + 30
        while not any(" listens on " in line for line in self.log):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the server does not start:\n" + "\n".join(self.log))
            await asyncio.sleep(0.05)
        await self.states()

    async def states(self) -> dict[int, dict[str, int]]:
        """Return what each worker has."""
        found: dict[int, dict[str, int]] = {}
        for _ in range(500):
            try:
                reader, writer = await self.place.connect()
                writer.write(b"GET /state HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = await asyncio.wait_for(reader.read(), 20)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            state = msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=dict[str, int])
            found[state.pop("pid")] = state
            if len(found) == self.workers:
                return found
        raise RuntimeError(f"only {len(found)} workers answer")

    def end(self) -> float:
        """End it; return how many seconds that took."""
        began = time.monotonic()
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return time.monotonic() - began

    @property
    def code(self) -> int | None:
        """The exit code, if it has ended."""
        return self._process.poll()


def read_log(lines: list[str], acts: int) -> list[str]:
    """Return what is wrong with a log."""
    faults = []
    events = [line for line in lines if line and not line[0].isspace() and not ACCESS.match(line)]
    if len(events) > acts + 50:
        faults.append(f"{len(events)} lines in the log for {acts} hostile acts")
    last = ""
    for line in lines:
        if "Traceback (most recent call last)" in line and not FAILURE.match(last):
            faults.append(f"a traceback that is not an application's, below {last!r}")
            break
        if line and not line[0].isspace():
            last = line
    for word in WORDS:
        faults += [f"in the log: {line!r}" for line in [line for line in lines if word in line][:1]]
    return faults


def grown(before: dict[int, dict[str, int]], after: dict[int, dict[str, int]]) -> list[str]:
    """Return what workers have now that they had not before."""
    if before.keys() != after.keys():
        return [f"workers {sorted(before)} are {sorted(after)} now"]
    return [
        f"{name} of {pid}: {state[name]} became {after[pid][name]}"
        for pid, state in before.items()
        for name in state
        if after[pid][name] > state[name]
    ]


async def try_one(configuration: Configuration, *, requests: int, clients: int, attackers: int, seed: int) -> Verdict:
    """Let innocents and attackers at a server."""
    began = time.monotonic()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        server = Server(configuration, Path(folder))
        innocents, hostile = Innocents(requests), Attackers()
        try:
            await server.ready()
            warm = Innocents(200)
            await warm.run(server.place, clients, seed + 1)
            before = await server.states()
            attacking = asyncio.ensure_future(hostile.run(server.place, attackers, seed))
            await innocents.run(server.place, clients, seed)
            hostile.stop()
            await attacking
            faults += [f"{count} x {fault}" for fault, count in innocents.faults.items()]
            deadline = time.monotonic() + PATIENCE
            while more := grown(before, await server.states()):
                if time.monotonic() > deadline:
                    faults += more
                    break
                await asyncio.sleep(0.2)
        except RuntimeError as exc:
            faults.append(str(exc))
        finally:
            took = await asyncio.to_thread(server.end)
        if took > TERM_LIMIT:
            faults.append(f"TERM took {took:.1f} s")
        if server.code != 0:
            faults.append(f"it ended with code {server.code}")
        log = server.log
    faults += read_log(log, hostile.count)
    return Verdict(configuration, innocents.answered, hostile.count, time.monotonic() - began, faults, log)


def main() -> int:
    """Try the configurations; return the exit code."""
    parser = Arguments(__doc__)
    requests = Number(1, 100_000_000)
    parser.add_argument("--requests", type=requests, default=100_000, help="of innocents, for each configuration")
    parser.add_argument("--seed", type=Number(0, 10**9), default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--only", default="", help="names of configurations, with commas between")
    parser.add_argument("--clients", type=Number(1, 1000), default=24, help="innocents at a time")
    parser.add_argument("--attackers", type=Number(0, 1000), default=12, help="at a time")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    known = {configuration.name: configuration for configuration in CONFIGURATIONS}
    if unknown := [name for name in names if name not in known]:
        parser.error(f"--only: there is no {unknown[0]!r}; there are {', '.join(known)}")
    lines = [f"Seed {options.seed}.", "", "| server | requests answered | hostile acts | took | noticed |"]
    lines.append("|---|---|---|---|---|")
    print("\n".join(lines), flush=True)
    failed = False
    RESULTS.mkdir(exist_ok=True)
    for name in names or known:
        verdict = asyncio.run(
            try_one(
                known[name],
                requests=options.requests,
                clients=options.clients,
                attackers=options.attackers,
                seed=options.seed,
            )
        )
        lines.append(verdict.row())
        print(lines[-1], flush=True)
        if verdict.faults:
            failed = True
            (RESULTS / f"hostile-{name}.log").write_text("\n".join(verdict.log) + "\n")
    (RESULTS / "hostile.md").write_text("\n".join(lines) + "\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
