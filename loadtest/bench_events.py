"""What a published event costs, and what it waits for.

    python loadtest/bench_events.py [--scenarios cost,delay,hot,reload,waiting,idle] [--events 40000]
                                    [--stores memory,normal,full] [--waiting 1000000] [--rounds 3]

cost     200-byte events of 1,000 keys, 4 workers, no-op handlers, published 1, 16 and 64 at a time: events/s, and
         processor time an event, of the carrier and of a worker; next to an `asyncio.Queue` in one process, and, where
         FastStream is installed, its in-memory broker
delay    from publishing to start, at 30, 60 and 90 % of the most: p50 and p99
hot      one key whose handler takes 20 ms, and 999 others: what the others wait
reload   HUP under load: attempts that it used up, and the longest wait
waiting  a million waiting events: memory, and the time of a restart
idle     8 workers and no published event: memory of all processes, with a route for events and without

Medians of the rounds, stores alternating. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from arguments import Arguments, Names, Number
from environment import bench_python
from events.bench_server import CLIENTS, KEYS, STORES, Server, folder, routes, share
from processes import cpu_seconds, resident_bytes

BARS = {"memory": 10.0, "normal": 25.0}
"""Microseconds of the carrier's processor time an event, at 16 at a time."""
BATCHES = (1, 16, 64)


# --- cost ---------------------------------------------------------------------------------------


def cost(store: str, events: int, batch: int) -> tuple[float, float, float]:
    """Return events a second, and microseconds of processor time an event: of the carrier, and of all workers."""
    with folder() as path, Server(store, path) as server:
        server.burst(2000, 16)
        server.settled(2000)
        carrier, workers = server.pids()
        before, of_workers = cpu_seconds(carrier), sum(map(cpu_seconds, workers))
        started = time.perf_counter()
        server.burst(events, batch)
        server.settled(2000 + events)
        seconds = time.perf_counter() - started
        carried, worked = cpu_seconds(carrier) - before, sum(map(cpu_seconds, workers)) - of_workers
    return events / seconds, carried / events * 1e6, worked / events * 1e6


def queue_cost(events: int) -> float:
    """Return microseconds of processor time an event, through an `asyncio.Queue`."""

    async def main() -> float:
        queue: asyncio.Queue[dict[str, str] | None] = asyncio.Queue(1000)
        data = {"text": "x" * 180}

        async def consume() -> None:
            while await queue.get() is not None:
                pass

        consumer = asyncio.ensure_future(consume())
        started = time.process_time()
        for _ in range(events):
            await queue.put(data)
        await queue.put(None)
        await consumer
        return (time.process_time() - started) / events * 1e6

    return asyncio.run(main())


def faststream_cost(events: int) -> float | None:
    """Return the same for FastStream's in-memory broker; None: it is not installed."""
    try:
        from faststream.nats import NatsBroker, TestNatsBroker  # noqa: PLC0415
    except ImportError:
        return None

    async def main() -> float:
        broker = NatsBroker()
        data = {"text": "x" * 180}

        @broker.subscriber("nothing")
        async def nothing(body: dict[str, str]) -> None:
            pass

        async with TestNatsBroker(broker):
            started = time.process_time()
            for _ in range(events):
                await broker.publish(data, "nothing")
            return (time.process_time() - started) / events * 1e6

    return asyncio.run(main())


def show_cost(stores: list[str], events: int, rounds: int) -> bool:
    """Print what an event costs; return whether the bars are met."""
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for _ in range(rounds):
        for batch in BATCHES:
            for store in stores:
                found.setdefault((store, batch), []).append(cost(store, events, batch))
    print("\n| store | at a time | events/s | carrier, us an event | workers, us an event |\n|---|---|---|---|---|")
    is_met = True
    for (store, batch), values in found.items():
        rate, carried, worked = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {store} | {batch} | {rate:,.0f} | {carried:.1f} | {worked:.1f} |")
        if batch == 16 and carried > BARS.get(store, float("inf")):
            print(f"  the bar of {BARS[store]:g} us is missed", file=sys.stderr)
            is_met = False
    print(f"\nasyncio.Queue in one process: {queue_cost(events):.2f} us an event")
    faststream = faststream_cost(events)
    print("FastStream's in-memory broker: " + (f"{faststream:.0f} us" if faststream else "not installed"))
    return is_met


# --- the others ---------------------------------------------------------------------------------


def show_delay(stores: list[str], events: int, _rounds: int) -> bool:
    """Print the delay at several rates, in an open loop."""
    print("\n| store | of the most | events/s | p50, ms | p99, ms |\n|---|---|---|---|---|")
    for store in stores:
        most = cost(store, events, 16)[0]
        for part in (0.3, 0.6, 0.9):
            with folder() as path:
                with Server(store, path) as server:
                    server.burst(64, 16)
                    sent = open_loop(server, most * part, 5.0)
                    server.settled(64 + sent)
                delays = server.delays()
            low, high = share(delays, 0.5) * 1e3, share(delays, 0.99) * 1e3
            print(f"| {store} | {part:.0%} | {sent / 5:,.0f} | {low:.1f} | {high:.1f} |")
    return True


def open_loop(server: Server, rate: float, seconds: float, hot: int = 0) -> int:
    """Publish 16 events at a time, at a rate, whatever the server does; return how many."""
    pause, sent, clients = 16 / rate, 0, []
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        if now < start + sent / 16 * pause:
            time.sleep(start + sent / 16 * pause - now)
        path = f"/burst/{sent}/16/16?keys={KEYS}&hot={hot}"
        clients.append(threading.Thread(target=server.post, args=(path,)))
        clients[-1].start()
        sent += 16
    for client in clients:
        client.join()
    return sent


def show_hot(stores: list[str], _events: int, _rounds: int) -> bool:
    """Print what other keys wait, next to one that is busy all the time, and without it."""
    print("\n| store | hot key | others: p50, ms | p99, ms |\n|---|---|---|---|")
    is_met = True
    for store in stores:
        highs = []
        for hot in (0, 4):
            with folder() as path:
                with Server(store, path) as server:
                    server.burst(64, 16)
                    sent = open_loop(server, 1600, 5.0, hot)
                    server.settled(64 + int(sent * (100 - hot) / 100) - 100)
                delays = server.delays()
            highs.append(share(delays, 0.99) * 1e3)
            backlog = "64 events/s of 20 ms each, more than it can handle" if hot else "none"
            print(f"| {store} | {backlog} | {share(delays, 0.5) * 1e3:.1f} | {highs[-1]:.1f} |")
        is_met = is_met and highs[1] < max(20.0, highs[0] * 3)
    return is_met


def show_reload(stores: list[str], _events: int, _rounds: int) -> bool:
    """Print what a reload under load does."""
    print("\n| store | events | attempts used up | longest wait, ms |\n|---|---|---|---|")
    is_met = True
    for store in stores:
        with folder() as path:
            with Server(store, path, "--reload-probation", "0") as server:
                timer = threading.Timer(1.0, server.process.send_signal, (signal.SIGHUP,))
                timer.start()
                sent = open_loop(server, 1600, 6.0)
                server.settled(sent)
                attempts = sum(sum(route["counters"]["attempts"].values()) for route in routes(server.status()))
            longest = server.delays()[-1] * 1e3
        is_met = is_met and attempts == sent
        print(f"| {store} | {sent:,} | {attempts - sent} | {longest:.0f} |")
    return is_met


def show_waiting(stores: list[str], waiting: int) -> bool:
    """Print what a million waiting events take."""
    print("\n| store | waiting | carrier, MiB | bytes an event | restart, s |\n|---|---|---|---|---|")
    for store in stores:
        with folder() as path:
            with Server(store, path) as server:
                carrier, _ = server.pids()
                empty = resident_bytes(carrier)
                path_of_all = f"/later/{waiting // CLIENTS}"
                clients = [threading.Thread(target=server.post, args=(path_of_all,)) for _ in range(CLIENTS)]
                for client in clients:
                    client.start()
                for client in clients:
                    client.join()
                full = resident_bytes(carrier)
            restart = "lost, as documented"
            if store != "memory":
                started = time.perf_counter()
                with server:
                    status = server.wait(lambda status: bool((status.get("events") or {}).get("waiting")))
                    restart = f"{time.perf_counter() - started:.1f}"
                    assert status["events"]["waiting"] == waiting
            each = (full - empty) / waiting
            print(f"| {store} | {waiting:,} | {full / 2**20:.0f} | {each:.0f} | {restart} |")
    return True


def pss(pid: int) -> float:
    """Return the proportional set size of a process and its children, in MiB."""
    pids = [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return sum(
        int(line.split()[1])
        for one in pids
        for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ) / 1024  # fmt: skip


def show_idle(rounds: int) -> bool:
    """Print what 8 workers take with routes for events, of which none is published, and without such routes."""
    print("\n| application, 8 workers | ready after, s | memory (PSS), MiB |\n|---|---|---|")
    found: dict[str, list[tuple[float, float]]] = {"hello:app": [], "carried:app": []}
    for _ in range(rounds):
        for app, values in found.items():
            with folder() as path:
                started = time.perf_counter()
                with Server("", path, workers=8, app=app) as server:
                    seconds = time.perf_counter() - started
                    time.sleep(1)
                    values.append((seconds, pss(server.process.pid)))
                    assert server.status().get("carrier") is None
    for app, values in found.items():
        seconds, memory = (statistics.median(column) for column in zip(*values, strict=True))
        print(f"| {app} | {seconds:.2f} | {memory:.0f} |")
    return True


def main() -> int:
    """Run the scenarios; return the exit code."""
    scenarios = ("cost", "delay", "hot", "reload", "waiting", "idle")
    parser = Arguments(description=__doc__)
    parser.add_argument("--scenarios", type=Names(scenarios), default=list(scenarios))
    parser.add_argument("--stores", type=Names(STORES), default=list(STORES))
    parser.add_argument("--events", type=Number(1000, 1_000_000), default=40_000)
    parser.add_argument("--waiting", type=Number(4000, 10_000_000), default=1_000_000)
    parser.add_argument("--rounds", type=Number(1, 20), default=3)
    options = parser.parse_args()
    python = bench_python()
    if Path(python) != Path(sys.executable):
        os.execv(python, [python, *sys.argv])
    print(f"load average {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}", flush=True)
    shown: dict[str, Callable[[], bool]] = {
        "cost": lambda: show_cost(options.stores, options.events, options.rounds),
        "delay": lambda: show_delay(options.stores, options.events, options.rounds),
        "hot": lambda: show_hot(options.stores, options.events, options.rounds),
        "reload": lambda: show_reload(options.stores, options.events, options.rounds),
        "waiting": lambda: show_waiting(options.stores, options.waiting),
        "idle": lambda: show_idle(options.rounds),
    }
    missed = [name for name in options.scenarios if not shown[name]()]
    if missed:
        print(f"\nmissed: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
