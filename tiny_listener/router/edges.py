"""The parts of the trie: nodes, and parameter edges with a class for each kind of convertor.

An edge knows which pieces of a text its parameter may take, and in which order. `prepare`, here and in `Trie.prepare`,
derives facts from the shape of the trie so that a search needs few checks.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Final, Generic, TypeVar

from .convertors import END_RANK, LITERAL_RANK, MAX_INT_DIGITS, compile_piece, rank_of
from .memory import SearchMemory
from .pattern import Param, Token

__all__ = ["FAR", "Edge", "Node", "Order", "new_edge", "order_of"]

V = TypeVar("V")

FAR: Final = 1 << 62
"""A distance for nodes that do not exist."""

_DIGITS = re.compile("[0-9]+")

Order = tuple[tuple[int, str], tuple[int, str]]
"""The rank of a parameter among those possible at one position: lowest first."""


def order_of(tokens: Sequence[Token], index: int) -> Order:
    """Return the order of the parameter `tokens[index]`: by its convertor, then by what follows it.

    The more specific first: literal text, uuid, int, float, an application's own, the end, str, word, text, path.
    """
    return _rank(tokens[index]), _rank(tokens[index + 1]) if index + 1 < len(tokens) else END_RANK


def _rank(token: Token) -> tuple[int, str]:
    return rank_of(token.convertor_name) if isinstance(token, Param) else LITERAL_RANK


class Node(Generic[V]):
    """A position between two tokens, or inside a literal where patterns diverge."""

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
        """Value of the pattern that ends here, if one does."""
        self.literals: dict[str, tuple[str, Node[V]]] = {}
        """First character -> (label, node)."""
        self.edges: list[Edge[V]] = []
        """The parameters that are possible here, in the order in which they are tried."""
        self.depth = depth
        """Number of parameters before. If it is 0, values are found in `Trie.literals`, never by descent."""

        # Derived by `Trie.prepare`.
        self.near: int | None = None
        """Characters to the nearest relevant node below; `FAR` if there is none, None if stale."""
        self.ready = False
        """Whether the derived data is up to date, here and in all nodes that the search can reach from here."""
        self.jumps: dict[str, tuple[str, int, Node[V]]] = {}
        """The next `width` characters -> (the rest of the label, characters to the node, the node)."""
        self.width = 0
        """0 if no literal text follows."""
        self.head: Edge[V] | None = None
        """The first of `edges`."""
        self.segment = False
        """Whether the only possible parameter is `str`, up to a slash or to the end of the text. If so:"""
        self.beyond: Node[V] | None = None
        """The node that follows if it ends at a slash."""
        self.tail: V | None = None
        """The value if it ends at the end of the text."""

    @property
    def distance(self) -> int:
        """Characters of literal text to the nearest relevant node, which may be this one.

        A node is relevant if the search may find a value here, or has a choice other than between literals.
        """
        if self.edges or (self.value is not None and self.depth):
            return 0
        return FAR if self.near is None else self.near

    def touch(self) -> None:
        """Discard derived data: something changed, here or below."""
        self.near = None
        self.ready = False

    def prepare(self) -> None:
        """Derive data from the nodes below, whose `near` must be known."""
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
        """Whether something that may follow is in `text` at `pos`. (A parameter might.)"""
        if self.head is not None or text[pos : pos + self.width] in self.jumps:
            return True
        return pos == len(text) and self.value is not None


class Edge(Generic[V]):
    """A possible parameter after a node; `child` is what follows it, all of one kind."""

    __slots__ = ("after", "child", "closed", "fullmatch", "label", "leaf", "match", "order")

    def __init__(self, order: Order, regex: str, depth: int) -> None:
        self.order = order
        compiled = compile_piece(regex)
        self.match, self.fullmatch = compiled.match, compiled.fullmatch
        self.leaf = order[1] == END_RANK
        """Whether nothing follows: only a piece that reaches the end of the text matches."""
        self.child: Node[V] = Node(depth + 1)

        # Derived by `prepare`.
        self.after: Edge[V] | None = None
        """The next edge of the node, to try if this one fails."""
        self.closed = False
        """Whether what follows cannot be where a piece might continue, so that only the longest piece matches."""
        self.label = ""
        """The only text that may follow; empty if there are more, or none."""

    def prepare(self, after: Edge[V] | None) -> None:
        """Derive from `child` what the search needs, and store the edge that is tried next."""
        child = self.child
        labels = [label for label, _ in child.literals.values()]
        self.closed = not child.edges and not any(self.accepts(label[0]) for label in labels)
        self.after = after
        self.label = labels[0] if len(labels) == 1 else ""

    @abstractmethod
    def accepts(self, char: str) -> bool:
        """Whether a piece that may be followed by `char` may also continue with it."""

    @abstractmethod
    def first(self, text: str, pos: int) -> int:
        """Return the end of the longest piece from `pos` after which the search can continue; -1 if there is none.

        For an edge that is not closed. (If it is, `match` and `fullmatch` are sufficient.)
        """

    @abstractmethod
    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        """Return the ends of all such pieces, longest first, except those that this edge returned for another `pos`."""

    def longest(self, text: str, low: int, high: int) -> int:
        """Return the result of `first` for pieces that may end from `low` to `high`."""
        if self.label:
            return text.rfind(self.label, low, high + len(self.label))
        return next(iter(self.viable(text, range(high, low - 1, -1))), -1)

    def viable(self, text: str, ends: range) -> Iterable[int]:
        """Return those of `ends` (descending) where something that may follow is in `text`."""
        if not ends:
            return ()
        admits = self.child.admits
        if self.closed:
            return (ends[0],) if admits(text, ends[0]) else ()
        if self.label:
            return _places(text, self.label, ends)
        return (end for end in ends if admits(text, end))


class SegmentEdge(Edge[V]):
    """`str`: at least one character, but no slash."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return char != "/"

    def first(self, text: str, pos: int) -> int:
        end = text.find("/", pos)
        if end < 0:
            end = len(text)
        return self.longest(text, pos + 1, end) if end > pos else -1

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        return self.viable(memory.text, memory.down(self, pos + 1, memory.segment_end(pos)))


class RunEdge(Edge[V]):
    """`word` and `text`: a run of characters of a class, of any length but 0."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return self.fullmatch(char) is not None

    def first(self, text: str, pos: int) -> int:
        found = self.match(text, pos)
        return self.longest(text, pos + 1, found.end()) if found else -1

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        return self.viable(memory.text, memory.down(self, pos + 1, memory.run_end(self.order[0][1], pos)))


class RestEdge(Edge[V]):
    """`path`: any text, even empty."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return True

    def first(self, text: str, pos: int) -> int:
        return self.longest(text, pos, len(text))

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        return self.viable(memory.text, memory.down(self, pos, len(memory.text)))


class IntEdge(Edge[V]):
    """`int`: a run of digits with a limited length."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return "0" <= char <= "9"

    def first(self, text: str, pos: int) -> int:
        found = self.match(text, pos)
        return self.longest(text, pos + 1, found.end()) if found else -1

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        run_end = memory.digits_end(pos)
        high = pos + MAX_INT_DIGITS
        if run_end <= high:
            return self.viable(memory.text, memory.down(self, pos + 1, run_end))
        # NOTE: the limit cuts the run, so the ends tried from other positions do not start at a common end. But one of
        # the ends is a multiple of the limit: below it, ends are tried from there downwards, above it from there
        # upwards, and each at most once.
        border = high - high % MAX_INT_DIGITS
        return chain(
            self.viable(memory.text, memory.up(self, border + 1, high)),
            self.viable(memory.text, memory.down(self, pos + 1, border)),
        )


class FloatEdge(Edge[V]):
    """`float`: a run of digits, optionally with a point and a second run."""

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

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        point = memory.digits_end(pos)
        if point == pos:
            return ()
        whole = self.viable(memory.text, memory.down(self, pos + 1, point))
        if memory.text[point : point + 1] != ".":
            return whole
        fraction_end = memory.digits_end(point + 1)
        return chain(self.viable(memory.text, memory.down(self, point + 2, fraction_end)), whole)


class FixedEdge(Edge[V]):
    """`uuid`, and any convertor whose pieces all have the same length."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return False

    def first(self, text: str, pos: int) -> int:
        found = self.match(text, pos)
        return self.longest(text, found.end(), found.end()) if found else -1

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        # Each `pos` has a different end, so there is nothing to remember.
        found = self.match(memory.text, pos)
        return self.viable(memory.text, range(found.end(), found.end() - 1, -1)) if found else ()


class RegexEdge(Edge[V]):
    """An application's own convertor, whose pieces may have any length but 0."""

    __slots__ = ()

    def accepts(self, char: str) -> bool:
        return True

    def first(self, text: str, pos: int) -> int:
        return next(self._pieces(text, pos), -1)

    def ends(self, pos: int, memory: SearchMemory) -> Iterable[int]:
        for end in self._pieces(memory.text, pos):
            if memory.enter(self, end):
                yield end

    def _pieces(self, text: str, pos: int) -> Iterator[int]:
        if self.match(text, pos):
            # The regex does not always prefer the longest piece: check all ends.
            ends = self.viable(text, range(len(text), pos, -1))
            yield from (end for end in ends if self.fullmatch(text, pos, end))


def new_edge(order: Order, regex: str, depth: int) -> Edge[V]:
    """Return the edge of a parameter whose convertor has `regex`, after `depth` other parameters."""
    kind: type[Edge[V]]
    match order[0][1]:
        case "str":
            kind = SegmentEdge
        case "int":
            kind = IntEdge
        case "float":
            kind = FloatEdge
        case "word" | "text":
            kind = RunEdge
        case "path":
            kind = RestEdge
        case _:
            kind = FixedEdge if _is_fixed(regex) else RegexEdge
    return kind(order, regex, depth)


def _is_fixed(regex: str) -> bool:
    """Whether all texts that `regex` matches have the same length, as the re module requires for look-behind."""
    try:
        re.compile(f"(?<={regex})", re.DOTALL)
    except re.error:
        return False
    return True


def _digits_end(text: str, pos: int) -> int:
    found = _DIGITS.match(text, pos)
    return found.end() if found else pos


def _places(text: str, label: str, ends: range) -> Iterator[int]:
    """Yield those of `ends` (descending) where `label` is in `text`."""
    end, low = ends[0], ends[-1]
    while (end := text.rfind(label, low, end + len(label))) >= 0:
        yield end
        end -= 1
