"""What the engine wants done, and what is left of it when new events cannot be stored. Pure."""

from __future__ import annotations

from ..messages import Confirm, Deliver, FromCarrier, Refuse
from ..store.ops import Count, Delete, Insert, Op, Start

__all__ = ["Effects", "without_publishes"]


class Effects:
    """What the engine wants done: first the transaction, then the messages.

    :ivar ops: to write in one transaction
    :ivar sends: messages to workers, in order, by the number of their link
    :ivar stored: the numbers of the events that were published; see `Engine.withdraw`
    """

    __slots__ = ("ops", "sends", "stored")

    def __init__(self, ops: list[Op], sends: dict[int, list[FromCarrier]], stored: list[int]) -> None:
        self.ops = ops
        self.sends = sends
        self.stored = stored


def without_publishes(effects: Effects, counters: dict[str, bytes], why: str) -> Effects:
    """Return effects without the publishes among them, whose publishers are refused.

    :param counters: those that have changed since, encoded, by route
    :param why: for the publishers
    """
    stored = frozenset(effects.stored)
    sends: dict[int, list[FromCarrier]] = {}
    for number, messages in effects.sends.items():
        kept = sends[number] = []
        for message in messages:
            if type(message) is Confirm and not message.duplicate:
                kept += [Refuse(n, "failed", why) for n in message.ns]
            elif not (type(message) is Deliver and message.seq in stored):
                kept.append(message)
    ops: list[Op] = []
    for op in effects.ops:
        if isinstance(op, Start):
            if started := [seq for seq in op.seqs if seq not in stored]:
                ops.append(Start(started, op.at))
        elif not (isinstance(op, (Insert, Delete)) and op.seq in stored) and not isinstance(op, Count):
            ops.append(op)
    ops += [Count(route, values) for route, values in counters.items()]
    return Effects(ops, sends, [])
