"""What the trie is made of: nodes, and the parameter edges, of one class for each kind of convertor.

An edge knows which pieces of a text its parameter may take, and in which order. What is derived from the shape
of the trie, so that a search decides with few looks, is derived by `prepare`, here and in `Trie.prepare`.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, Generic, TypeVar

from .convertors import END_RANK, LITERAL_RANK, MAX_INT_DIGITS, compile_piece, rank_of
from .memory import Memory
from .pattern import Param, Token

__all__ = ["FAR", "Edge", "Node", "Order", "new_edge", "order_of"]

V = TypeVar("V")

FAR: Final = 1 << 62
"""Characters to what is not there."""

_DIGITS = re.compile("[0-9]+")

Order = tuple[tuple[int, str], tuple[int, str]]
"""The place of a parameter among those that may stand at one position: lowest first."""


def order_of(tokens: Sequence[Token], index: int) -> Order:
    """That of the parameter `tokens[index]`: by its convertor, then by what follows it.

    The more specific first: literal text, uuid, int, float, an application's own, the end, str, path.
    """
    return _rank(tokens[index]), _rank(tokens[index + 1]) if index + 1 < len(tokens) else END_RANK


def _rank(token: Token) -> tuple[int, str]:
    return rank_of(token.convertor_name) if isinstance(token, Param) else LITERAL_RANK


class Node(Generic[V]):
    """A position between two tokens, or inside a literal where patterns part."""

    __slots__ = (
        "beyond",
        "depth",
        "edges",
        "head",
        "jumps",
        "literals",
        "near",
        "ready",
        "segment",
        "tail",
        "value",
        "width",
    )

    def __init__(self, depth: int) -> None:
        self.value: V | None = None
        """That of the pattern which ends here, if one does."""
        self.literals: dict[str, tuple[str, Node[V]]] = {}
        """First character -> (label, node)."""
        self.edges: list[Edge[V]] = []
        """The parameters that may stand here, in the order in which they are tried."""
        self.depth = depth
        """Parameters before. If there are none, a value is found in `Trie.literals`, never by descent."""

        # Derived by `Trie.prepare`.
        self.near: int | None = None
        """Characters to the nearest node below that matters; `FAR` if none does, None if stale."""
        self.ready = False
        """What follows is up to date, here and wherever the search may go from here."""
        self.jumps: dict[str, tuple[str, int, Node[V]]] = {}
        """The next `width` characters -> (the rest of the label, characters to the node, the node)."""
        self.width = 0
        """0 if no literal text leads on."""
        self.head: Edge[V] | None = None
        """The first of `edges`."""
        self.segment = False
        """No parameter but `str`, up to a slash or to the end of the text, may stand here. Then:"""
        self.beyond: Node[V] | None = None
        """What follows if it is a slash."""
        self.tail: V | None = None
        """The value if it is the end."""

    @property
    def distance(self) -> int:
        """Characters of literal text to the nearest node that matters, which may be this one.

        A node matters if the search may find a value here, or has a choice other than between literals.
        """
        if self.edges or (self.value is not None and self.depth):
            return 0
        return FAR if self.near is None else self.near

    def touch(self) -> None:
        """Forget what was derived: something changed, here or below."""
        self.near = None
        self.ready = False

    def prepare(self) -> None:
        """Derive what is derived from what is below, whose `near` must be known."""
        self.jumps = {}
        self.width = 0 if self.near is None or self.near >= FAR else self.near
        todo = [("", self)] if self.width else []
        while todo:
            before, node = todo.pop()
            for label, child in node.literals.values():
                text = before + label
                if child.distance >= FAR:
                    continue  # leads to plain values only
                if len(text) < self.width:
                    todo.append((text, child))
                else:
                    self.jumps[text[: self.width]] = text[self.width :], len(text), child
        for edge, after in zip_longest(self.edges, self.edges[1:]):
            edge.prepare(after)
        self.head = self.edges[0] if self.edges else None
        self.segment = bool(self.edges) and all(isinstance(edge, SegmentEdge) and edge.closed for edge in self.edges)
        ways = self.edges if self.segment else []
        self.beyond = next((edge.child for edge in ways if not edge.leaf), None)
        self.tail = next((edge.child.value for edge in ways if edge.leaf), None)
        self.ready = True

    def admits(self, text: str, pos: int) -> bool:
        """Whether something that may follow stands in `text` at `pos`. (A parameter might.)"""
        if self.head is not None or text[pos : pos + self.width] in self.jumps:
            return True
        return pos == len(text) and self.value is not None


class Edge(Generic[V]):
    """A parameter that may stand after a node; `child` is what follows it, all of one kind."""

    __slots__ = ("after", "child", "closed", "fullmatch", "label", "leaf", "match", "order")

    def __init__(self, order: Order, regex: str, depth: int) -> None:
        self.order = order
        compiled = compile_piece(regex)
        self.match, self.fullmatch = compiled.match, compiled.fullmatch
        self.leaf = order[1] == END_RANK
        """Nothing follows: only a piece that reaches the end of the text will do."""
        self.child: Node[V] = Node(depth + 1)

        # Derived by `prepare`.
        self.after: Edge[V] | None = None
        """The next edge of the node, to try if this one fails."""
        self.closed = False
        """What follows cannot stand where a piece might go on, so only the longest piece will do."""
        self.label = ""
        """The only text that may follow; empty if there are more, or none."""

    def prepare(self, after: Edge[V] | None) -> None:
        """Derive what the search wants to know of `child`, and note the edge that is tried next."""
        child = self.child
        labels = [label for label, _ in child.literals.values()]
        self.closed = not child.edges and not any(self.accepts(label[0]) for label in labels)
        self.after = after
        self.label = labels[0] if len(labels) == 1 else ""

    @abstractmethod
    def accepts(self, char: str) -> bool:
        """Whether a piece that may be followed by `char` may also go on with it."""

    @abstractmethod
    def first(self, text: str, pos: int) -> int:
        """The end of the longest piece from `pos` after which the search can go on; -1 if there is none.

        For an edge that is not closed. (If it is, `match` and `fullmatch` say it all.)
        """

    @abstractmethod
    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        """The ends of all such pieces, longest first, less those that this edge gave for another `pos`."""

    def longest(self, text: str, low: int, high: int) -> int:
        """What `first` says, if the pieces may end from `low` to `high`."""
        if self.label:
            return text.rfind(self.label, low, high + len(self.label))
        return next(iter(self.viable(text, range(high, low - 1, -1))), -1)

    def viable(self, text: str, ends: range) -> Iterable[int]:
        """Those of `ends` (descending) where something that may follow stands in `text`."""
        if not ends:
            return ()
        admits = self.child.admits
        if self.closed:
            return (ends[0],) if admits(text, ends[0]) else ()
        if self.label:
            return _places(text, self.label, ends)
        return (end for end in ends if admits(text, end))


class SegmentEdge(Edge[V]):
    """`str`: at least one character, none of them a slash."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return char != "/"

    def first(self, text: str, pos: int) -> int:
        end = text.find("/", pos)
        if end < 0:
            end = len(text)
        return self.longest(text, pos + 1, end) if end > pos else -1

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        return self.viable(memory.text, memory.down(self, pos + 1, memory.segment_end(pos)))


class RestEdge(Edge[V]):
    """`path`: any text, the empty one too."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return True

    def first(self, text: str, pos: int) -> int:
        return self.longest(text, pos, len(text))

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        return self.viable(memory.text, memory.down(self, pos, len(memory.text)))


class IntEdge(Edge[V]):
    """`int`: a run of digits, of bounded length."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return "0" <= char <= "9"

    def first(self, text: str, pos: int) -> int:
        found = self.match(text, pos)
        return self.longest(text, pos + 1, found.end()) if found else -1

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        run_end = memory.digits_end(pos)
        high = pos + MAX_INT_DIGITS
        if run_end <= high:
            return self.viable(memory.text, memory.down(self, pos + 1, run_end))
        # NOTE: the bound cuts the run, so what was tried from elsewhere does not reach down from one common
        # end. But one of these ends is a multiple of the bound: below it all was tried from there downwards,
        # above it from there upwards, and each at most once.
        border = high - high % MAX_INT_DIGITS
        return chain(
            self.viable(memory.text, memory.up(self, border + 1, high)),
            self.viable(memory.text, memory.down(self, pos + 1, border)),
        )


class FloatEdge(Edge[V]):
    """`float`: a run of digits, perhaps with a point and a second run."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return "0" <= char <= "9" or char == "."

    def first(self, text: str, pos: int) -> int:
        point = _digits_end(text, pos)
        if point == pos:
            return -1
        fraction_end = _digits_end(text, point + 1) if text[point : point + 1] == "." else 0
        if fraction_end > point + 1:
            end = self.longest(text, point + 2, fraction_end)
            if end >= 0:
                return end
        return self.longest(text, pos + 1, point)

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        point = memory.digits_end(pos)
        if point == pos:
            return ()
        whole = self.viable(memory.text, memory.down(self, pos + 1, point))
        if memory.text[point : point + 1] != ".":
            return whole
        fraction_end = memory.digits_end(point + 1)
        return chain(self.viable(memory.text, memory.down(self, point + 2, fraction_end)), whole)


class FixedEdge(Edge[V]):
    """`uuid`, and any convertor whose pieces have all the same length."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return False

    def first(self, text: str, pos: int) -> int:
        found = self.match(text, pos)
        return self.longest(text, found.end(), found.end()) if found else -1

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        # Another `pos` has another end: there is nothing to remember.
        found = self.match(memory.text, pos)
        return self.viable(memory.text, range(found.end(), found.end() - 1, -1)) if found else ()


class RegexEdge(Edge[V]):
    """A convertor of an application, whose pieces may have any length but 0."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return True

    def first(self, text: str, pos: int) -> int:
        return next(self._pieces(text, pos), -1)

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        for end in self._pieces(memory.text, pos):
            if memory.enter(self, end):
                yield end

    def _pieces(self, text: str, pos: int) -> Iterator[int]:
        if self.match(text, pos):
            # What the regex prefers need not be the longest: look at all ends.
            ends = self.viable(text, range(len(text), pos, -1))
            yield from (end for end in ends if self.fullmatch(text, pos, end))


def new_edge(order: Order, regex: str, depth: int) -> Edge[V]:
    """The edge of a parameter whose convertor has `regex`, after `depth` other parameters."""
    kind: type[Edge[V]]
    match order[0][1]:
        case "str":
            kind = SegmentEdge
        case "int":
            kind = IntEdge
        case "float":
            kind = FloatEdge
        case "path":
            kind = RestEdge
        case _:
            kind = FixedEdge if _is_fixed(regex) else RegexEdge
    return kind(order, regex, depth)


def _is_fixed(regex: str) -> bool:
    """Whether all texts that `regex` matches have one length: what the re module demands of a look-behind."""
    try:
        re.compile(f"(?<={regex})", re.DOTALL)
    except re.error:
        return False
    return True


def _digits_end(text: str, pos: int) -> int:
    found = _DIGITS.match(text, pos)
    return found.end() if found else pos


def _places(text: str, label: str, ends: range) -> Iterator[int]:
    """Those of `ends` (descending) where `label` stands in `text`."""
    end, low = ends[0], ends[-1]
    while (end := text.rfind(label, low, end + len(label))) >= 0:
        yield end
        end -= 1
