"""What the operations of one transaction come to. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..envelope import Envelope
from .ops import Count, DeadLetter, Delete, DropDead, Insert, Op, SetHalted, Start, ToDead, Update

__all__ = ["Changes"]


class Changes:
    """The net effect of operations that take effect in their order.

    An event that is inserted and deleted by the same transaction leaves only its id and its number. The tables can
    then be written one after the other, each with one statement.

    :param ops: of one transaction
    :ivar inserts: new events that are still stored at the end, by seq
    :ivar has_new: whether an event was published, which may be refused
    :ivar updates: the last update of each event, by seq
    :ivar starts: times, and the events that were started then and neither updated nor deleted since
    :ivar deletes: events that were stored by an earlier transaction
    :ivar seen: id and time of every new event
    :ivar last_seq: the largest number of a new event; 0: there is none
    :ivar letters: new dead letters that are still stored at the end, by number
    :ivar dropped: dead letters that were stored by an earlier transaction
    :ivar last_dead: the largest number of a new dead letter; 0: there is none
    :ivar halted: the dead letter that a key waits for, by key; None: it goes on
    :ivar counts: the last values of the counters of a route, by route
    """

    __slots__ = (
        "_void",
        "counts",
        "deletes",
        "dropped",
        "halted",
        "has_new",
        "inserts",
        "last_dead",
        "last_seq",
        "letters",
        "seen",
        "starts",
        "updates",
    )

    def __init__(self, ops: Iterable[Op]) -> None:
        self.inserts: dict[int, Envelope] = {}
        self.has_new = False
        self.updates: dict[int, Update] = {}
        self.starts: list[tuple[float, list[int]]] = []
        self.deletes: list[tuple[int]] = []
        self.seen: list[tuple[str, float]] = []
        self.last_seq = 0
        self.letters: dict[int, DeadLetter] = {}
        self.dropped: list[tuple[int]] = []
        self.last_dead = 0
        self.halted: dict[str, int | None] = {}
        self.counts: dict[str, bytes] = {}
        self._void: dict[int, int] = {}
        """How many of the starts do not count for an event, by seq."""
        inserts, seen = self.inserts, self.seen
        for op in ops:
            if isinstance(op, Insert):
                inserts[op.seq] = op.envelope
                self.has_new = self.has_new or op.is_new
                seen.append((op.envelope.id, op.at))
                self.last_seq = max(self.last_seq, op.seq)
            elif isinstance(op, Start):
                self.starts.append((op.at, op.seqs))
            elif isinstance(op, Delete):
                self._delete(op.seq)
            else:
                self._add(op)
        self.has_new = self.has_new and bool(inserts)
        if self._void and self.starts:
            self.starts = list(self._valid_starts())

    def _add(self, op: Op) -> None:
        """Add an operation of a kind that is not among the most frequent."""
        match op:
            case Update():
                self.updates[op.seq] = op
                self._void[op.seq] = len(self.starts)
            case ToDead():
                if op.seq is not None:
                    self._delete(op.seq)
                self.letters[op.letter.number] = op.letter
                self.last_dead = max(self.last_dead, op.letter.number)
            case DropDead():
                if self.letters.pop(op.number, None) is None:
                    self.dropped.append((op.number,))
            case SetHalted():
                self.halted[op.key] = op.number
            case Count():
                self.counts[op.route] = op.values
            case _:
                raise TypeError(f"no operation of a store: {op!r}")

    def _delete(self, seq: int) -> None:
        if self.inserts.pop(seq, None) is None:
            self.deletes.append((seq,))
        self._void[seq] = len(self.starts)
        self.updates.pop(seq, None)

    def _valid_starts(self) -> Iterator[tuple[float, list[int]]]:
        void = self._void
        for number, (at, seqs) in enumerate(self.starts):
            valid = [seq for seq in seqs if void.get(seq, 0) <= number]
            if valid:
                yield at, valid
