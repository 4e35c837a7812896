"""Whether what a server counts is what its clients saw, while its workers are killed, reloaded and recycled.

    python loadtest/exactness.py [--requests 100000] [--workers 4] [--clients 6] [--disturbances 40]

Clients send requests that end as 200, 404, 405, 410, 500, 501 and 400, and lines over TCP, each an event; they note
each answer. A real Prometheus scrapes the admin endpoint throughout. In the end each counter on the page has to be what
the clients noted. First in peace: exactly. Then while workers are killed, reloaded by HUP, killed during the reload and
recycled (`--max-requests`): at least what was answered, and no more than that and the requests that died with a
worker, of which there are no more than the connections that the killed workers had accepted. No counter goes back, the
count of each histogram is its last bucket. Prints tables in Markdown and ends with code 1 when anything differs.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from arguments import MAX_CLIENTS, WORKERS, Arguments, Number
from chaos import accepted, workers_of
from counted_kinds import KINDS, Conversation, Kind, Sample
from processes import free_port, running
from prometheus import Prometheus, eventually, prometheus_running, scrape_config
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Line", "Outcome", "Scenario", "judge", "run"]

SERVERS: Final = Path(__file__).parent / "servers"
OUR_NAMES: Final = ("tiny_listener_", "http_server_", "exactness_")
"""What must not go back. `process_cpu_seconds_total` is the kernel's, and starts again with each process."""
NOT_OF_REQUESTS: Final = ("tiny_listener_worker_restarts_total", "tiny_listener_reloads_total")
"""Counters of ours that no request raises."""

Page = dict[Sample, float]


@dataclass(frozen=True)
class Scenario:
    """What is done.

    :ivar requests: in all, over all clients; more while disturbances go on
    :ivar clients: that speak HTTP, half of them on connections that they keep; and half as many again send lines
    :ivar disturbances: kills and reloads, spread over the requests
    :ivar interval: between two scrapes, in Prometheus' notation
    :ivar probation: of reloads, in seconds
    """

    title: str
    requests: int
    workers: int = 4
    clients: int = 6
    disturbances: int = 0
    interval: str = "200ms"
    probation: float = 1.0


class Line(NamedTuple):
    """What became of one series.

    :ivar answered: what clients noted
    :ivar lost: what may have been counted beyond that: requests without an answer that would have counted here
    :ivar counted: what the page says
    """

    sample: Sample
    answered: int
    lost: int
    counted: float

    @property
    def is_right(self) -> bool:
        """Whether the count is possible."""
        return self.answered <= self.counted <= self.answered + self.lost


@dataclass
class Outcome:
    """What a run showed; `faults` are sentences, none of which should be there."""

    lines: list[Line] = field(default_factory=list)
    sent: int = 0
    lost: int = 0
    in_flight: int = 0
    kills: int = 0
    reloads: int = 0
    recycled: int = 0
    scrapes: int = 0
    series: int = 0
    """Counters and histogram samples of ours in Prometheus."""
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------ clients


@dataclass
class Tally:
    """What one client noted, by kind."""

    answered: Counter[Kind] = field(default_factory=Counter)
    lost: Counter[Kind] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def done(self) -> int:
        """Requests that have an end."""
        return self.answered.total() + self.lost.total()


def chosen(seed: int, speaks: str) -> Iterator[Kind]:
    """Choose kinds of requests, without end; by a seed, so that a run can be had again."""
    chance, kinds = random.Random(seed), [kind for kind in KINDS if kind.speaks == speaks]
    while True:
        yield chance.choice(kinds)


def send_all(
    ports: Mapping[str, int], kinds: Iterable[Kind], *, keep: bool, tally: Tally, least: int, over: threading.Event
) -> None:
    """Send requests of these kinds, one after another: a minimum number, and until the disturbances are over."""
    with contextlib.closing(Conversation(ports, keep=keep)) as conversation:
        for number, kind in enumerate(kinds):
            if number >= least and over.is_set():
                return
            answer = conversation.ask(kind, number)
            if answer is None:
                tally.lost[kind] += 1
            elif answer == kind.answer:
                tally.answered[kind] += 1
            else:
                tally.wrong.append(f"{kind.name} was answered with {answer!r}, not {kind.answer!r}")
                return


# ----------------------------------------------------------------------------------------------- judging


def read_page(admin: int) -> tuple[Page, set[str]]:
    """Return the samples of a server's page, and the names of those of ours that may not go back."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics", timeout=20) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    page = {
        Sample(sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }
    counting = {
        sample.name
        for family in families
        for sample in family.samples
        if family.type in {"counter", "histogram"} and sample.name.startswith(OUR_NAMES)
    }
    return page, counting


def judge(answered: Counter[Kind], lost: Counter[Kind], page: Page) -> tuple[list[Line], list[str]]:
    """Hold the counters of a page against what clients noted. Pure.

    :return: a line for each series that requests raise, and what is wrong, in sentences
    """
    sure: Counter[Sample] = Counter()
    perhaps: Counter[Sample] = Counter()
    for kind in KINDS:
        for sample in kind.counts:
            sure[sample] += answered[kind]
            perhaps[sample] += lost[kind]
    lines = [Line(sample, sure[sample], perhaps[sample], page.get(sample, 0.0)) for sample in sure]
    faults = [f"{line.sample} is {line.counted:g}, not {limits(line)}" for line in lines if not line.is_right]
    for sample, value in page.items():
        ours = sample.name.startswith(OUR_NAMES) and sample.name.endswith(("_total", "_count"))
        if value and ours and sample not in sure and sample.name not in NOT_OF_REQUESTS:
            faults.append(f"{sample} is {value:g}, but no request caused that")
        if sample.name.endswith("_bucket") and dict(sample.labels)["le"] == "+Inf":
            count = page.get(sample.count_of_it())
            if count != value:
                faults.append(f"{sample} is {value:g}, and its count {count}")
    return lines, faults


def limits(line: Line) -> str:
    """Say what a count may be."""
    return f"{line.answered}" if not line.lost else f"{line.answered} to {line.answered + line.lost}"


def judge_by_prometheus(prometheus: Prometheus, admin: int, outcome: Outcome) -> None:
    """Ask Prometheus whether anything went back, and whether what it has in the end is what the page says."""
    page, names = read_page(admin)
    for name in sorted(names):
        wanted = {sample: value for sample, value in page.items() if sample.name == name}
        eventually(partial(_has, prometheus, name, wanted), f"Prometheus to have {name} as the page has it")
        resets = prometheus.query(f"resets({name}[2h])")
        outcome.series += len(resets)
        if len(resets) != len(wanted):
            outcome.faults.append(f"{name}: {len(wanted)} series on the page, {len(resets)} in Prometheus")
        outcome.faults += [f"{one['metric']} went back in {name}" for one in resets if one["value"][1] != "0"]
    outcome.scrapes = int(prometheus.value("sum_over_time(up[2h])") or 0)


def _has(prometheus: Prometheus, name: str, wanted: Page) -> bool:
    found = {
        frozenset((k, v) for k, v in one["metric"].items() if k not in {"__name__", "instance", "job"}):
        float(one["value"][1])
        for one in prometheus.query(name)
    }  # fmt: skip
    # To Prometheus a label without text is none.
    return found == {frozenset(pair for pair in sample.labels if pair[1]): value for sample, value in wanted.items()}


# --------------------------------------------------------------------------------------------- disturbing


class Disturber:
    """Kills workers and asks for reloads.

    :param pid: of the supervisor
    """

    def __init__(self, pid: int, ports: set[int], admin: int, outcome: Outcome) -> None:
        self._pid = pid
        self._ports = ports
        self._admin = admin
        self._outcome = outcome

    def disturb(self, number: int) -> None:
        """Do what the number says: kill, reload, or kill while a reload goes on; and wait until that is over."""
        what = number % 3
        if what > 0:
            before = self._reloads()
            os.kill(self._pid, signal.SIGHUP)
            self._outcome.reloads += 1
        if what != 1:
            self._kill(number)
        if what > 0:
            eventually(lambda: self._reloads() > before, "the reload to end")
        eventually(self.is_ready, "all workers to be ready")

    def _kill(self, number: int) -> None:
        workers = workers_of(self._pid)
        victim = workers[number % len(workers)]
        with contextlib.suppress(OSError):  # it may have ended by itself
            os.kill(victim, signal.SIGSTOP)  # so that what is counted is what is killed
            in_flight = accepted(victim, self._ports)
            os.kill(victim, signal.SIGKILL)
            self._outcome.in_flight += in_flight
            self._outcome.kills += 1

    def _reloads(self) -> float:
        page, _ = read_page(self._admin)
        return sum(value for sample, value in page.items() if sample.name == "tiny_listener_reloads_total")

    def is_ready(self) -> bool:
        """Whether every worker serves."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/status.json", timeout=20) as answer:
            status = json.load(answer)
        return all(one["state"] in {"ready", "draining"} for one in status["processes"])


def run(scenario: Scenario) -> Outcome:
    """Run a server, clients and Prometheus, and judge.

    :raises TimeoutError: something that has to happen did not
    """
    outcome = Outcome()
    port, lines, admin = free_port(), free_port(), free_port()
    ports = {"http": port, "line": lines}
    recycling = ["--max-requests", str(scenario.requests // 60), "--max-requests-jitter", str(scenario.requests // 60)]
    command = [
        sys.executable, "-m", "tiny_listener", "--app-dir", str(SERVERS), "--port", str(port),
        "--admin-port", str(admin),
        "--workers", str(scenario.workers), "--log-level", "critical",
        "--reload-probation", str(scenario.probation),
        *(recycling if scenario.disturbances else []),
        "counted:app",
    ]  # fmt: skip
    everybody = scenario.clients + max(1, scenario.clients // 2)
    tallies = [Tally() for _ in range(everybody)]
    threads = []
    over = threading.Event()
    for number, tally in enumerate(tallies):
        speaks = "http" if number < scenario.clients else "line"
        send = partial(
            send_all, ports, chosen(number, speaks), keep=speaks == "http" and number % 2 == 0, tally=tally,
            least=scenario.requests // everybody, over=over,
        )  # fmt: skip
        threads.append(threading.Thread(target=send))

    os.environ["LINES_PORT"] = str(lines)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process = stack.enter_context(running(command, port))
        disturber = Disturber(process.pid, {port, lines}, admin, outcome)
        eventually(disturber.is_ready, "all workers to be ready")
        prometheus = stack.enter_context(prometheus_running(scrape_config(admin, scenario.interval), folder))
        eventually(lambda: prometheus.value("up") == 1, "the first scrape")
        began = time.monotonic()
        for thread in threads:
            thread.start()
        try:
            for number in range(scenario.disturbances):
                due = scenario.requests * number / scenario.disturbances
                while sum(tally.done for tally in tallies) < due and any(thread.is_alive() for thread in threads):
                    time.sleep(0.002)
                disturber.disturb(number)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        outcome.seconds = time.monotonic() - began
        page, _ = read_page(admin)  # who has its answer is counted: there is nothing to wait for
        answered = sum((tally.answered for tally in tallies), Counter[Kind]())
        lost = sum((tally.lost for tally in tallies), Counter[Kind]())
        outcome.lines, outcome.faults = judge(answered, lost, page)
        outcome.faults += [wrong for tally in tallies for wrong in tally.wrong]
        outcome.lost = lost.total()
        outcome.sent = answered.total() + outcome.lost
        outcome.recycled = int(page[Sample.of("tiny_listener_worker_restarts_total", reason="recycle")])
        if outcome.lost > outcome.in_flight:
            outcome.faults.append(f"{outcome.lost} requests died, and killed workers had {outcome.in_flight} in flight")
        judge_by_prometheus(prometheus, admin, outcome)
    return outcome


# ----------------------------------------------------------------------------------------------- printing


def table(scenario: Scenario, outcome: Outcome) -> str:
    """Return what is to be said of a run, in Markdown."""
    done = sum(line.answered for line in outcome.lines if line.sample.name.startswith("http_server"))
    text = [
        f"### {scenario.title}",
        "",
        " ".join(
            (
                f"{outcome.sent:,} requests and lines to {scenario.workers} workers, {outcome.seconds:.0f} s;",
                f"{done:,} had an HTTP response, {outcome.lost} died with a worker; {outcome.kills} killed (with",
                f"{outcome.in_flight} connections in flight), {outcome.reloads} reloads, {outcome.recycled} recycled;",
                f"{outcome.scrapes} scrapes by Prometheus: {outcome.series} series,",
                f"{sum('went back' in fault for fault in outcome.faults)} of which went back.",
            )
        ),
        "",
        "| series | answered | died | counted | |",
        "|---|---:|---:|---:|---|",
    ]
    text += [
        f"| `{line.sample}` | {line.answered:,} | {line.lost} | {line.counted:,.0f} | "
        f"{'' if line.is_right else 'WRONG'} |"
        for line in outcome.lines
    ]
    text += ["", *(f"WRONG: {fault}" for fault in outcome.faults)]
    return "\n".join(text)


def main() -> int:
    """Run both, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("--requests", type=Number(1, 10**9), default=100_000)
    parser.add_argument("--workers", type=WORKERS, default=4)
    parser.add_argument("--clients", type=Number(1, MAX_CLIENTS), default=6)
    parser.add_argument("--disturbances", type=Number(0, 10**6), default=40)
    options = parser.parse_args()
    size = (options.requests, options.workers, options.clients)
    faults = 0
    for scenario in (
        Scenario("In peace", *size),
        Scenario("Killed, reloaded and recycled", *size, disturbances=options.disturbances),
    ):
        outcome = run(scenario)
        print(table(scenario, outcome), flush=True)
        faults += len(outcome.faults)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
