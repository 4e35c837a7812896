"""What clients notice while a server's workers are replaced, killed, recycled, and become more and fewer.

    python loadtest/chaos.py [--client threads|locust] [--servers NAME,...] [--scenarios NAME,...] [--seconds 60]
                             [--workers 4] [--clients 8]

Most clients open a new connection for each request, because a connection that is lost while it waits to be accepted is
what they would notice first. Two keep their connection, and one reads a slow stream. With locust they do all that the
load tests do; other servers than ours get only clients that open new connections. Every request has one outcome:
answered, refused, late, or lost (reset, or closed without a whole answer). Prints Markdown and leaves it in
loadtest/results/. Exit code 1 when ours lost a request that it need not lose: a worker that is killed takes with it
what it has in flight, which is no more than the connections that it has accepted; they are counted before it is
killed. Nothing else is ever lost.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

from arguments import MAX_CLIENTS, SECONDS, WORKERS, Arguments, Number
from chaos_clients import LATE, NEW_CONNECTION, Client, Clients, Locust, Outcomes, Threads
from environment import bench_python
from processes import free_port, running
from scenarios import USERS

HERE = Path(__file__).parent
RESULTS = HERE / "results"
OURS = "tiny-listener"
PERIOD = 1.5
"""Seconds between two disturbances."""
MAX_REQUESTS = 500
LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp."""
NO_WORKERS = ("resource_tracker", "semaphore_tracker")
"""Words in the command line of helper processes."""


def workers_of(pid: int) -> list[int]:
    """Return the children of a process that serve."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children if not any(word in _command_line(c) for word in NO_WORKERS)]


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:  # it has ended
        return ""


@dataclass
class Server:
    """A server that is to be disturbed.

    :ivar pid: of its main process
    :ivar blocked: connections whose requests never end
    :ivar in_flight: connections that killed workers had accepted and not closed
    """

    pid: int
    port: int
    blocked: list[socket.socket] = field(default_factory=list)
    in_flight: int = 0


Disturb = Callable[[Server, int], None]
"""Disturbs a server: takes it, and how often it has been disturbed."""


def hang_up(server: Server, _count: int) -> None:
    """Ask for a reload."""
    os.kill(server.pid, signal.SIGHUP)


def accepted(pid: int, ports: set[int]) -> int:
    """Return how many connections to some ports a stopped process has accepted and not closed, by proc_pid_net(5)."""
    stat = Path(f"/proc/{pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] not in "TZ":
        time.sleep(0.001)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {row[9] for row in rows if int(row[1].rpartition(":")[2], 16) in ports and row[3] != LISTENING}
    links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    return sum(link.removeprefix("socket:[").rstrip("]") in inodes for link in links)


def kill_a_worker(server: Server, count: int) -> None:
    """Kill one of the workers, another each time."""
    workers = workers_of(server.pid)
    if workers:
        victim = workers[count % len(workers)]
        os.kill(victim, signal.SIGSTOP)  # so that what is counted is what is killed
        server.in_flight += accepted(victim, {server.port, int(os.environ["LOAD_TCP_PORT"])})
        os.kill(victim, signal.SIGKILL)


def scale(server: Server, count: int) -> None:
    """Ask for a worker more, or for one fewer, in turns."""
    os.kill(server.pid, signal.SIGTTIN if count % 2 == 0 else signal.SIGTTOU)


def scale_far(server: Server, count: int) -> None:
    """Ask for another number of workers, from 1 to 8."""
    wanted = (8, 1, 5, 2, 7, 3, 6, 4)[count % 8]
    ctl = [sys.executable, "-m", "tiny_listener.cli.ctl", "--pid", str(server.pid), "scale", str(wanted)]
    subprocess.run(ctl, check=True, stdout=subprocess.DEVNULL, timeout=10)


def block_a_worker(server: Server, _count: int) -> None:
    """Let a worker run a handler that never gives the event loop back."""
    sock = socket.create_connection(("127.0.0.1", server.port), LATE)
    sock.sendall(b"GET /block HTTP/1.1\r\nHost: chaos\r\n\r\n")
    server.blocked.append(sock)


def nothing(_server: Server, _count: int) -> None:
    """Leave it alone: what it does by itself is enough."""


@dataclass(frozen=True)
class Scenario:
    """How servers are disturbed.

    :ivar disturb: done again and again
    :ivar recycles: whether workers are to end after so many requests
    :ivar options: further ones of ours
    :ivar only_ours: no other server has what this needs
    :ivar may_lose: of ours, beside what killed workers had in flight: requests of each client, for each disturbance
    """

    title: str
    disturb: Disturb
    recycles: bool = False
    options: tuple[str, ...] = ()
    only_ours: bool = False
    may_lose: int = 0


SCENARIOS = {
    "none": Scenario("none", nothing),
    "reload": Scenario(f"HUP every {PERIOD:g} s", hang_up),
    "kill": Scenario(f"a worker killed every {PERIOD:g} s", kill_a_worker),
    "scale": Scenario(f"TTIN and TTOU in turns every {PERIOD:g} s", scale),
    "recycle": Scenario(f"workers end after {MAX_REQUESTS} requests", nothing, recycles=True),
    "ctl": Scenario(f"`tiny-listenerctl scale` 1 to 8 every {PERIOD:g} s", scale_far, only_ours=True),
    "hang": Scenario(
        f"a worker blocked forever every {PERIOD:g} s, `--hang-timeout 1`", block_a_worker,
        options=("--hang-timeout", "1"), only_ours=True, may_lose=1,
    ),
}  # fmt: skip


def commands(python: str, ports: tuple[int, int], workers: int, scenario: Scenario, app: str) -> dict[str, list[str]]:
    """Return the servers to compare, each as a command."""
    recycles = scenario.recycles
    bin_folder, servers, count = Path(python).parent, HERE / "servers", str(workers)
    limit = str(MAX_REQUESTS)
    port, admin = ports

    def gunicorn(*options: str) -> list[str]:
        recycling = ["--max-requests", limit] if recycles else []
        return [
            str(bin_folder / "gunicorn"), "--chdir", str(servers), "--bind", f"127.0.0.1:{port}", "--workers", count,
            "--threads", "8", "--log-level", "critical", *recycling, *options, "wsgi:app",
        ]  # fmt: skip

    all_of_them = {
        OURS: [
            str(bin_folder / "tiny-listener"), "--app-dir", str(servers), "--port", str(port), "--workers", count,
            "--admin-port", str(admin), "--log-level", "critical",
            *(["--max-requests", limit, "--max-requests-jitter", "100"] if recycles else []), *scenario.options,
            app,
        ],
        "gunicorn": gunicorn(),
        "gunicorn --reuse-port": gunicorn("--reuse-port"),
        "uvicorn": [
            str(bin_folder / "uvicorn"), "--app-dir", str(servers), "--port", str(port), "--workers", count,
            "--no-access-log", "--log-level", "critical",
            *(["--limit-max-requests", limit] if recycles else []), "asgi:app",
        ],
        "granian": [
            str(bin_folder / "granian"), "--interface", "rsgi", "--working-dir", str(servers), "--port", str(port),
            "--workers", count, "--no-access-log", "--log-level", "critical", "--respawn-failed-workers", "rsgi:app",
        ],
    }  # fmt: skip
    if scenario.only_ours:
        return {OURS: all_of_them[OURS]}
    if recycles:
        del all_of_them["granian"]  # it recycles by age and memory only
    return all_of_them


CANNOT = {("granian", "scale")}
"""What a server has no way to be asked for; the signal would end it."""


def measure(command: list[str], port: int, scenario: Scenario, seconds: float, clients: Clients) -> Outcomes:
    """Let clients ask a server while it is disturbed."""
    outcomes = clients.outcomes
    with running(command, port) as process, contextlib.ExitStack() as at_end:
        server = Server(process.pid, port)
        at_end.callback(_close_all, server.blocked)
        while Client(port, NEW_CONNECTION).ask() != "answered":  # all that it starts with is there
            time.sleep(0.1)
        clients.start()
        for pause in _until(time.monotonic() + seconds):
            time.sleep(pause)
            if process.poll() is not None:
                break
            if pause == PERIOD:
                scenario.disturb(server, outcomes.disturbances)
                outcomes.disturbances += 1
        clients.stop()
    outcomes.in_flight = server.in_flight
    return outcomes


def _close_all(sockets: list[socket.socket]) -> None:
    while sockets:
        sockets.pop().close()


def _until(end: float) -> Iterator[float]:
    """Yield pauses of a period, and last a shorter one, until the clock says `end`."""
    for _ in cycle([None]):
        left = end - time.monotonic()
        if left <= 0:
            return
        yield min(PERIOD, left)


HEAD = """\
| disturbance | server | answered | refused | lost | late | p99 ms | max ms | kept | failed | streams | cut | killed |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""


def row(server: str, scenario: Scenario, outcomes: Outcomes) -> str:
    """Return a line of the table."""
    fresh = [outcomes.fresh[outcome] for outcome in ("answered", "refused", "lost", "late")]
    times = sorted(outcomes.times)
    slow = [f"{1000 * seconds:.1f}" for seconds in (times[len(times) * 99 // 100], times[-1])]
    others = [n for c in (outcomes.kept, outcomes.streams) for n in (c["answered"], c.total() - c["answered"])]
    cells = [*(f"{n:,}" for n in fresh), *slow, *(f"{n:,}" for n in (*others, outcomes.in_flight))]
    return f"| {scenario.title} | {server} | {' | '.join(cells)} |"


def is_good(scenario: Scenario, outcomes: Outcomes, clients: int) -> bool:
    """Whether a server lost no more than it must."""
    all_of_them = (outcomes.fresh, outcomes.kept, outcomes.streams)
    may_lose = scenario.may_lose * outcomes.disturbances * (clients + 3) + outcomes.in_flight
    return (
        outcomes.fresh["answered"] > 0  # a stream of five seconds may always meet a worker that is blocked within them
        and (outcomes.kept["answered"] > 0 or not outcomes.kept)
        and not sum(kind["refused"] + kind["late"] for kind in all_of_them)
        and sum(kind["lost"] for kind in all_of_them) <= may_lose
    )


def main() -> int:
    """Measure and print; return the exit code."""
    parser = Arguments(__doc__)
    parser.add_argument("--client", choices=("threads", "locust"), default="threads")
    parser.add_argument("--servers", help="some of them, with commas between")
    parser.add_argument("--scenarios", help=f"some of {', '.join(SCENARIOS)}, with commas between")
    parser.add_argument("--seconds", type=SECONDS, default=60.0, help="of each measurement")
    parser.add_argument("--workers", type=WORKERS, default=4)
    parser.add_argument("--clients", type=Number(1, MAX_CLIENTS), default=8)
    options = parser.parse_args()
    wanted = options.scenarios.split(",") if options.scenarios else list(SCENARIOS)
    if unknown := [name for name in wanted if name not in SCENARIOS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(SCENARIOS)}")
    known = {server for name in wanted for server in commands("python", (0, 0), 1, SCENARIOS[name], "")}
    if unknown := [name for name in (options.servers or OURS).split(",") if name not in known]:
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(sorted(known))}")
    python = bench_python()
    locust = options.client == "locust"
    lines = [
        f"{options.workers} workers, {options.seconds:g} s each, "
        + (
            f"{options.clients} users of locust, of all scenarios for {OURS}: with a new connection for each request, "
            if locust
            else f"{options.clients} clients with a new connection for each request, two "
        )
        + "that keep their connection (kept, failed), "
        + ("and that read streams" if locust else "one that reads a stream of five seconds")
        + " (streams, cut); killed: connections that killed workers had accepted",
        "",
        HEAD,
    ]
    print("\n".join(lines), flush=True)
    bad = []
    for name in wanted:
        scenario = SCENARIOS[name]
        port, admin, tcp = free_port(), free_port(), free_port()
        os.environ["LOAD_TCP_PORT"] = str(tcp)
        app = "load:app" if locust and scenario.disturb is not block_a_worker else "hello:app"
        servers = commands(python, (port, admin), options.workers, scenario, app)
        for server in options.servers.split(",") if options.servers else servers:
            if server not in servers or (server, name) in CANNOT:
                continue
            clients: Clients
            if locust:
                asked = list(USERS) if server == OURS and app == "load:app" else ["churn"]
                clients = Locust(port, tcp, asked, options.clients, options.seconds)
            else:
                clients = Threads(port, options.clients)
            outcomes = measure(servers[server], port, scenario, options.seconds, clients)
            lines.append(row(server, scenario, outcomes))
            print(lines[-1], flush=True)
            if server == OURS and not is_good(scenario, outcomes, options.clients):
                bad.append(f"{OURS} lost more than it must: {scenario.title}: {outcomes}")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "chaos.md").write_text("\n".join(lines) + "\n")
    print("\n".join(["", *bad, "loadtest/results/chaos.md"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
