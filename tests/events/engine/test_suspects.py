"""Events with which a worker died run alone, and nobody waits for that without end."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.events.engine.turns import Turns, kinds
from tiny_listener.events.envelope import Envelope
from tiny_listener.events.messages import Deliver, Done, Hello, Publish
from tiny_listener.events.policy import RouteTerms


@dataclass
class Work:
    """What the handler of an event does: it ends, or its worker dies, after some seconds."""

    takes: float
    kills: bool = False
    key: str | None = "own"
    route: str = "p"


class Sim:
    """One worker, which is started again whenever it dies.

    :ivar handled: when each event was handled
    """

    def __init__(self, works: list[Work], terms: dict[str, RouteTerms] | None = None) -> None:
        self.works = works
        self.terms = {} if terms is None else terms
        self.one = Turns(confirm_within=0.0)
        self.link = 0
        self.in_flight: dict[int, tuple[int, float]] = {}
        self.handled: dict[int, float] = {}
        self.starts: list[int] = []
        self.join()
        for n in range(len(works)):
            self.publish(n)

    def join(self) -> None:
        self.link += 1
        self.turn(Hello(0, 1, 10, self.terms))

    def publish(self, n: int) -> None:
        work = self.works[n]
        key = f"own {n}" if work.key == "own" else work.key
        self.turn(Publish(n, Envelope(f"id {n}", "p", work.route, b"", 0.0, key), 0.0))

    def turn(self, *messages: object) -> None:
        for deliver in kinds(self.one.turn(*messages, link=self.link), Deliver):
            n = int(deliver.envelope.id.split()[1])
            self.starts.append(n)
            self.in_flight[deliver.seq] = n, self.one.now + self.works[n].takes

    def run(self, until: float) -> None:
        for _ in range(10_000):
            ends = min([(end, seq) for seq, (_, end) in self.in_flight.items()], default=(inf, 0))
            due = self.one.engine.next_due()
            now = min(ends[0], inf if due is None else due)
            if now > until:
                self.one.now = until
                return
            self.one.now = max(now, self.one.now)
            if ends[0] > now:
                self.turn()
            elif self.works[self.in_flight[ends[1]][0]].kills:
                self.in_flight.clear()
                self.one.engine.leave(self.link, now)
                self.join()
            else:
                n, _ = self.in_flight.pop(ends[1])
                self.handled[n] = now
                self.turn(Done(ends[1]))
        raise AssertionError("it never ends")

    @property
    def dead(self) -> set[int]:
        return {int(letter.envelope.id.split()[1]) for letter in self.one.store.dead_letters()}


@pytest.mark.parametrize("key", ["own", None])
def test_a_suspect_does_not_wait_without_end_for_what_does_not_end(key: str | None) -> None:
    sim = Sim([Work(inf), Work(5, key=key)])
    sim.one.engine.leave(sim.link, 0.0)
    sim.in_flight.clear()
    sim.join()
    sim.run(5)
    assert sim.handled == {1: 5}, "what was started last is the first"
    sim.works.append(Work(1))
    sim.publish(2)
    sim.run(64)
    assert 2 not in sim.starts, "the other suspect runs alone"
    sim.run(66)
    assert sim.handled == {1: 5, 2: 66}


@pytest.mark.parametrize("key", ["own", None])
def test_others_wait_for_a_while_until_a_suspect_can_run_alone(key: str | None) -> None:
    sim = Sim([Work(inf), Work(3, key=key), Work(1)])
    (suspect,) = [entry for entry in sim.one.engine.state.entries.values() if entry.envelope.id == "id 1"]
    sim.turn()
    sim.run(2)
    sim.one.turn()
    # A worker of another slot had it, and died. Its keys have come here, where something is open.
    suspect.suspect = True
    sim.in_flight.pop(suspect.seq)
    sim.one.engine._give_back(suspect)
    sim.turn()
    sim.works.append(Work(1))
    sim.publish(3)
    sim.run(11.9)
    assert sim.starts == [0, 1, 2], "it waits for the other"
    sim.run(14)
    assert sim.starts == [0, 1, 2, 1], "not any more, and nothing starts beside it"
    sim.run(17)
    assert sim.handled == {2: 1, 1: 15, 3: 16}


@given(st.sampled_from(["own", None]), st.integers(1, 3))
def test_a_suspect_that_starts_late_keeps_to_the_concurrency_of_its_route(key: str | None, most: int) -> None:
    works = [Work(inf, route="narrow") for _ in range(most)]
    sim = Sim([*works, Work(1, key=key, route="narrow")], {"narrow": RouteTerms(concurrency=most)})
    (waits,) = [entry for entry in sim.one.engine.state.entries.values() if entry.envelope.id == f"id {most}"]
    sim.one.engine.schedule.remove(waits)
    waits.suspect = True
    sim.one.engine.schedule.add(waits)
    sim.works.append(Work(1))
    sim.publish(most + 1)
    sim.run(100)
    assert most not in sim.starts
    assert most + 1 in sim.handled, "the others go on"


WORKS = st.builds(
    Work,
    st.sampled_from([0.5, 5.0, 30.0, 71.0, 200.0, inf]),
    st.sampled_from([False, False, True]),
    st.sampled_from(["own", "own", "a", None]),
)


@settings(max_examples=300)
@given(st.lists(WORKS, min_size=1, max_size=6))
def test_what_kills_is_given_up_and_what_does_not_is_handled(works: list[Work]) -> None:
    behind = {n for n, work in enumerate(works) if any(o.takes == inf and o.key == work.key == "a" for o in works[:n])}
    sim = Sim(works)
    sim.run(100_000)
    for n, work in enumerate(works):
        if work.takes == inf:
            assert n not in sim.handled
        elif n not in behind and work.kills:
            assert n in sim.dead
        elif n not in behind:
            # What was started beside one that kills late may be in flight when that does, and is blamed for it.
            may_die = any(other.kills and other.takes > 60 for other in works)
            assert n in sim.handled or (n in sim.dead and may_die)
