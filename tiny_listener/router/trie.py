"""The trie: finds the pattern that matches a text, at a cost that does not grow with the number of patterns.

A radix tree over characters, not over segments. A node has literal edges, keyed by their first character and labelled
with as much text as their patterns share, and parameter edges, one for each combination of a convertor and the kind of
token after it: `{x}`, `{x}.json` and `{x}{y:path}` start with three edges.

**What is found.** At each position the choices are, in this order: the end of a pattern, if the text ends; literal
text; the parameters, by `order_of`, each with the longest piece first. The search is depth first. So the first match is
the best one, and a match is missed only if nothing matches.

**How.** A pattern without parameters is found in a dict, and always wins. Otherwise `Trie.find` descends by the first
choice at each node and records the choices that it passed by. If only the longest piece of an edge can match
(`Edge.closed`), the remaining choice is the next edge: then it backtracks and takes that. So each node is entered at
most once, because there is one way to it. Only if shorter pieces remain does `Trie._search` start over, with all
choices and a `SearchMemory` of what it tried. It enters no node twice at one position (below an `int`, at most twice),
so it takes at most length x nodes steps. Convertors of an application are the exception: whether their regex accepts a
piece depends on both of its boundaries, so each of their edges may cost length x length attempts of the regex.

**Tails.** Most patterns with parameters are a collection and the name of one of its items. These are found by the text
up to its last slash, if the shape of the trie shows that nothing better can match: from there, literal text leads only
to patterns without parameters, and no parameter but `str` is possible.

**Jumps.** If only literal text can follow for `width` characters, a node looks up that many at once. So thousands of
patterns with a common prefix cost one step instead of one per branch. The table is derived from the literal edges when
the first text is matched after a change, and only for nodes that the change touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, Generic, TypeVar

from .edges import FAR, Edge, Node, Order, new_edge, order_of
from .memory import SearchMemory
from .pattern import Literal, Param, Pattern

__all__ = ["Trie"]

V = TypeVar("V")

Way = str | Edge[V]
"""A step from a node: the label of a literal edge, or a parameter edge."""


Passed = tuple[Edge[V], int, "Passed[V]"] | None
"""The choices that `Trie.find` passed by: the edge to try, the position, and the choices before."""

_SHORTER: Final = -1
"""Replaces a position: the remaining choices are shorter pieces of this edge."""


class Trie(Generic[V]):
    """Patterns, each with a value (anything but None), and the search for the one that matches a text."""

    memory_type: type[SearchMemory] = SearchMemory

    def __init__(self) -> None:
        self.root: Node[V] = Node(0)
        self.literals: dict[str, V] = {}
        """Values of the patterns without parameters, by the only text that each matches."""
        self.tails: dict[str, V] = {}
        """Values of patterns that end with a slash and one `str`, with no alternative, by the text before the slash.
        Derived, see `prepare`."""

    def insert(self, pattern: Pattern, value: V) -> None:
        """Add `pattern`. Raises ValueError if one with the same key exists."""
        node = self.root
        node.touch()
        for index, token in enumerate(pattern.tokens):
            if isinstance(token, Literal):
                node = _grow_literal(node, token.text)
            else:
                node = _grow_edge(node, order_of(pattern.tokens, index), pattern.convertors[token.name].regex)
        if node.value is not None:
            raise ValueError(f"the trie already has {pattern.key!r}")
        node.value = value
        if not node.depth:
            self.literals[_only_text(pattern)] = value

    def remove(self, pattern: Pattern) -> None:
        """Remove `pattern`. Raises KeyError if it does not exist."""
        trail = self._trail(pattern)
        node = trail[-1][1] if trail else self.root
        if node.value is None:
            raise KeyError(pattern.key)
        node.value = None
        node.touch()
        before, slash, rest = _text_before(pattern).rpartition("/")
        if slash and not rest:
            self.tails.pop(before, None)  # it is derived again if there is another
        above = [self.root, *(child for _, child in trail)]
        for parent, (way, child) in zip(reversed(above[:-1]), reversed(trail), strict=True):
            parent.touch()
            _tidy(parent, way, child)
        if not node.depth:
            del self.literals[_only_text(pattern)]

    def walk(self) -> Iterator[V]:
        """Yield all values, in the order in which their patterns are tried. (Diverging literals: by character.)"""
        todo = [self.root]
        while todo:
            node = todo.pop()
            if node.value is not None:
                yield node.value
            todo.extend(edge.child for edge in reversed(node.edges))
            todo.extend(child for _, (_, child) in sorted(node.literals.items(), reverse=True))

    def find(self, text: str, pieces: list[str]) -> V | None:  # noqa: C901
        """Return the value of the best pattern with parameters that matches the whole of `text`; None if none does.

        `pieces`, an empty list, receives the text of each parameter. A pattern without parameters wins over any other:
        look into `literals` first.
        """
        node = self.root
        if not node.ready:
            self.prepare()
        pos = 0
        passed: Passed[V] = None
        while True:
            border = pos + node.width
            jump = node.jumps.get(text[pos:border]) if node.width else None
            if jump is not None and (not jump[0] or text[border : pos + jump[1]] == jump[0]):
                if node.head is not None:
                    passed = node.head, pos, passed
                _, size, node = jump
                pos += size
                if node.value is not None and pos == len(text):
                    return node.value
                continue
            edge = node.head
            if edge is None and passed is None:
                return None
            if node.segment:  # PERF: the most common parameter, without a call
                piece = text[pos:]
                if "/" not in piece:
                    if piece and node.tail is not None:
                        pieces.append(piece)
                        return node.tail
                elif node.beyond is not None and (end := text.find("/", pos)) > pos:
                    pieces.append(text[pos:end])
                    node = node.beyond
                    pos = end
                    continue
                edge = None  # neither matches
            step = self._choose(edge, pos, passed, text, pieces)
            if step is None:
                return None
            node, pos, passed = step
            if node.value is not None and pos == len(text):
                return node.value

    def _choose(
        self, edge: Edge[V] | None, pos: int, passed: Passed[V], text: str, pieces: list[str]
    ) -> tuple[Node[V], int, Passed[V]] | None:
        """Take the first possible parameter: `edge`, one after it, or one that was passed by.

        Return the node that it leads to, the position, and what is passed by then; None if nothing matches.
        """
        while True:
            if edge is None:  # nothing left here: backtrack to the last choice
                if passed is None:
                    return None
                edge, pos, passed = passed
                if pos == _SHORTER:
                    best = self._search(text, pieces)
                    return None if best is None else (best, len(text), None)
                del pieces[edge.child.depth - 1 :]
            if not edge.closed:
                end = edge.first(text, pos)
                if end >= 0:
                    passed = edge, _SHORTER, passed
                    break
            elif found := edge.fullmatch(text, pos) if edge.leaf else edge.match(text, pos):
                end = found.end()
                if edge.after is not None:
                    passed = edge.after, pos, passed
                break
            edge = edge.after
        pieces.append(text[pos:end])
        return edge.child, end, passed

    def prepare(self) -> None:
        """Derive what the search needs, where a change made it stale. (`find` calls it when necessary.)"""
        stale: list[Node[V]] = []
        todo = [self.root]
        while todo:
            node = todo.pop()
            if node.near is None:
                stale.append(node)
                todo.extend(child for _, child in node.literals.values())
                todo.extend(edge.child for edge in node.edges)
        for node in reversed(stale):  # children before their parents
            node.near = min((len(label) + child.distance for label, child in node.literals.values()), default=FAR)
        ways = [("", self.root)]
        while ways:
            text, node = ways.pop()
            if not node.ready:
                node.prepare()
                ways.extend((text + key + rest, target) for key, (rest, _, target) in node.jumps.items())
                ways.extend(("", edge.child) for edge in node.edges)
                if not node.depth and text.endswith("/"):
                    self._note_tail(text[:-1], node)

    def _note_tail(self, text: str, node: Node[V]) -> None:
        """Derive whether a tail follows `text` and a slash, from the node after them, which has no parameters before
        it.
        """
        if node.tail is not None and not node.width:
            self.tails[text] = node.tail
        else:
            self.tails.pop(text, None)

    def _search(self, text: str, pieces: list[str]) -> Node[V] | None:
        """Return the node whose value `find` returns, by trying every choice."""
        memory = self.memory_type(text)
        # Each frame: the choices of a node, its position, and whether a parameter leads there.
        frames = [(self._choices(self.root, 0, memory), 0, False)]
        while frames:
            step = next(frames[-1][0], None)
            if step is None:
                frames.pop()
                continue
            node, pos, is_piece = step
            frames.append((self._choices(node, pos, memory), pos, is_piece))
            if node.value is not None and pos == len(text):
                spans = ((before[1], here[1]) for before, here in pairwise(frames) if here[2])
                pieces[:] = [text[start:end] for start, end in spans]
                return node
        return None

    def _choices(self, node: Node[V], pos: int, memory: SearchMemory) -> Iterator[tuple[Node[V], int, bool]]:
        """Yield the next steps from `node`: the next node, its position, and whether a parameter leads there."""
        text = memory.text
        jump = node.jumps.get(text[pos : pos + node.width])
        if jump is not None:
            rest, size, target = jump
            if not rest or text.startswith(rest, pos + node.width):
                yield target, pos + size, False
        for edge in node.edges:
            for end in edge.ends(pos, memory):
                yield edge.child, end, True

    def _trail(self, pattern: Pattern) -> list[tuple[Way[V], Node[V]]]:
        """Return the steps from the root to where `pattern` ends. Raises KeyError if any of them is missing."""
        trail: list[tuple[Way[V], Node[V]]] = []
        node = self.root
        for index, token in enumerate(pattern.tokens):
            if isinstance(token, Param):
                edge = _edge(node, order_of(pattern.tokens, index))
                if edge is None:
                    raise KeyError(pattern.key)
                node = edge.child
                trail.append((edge, node))
                continue
            start = 0
            while start < len(token.text):
                label, child = node.literals.get(token.text[start], ("", None))
                if child is None or not token.text.startswith(label, start):
                    raise KeyError(pattern.key)
                trail.append((label, child))
                node = child
                start += len(label)
        return trail


def _only_text(pattern: Pattern) -> str:
    """Return the text that a pattern without parameters matches."""
    return "".join(token.text for token in pattern.tokens if isinstance(token, Literal))


def _text_before(pattern: Pattern) -> str:
    """Return the text up to the first parameter."""
    first = pattern.tokens[0] if pattern.tokens else None
    return first.text if isinstance(first, Literal) else ""


def _edge(node: Node[V], order: Order) -> Edge[V] | None:
    return next((edge for edge in node.edges if edge.order == order), None)


def _grow_edge(node: Node[V], order: Order, regex: str) -> Node[V]:
    """Return the node that a parameter leads to from `node`; make it if necessary."""
    edge = _edge(node, order)
    if edge is None:
        edge = new_edge(order, regex, node.depth)
        node.edges.append(edge)
        node.edges.sort(key=lambda edge: edge.order)
    edge.child.touch()
    return edge.child


def _grow_literal(node: Node[V], text: str) -> Node[V]:
    """Return the node that `text` leads to from `node`; make it if necessary."""
    start = 0
    while start < len(text):
        label, child = node.literals.get(text[start], ("", None))
        if child is None:
            child = Node(node.depth)
            node.literals[text[start]] = text[start:], child
            return child
        shared = _shared(label, text, start)
        if shared < len(label):  # they diverge: add a node in the middle of the label
            middle: Node[V] = Node(node.depth)
            middle.literals[label[shared]] = label[shared:], child
            node.literals[text[start]] = label[:shared], middle
            child = middle
        node = child
        node.touch()
        start += shared
    return node


def _shared(label: str, text: str, start: int) -> int:
    """Return how many characters `label` and `text` from `start` on have in common."""
    if text.startswith(label, start):
        return len(label)
    theirs = text[start : start + len(label)]
    if label.startswith(theirs):
        return len(theirs)
    return next(index for index, (a, b) in enumerate(zip(label, theirs, strict=False)) if a != b)


def _tidy(parent: Node[V], way: Way[V], child: Node[V]) -> None:
    """After a removal in `child`: drop it if it is empty, or join its label with its only successor."""
    if child.value is not None or child.edges or len(child.literals) > 1:
        return
    if isinstance(way, Edge):
        if not child.literals:
            parent.edges.remove(way)
    elif child.literals:
        ((label, node),) = child.literals.values()
        parent.literals[way[0]] = way + label, node
    else:
        del parent.literals[way[0]]
