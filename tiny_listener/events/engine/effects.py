"""What the engine wants done, and what is left of it when new events cannot be stored. Pure."""

from __future__ import annotations

from ..messages import Confirm, Deliver, FromCarrier, Refuse
from ..store.ops import Count, Delete, Insert, Op, Start

__all__ = ["Effects", "without_publishes"]


class Effects:
    """What the engine wants done: first the transaction, then the messages.

    :ivar ops: to write in one transaction
    :ivar sends: messages to workers, by the number of their link, in order
    :ivar stored: the publishes among them, by the number of their event; see `Engine.withdraw`
    """

    __slots__ = ("ops", "sends", "stored")

    def __init__(self, ops: list[Op], sends: list[tuple[int, FromCarrier]], stored: dict[int, tuple[int, int]]) -> None:
        self.ops = ops
        self.sends = sends
        self.stored = stored


def without_publishes(effects: Effects, counters: dict[str, bytes], why: str) -> Effects:
    """Return effects without the publishes among them, whose publishers are refused.

    :param counters: those that have changed since, encoded, by route
    :param why: for the publishers
    """
    stored = effects.stored
    refused = set(stored.values())
    sends: list[tuple[int, FromCarrier]] = []
    for number, message in effects.sends:
        if type(message) is Confirm and (number, message.n) in refused:
            sends.append((number, Refuse(message.n, "failed", why)))
        elif not (type(message) is Deliver and message.seq in stored):
            sends.append((number, message))
    ops: list[Op] = []
    for op in effects.ops:
        if isinstance(op, Start):
            if started := [seq for seq in op.seqs if seq not in stored]:
                ops.append(Start(started, op.at))
        elif not (isinstance(op, (Insert, Delete)) and op.seq in stored) and not isinstance(op, Count):
            ops.append(op)
    ops += [Count(route, values) for route, values in counters.items()]
    return Effects(ops, sends, {})
