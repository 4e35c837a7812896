"""Keyed events while workers, the carrier and the supervisor are killed, reloaded and scaled; an oracle judges.

    python loadtest/events_chaos.py [--store sqlite|full|memory|nats] [--events 100000] [--kills 100] [--keys 200]
                                    [--skew 0|1] [--workers 3] [--seed N] [--milliseconds 1] [--stops 0]
                                    [--small-disk] [--nodes 1|3] [--keep-nats] [--nats-server FILE]

Two processes publish; handlers append to a file; `events/oracle.py` judges it. In memory only workers are killed: what
waits in memory is lost with the carrier, as is documented. With --small-disk the store is on a file system of 64 MB
(tmpfs, as root), which is full from time to time. On NATS two servers, each with 2 workers and a publisher of its own,
share one NATS server, or a cluster of three (--nodes 3); NATS is killed too, and --stops stops a carrier and not a
worker. Prints its seed and the verdict; exit code 1 when it is not right, or when the counters disagree with the file.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from arguments import WORKERS, Arguments, Decimal, Number
from events.machines import PATIENCE, Machine
from events.oracle import Verdict, judge, parse
from events.stores import Disk, Nats

HERE = Path(__file__).parent
PUBLISHERS = 2
THREADS = 8
FAULTS = {"worker": 60, "carrier": 20, "supervisor": 6, "reload": 6, "more": 4, "fewer": 4}
"""Faults by how frequent they are."""
KILLS = ("worker", "carrier", "supervisor", "nats")
WORKERS_BY_DEFAULT = 3
WORKERS_ON_NATS = 2


class Chaos:
    """Servers, their publishers and their faults.

    :param options: see the module
    :param folder: for the store, the logs and the ledger
    """

    def __init__(self, options: Any, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.ledger = folder / "ledger"
        self.chance = random.Random(options.seed)
        self.faults: Counter[str] = Counter()
        self.is_nats = options.store == "nats"
        self.store = Nats(options, folder, self.chance) if self.is_nats else Disk(options, folder)
        self.machines = [
            Machine(options, folder / f"machine{number}", self.ledger, store, chance=self.chance)
            for number, store in enumerate(self.store.machines)
        ]

    def stop(self) -> None:
        """Stop all servers."""
        for machine in self.machines:
            machine.stop()

    def disturb(self) -> None:
        """Do one of the faults, by chance."""
        weights = FAULTS | self.store.faults
        if self.options.store == "memory":
            weights = {name: weight for name, weight in weights.items() if name not in ("carrier", "supervisor")}
        (fault,) = self.chance.choices(list(weights), list(weights.values()))
        self._do(self.store if fault in self.store.faults else self.chance.choice(self.machines), fault)

    def _do(self, whose: Machine | Disk | Nats, fault: str) -> None:
        """Do a fault, and note it with the size of the ledger: what is wrong with the next lines may come from it."""
        where = self.machines.index(whose) if isinstance(whose, Machine) else "-"
        size = self.ledger.stat().st_size if self.ledger.exists() else 0
        if getattr(whose, fault)():
            self.faults[fault] += 1
            with (self.folder / "faults").open("a") as notes:
                notes.write(f"{time.strftime('%T')} {fault} {where} at {size}\n")

    def run(self) -> tuple[Verdict, list[dict[str, Any]]]:
        """Publish and disturb; return the verdict, and the last views of the carriers."""
        options = self.options
        for machine in self.machines:
            machine.start()
        publishers = [self._publisher(number) for number in range(PUBLISHERS)]
        while self._is_short(publishers):
            time.sleep(self.chance.uniform(0.5, 1.5) * options.period)
            self.disturb()
        for _ in range(options.stops):
            self._do(self.chance.choice(self.machines), "stop_the_carrier" if self.is_nats else "stop_a_worker")
        published: dict[str, int] = {}
        for number, publisher in enumerate(publishers):
            publisher.wait(PATIENCE * 10)
            published |= json.loads((self.folder / f"published{number}").read_text())
        self._until_settled()
        views = [machine.view() for machine in self.machines]
        self.stop()
        died = set[int]().union(*(machine.died for machine in self.machines))
        stopped = set[int]().union(*(machine.stopped for machine in self.machines))
        return judge(parse(self.ledger.read_text()), published, died, stopped), views

    def _publisher(self, number: int) -> subprocess.Popen[bytes]:
        options = self.options
        machine = self.machines[number % len(self.machines)]
        command = [
            *(sys.executable, str(HERE / "events" / "publishers.py"), str(machine.port), f"p{number}-"),
            *(str(options.seed), str(options.keys // PUBLISHERS), str(options.events // PUBLISHERS)),
            *(str(THREADS), str(options.skew), str(options.kills * options.period)),
        ]
        with (self.folder / f"published{number}").open("wb") as file:
            return subprocess.Popen(command, stdout=file)

    def _is_short(self, publishers: list[subprocess.Popen[bytes]]) -> bool:
        """Whether there are to be more faults."""
        kills = sum(self.faults[name] for name in KILLS)
        return kills < self.options.kills or any(publisher.poll() is None for publisher in publishers)

    def _until_settled(self) -> None:
        """Wait until all events are settled.

        :raises RuntimeError: they are not, in time
        """
        deadline = time.monotonic() + PATIENCE
        while not (self.store.is_empty() and all(machine.is_idle() for machine in self.machines)):
            if time.monotonic() > deadline:
                views = "\n".join(f"{machine.view()}" for machine in self.machines)
                logs = "\n".join(machine.log.read_text()[-3000:] for machine in self.machines)
                raise RuntimeError(f"events are not settled: {self.store.left()}\n{views}\n{logs}")
            time.sleep(0.1)

    def differences(self, views: list[dict[str, Any]], verdict: Verdict) -> list[str]:
        """Return where the counters disagree with what was published and written."""
        dead = max(sum(view["dead"].values()) for view in views)  # on NATS all see the same
        found = [f"dead letters: {dead}"] if dead else []
        if not self.is_nats:  # on NATS a carrier that is killed takes its counters with it
            found += differences(views[0], verdict)
        return found


def differences(view: dict[str, Any], verdict: Verdict) -> list[str]:
    """Return where the counters of a carrier disagree with what was published and written."""
    found = []
    (route,) = [route for route in view["routes"] if route["route"].startswith("entry ")]
    counters = route["counters"]
    if counters["published"].get("stored") != verdict.events:
        found.append(f"published: {counters['published']}, and {verdict.events} were")
    if counters["settled"] != {"ok": verdict.events}:
        found.append(f"settled: {counters['settled']}, and {verdict.events} were handled")
    return found


def main() -> int:
    """Run it once; return the exit code."""
    parser = Arguments(description=__doc__)
    parser.add_argument("--store", choices=("sqlite", "full", "memory", "nats"), default="sqlite")
    parser.add_argument("--events", type=Number(16, 10_000_000), default=100_000)
    parser.add_argument("--kills", type=Number(0, 10_000), default=100)
    parser.add_argument("--keys", type=Number(16, 1_000_000), default=200)
    parser.add_argument("--skew", type=Decimal(0, 3), default=0.0)
    parser.add_argument("--workers", type=WORKERS, help="of each server")
    parser.add_argument("--seed", type=Number(0, 2**32), default=random.randrange(2**32))
    parser.add_argument("--milliseconds", type=Decimal(0, 1000), default=1.0)
    parser.add_argument("--period", type=Decimal(0.05, 60), default=0.6)
    parser.add_argument("--stops", type=Number(0, 100), default=0)
    parser.add_argument("--small-disk", action="store_true", help="let the disk be full from time to time")
    parser.add_argument("--command", default="-m tiny_listener", help="what Python runs as the server")
    parser.add_argument("--nodes", type=Number(1, 3), choices=(1, 3), default=1, help="servers of NATS")
    parser.add_argument(
        "--keep-nats", action="store_true", help="do not kill NATS: before 2.10.23 it loses what it confirmed"
    )
    parser.add_argument("--nats-server", help="the program; the newest that is here")
    options = parser.parse_args()
    if options.workers is None:
        options.workers = WORKERS_ON_NATS if options.store == "nats" else WORKERS_BY_DEFAULT
    print(f"seed {options.seed}", flush=True)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="events-chaos-"))
    chaos = Chaos(options, folder)
    with chaos.store.mounted():
        try:
            verdict, views = chaos.run()
        finally:
            chaos.stop()
    faults = ", ".join(f"{count} {name}" for name, count in sorted(chaos.faults.items()))
    print(f"{options.store}: {verdict} ({faults}; {time.monotonic() - started:.0f} s)")
    wrong = chaos.differences(views, verdict)
    for line in wrong:
        print(f"  {line}")
    if verdict.is_right and not wrong:
        shutil.rmtree(folder)
        return 0
    print(f"  left in {folder}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
