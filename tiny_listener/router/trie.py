"""The trie: finds the pattern that matches a text, at a cost that does not grow with the number of patterns.

A radix tree over characters, not over segments. A node has literal edges, keyed by their first character
and labelled with as much text as their patterns share, and parameter edges, one for each convertor and kind of
token behind it: `{x}`, `{x}.json` and `{x}{y:path}` begin with three edges.

**What is found.** At each position the choices are, in this order: the end of a pattern, if the text ends;
literal text; the parameters, by `order_of`, each with the longest piece first. The search tries them depth
first, so the first match that it meets is the best, and it misses only if nothing matches.

**How.** A pattern without parameters is found in a dict, and always wins. For the rest, `Trie.find` descends
by the first choice at each node, notes whether it passed others by, and keeps no record. Only if that fails
with choices left does `Trie._search` start over, with a stack of choices and a `Memory` of what it tried. It
enters no node twice at one position (below an `int`, no more than twice), so it takes at most length x nodes
steps. The convertors of an application are the exception: whether their regex accepts a piece depends on
both its borders, so each of their edges may cost length x length trials of the regex.

**Jumps.** Where nothing but literal text can follow for `width` characters, a node looks up that many at
once, so that thousands of patterns with a common prefix cost one step, and not one for each place where they
part. The table is derived from the literal edges when the first text is matched after a change, and only for
those nodes that the change touched.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Final, Generic, TypeVar

from .convertors import CONVERTOR_TYPES, END_RANK, LITERAL_RANK, MAX_INT_DIGITS, compile_piece, rank_of
from .pattern import Literal, Param, Pattern, Token

__all__ = ["Edge", "Memory", "Node", "Order", "Trie", "order_of"]

V = TypeVar("V")

_DIGITS = re.compile("[0-9]+")
_SLASH = re.compile("/")
_INT = re.compile(CONVERTOR_TYPES["int"].regex)
_FAR: Final = 1 << 62  # characters to what is not there


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

    __slots__ = ("edges", "forks", "jumps", "literals", "near", "plain", "ready", "tail", "value", "width")

    def __init__(self, *, plain: bool) -> None:
        self.value: V | None = None
        """That of the pattern which ends here, if one does."""
        self.literals: dict[str, tuple[str, Node[V]]] = {}
        """First character -> (label, node)."""
        self.edges: list[Edge[V]] = []
        """The parameters that may stand here, in the order in which they are tried."""
        self.plain = plain
        """No parameter leads here: a value is found in `Trie.literals`, never by descent."""

        # Derived by `Trie.prepare`.
        self.near: int | None = None
        """Characters to the nearest node below that matters; `_FAR` if none does, None if stale."""
        self.ready = False
        """What follows is up to date, here and wherever the search may go from here."""
        self.jumps: dict[str, tuple[str, int, Node[V]]] = {}
        """The next `width` characters -> (the rest of the label, characters to the node, the node)."""
        self.width = 0
        """0 if no literal text leads on."""
        self.forks = False
        """Parameters may stand here, too."""
        self.tail: V | None = None
        """The value of the only thing that may follow, if that is one `str` up to the end of the text."""

    @property
    def distance(self) -> int:
        """Characters of literal text to the nearest node that matters, which may be this one.

        A node matters if the search may find a value here, or has a choice other than between literals.
        """
        if self.edges or (self.value is not None and not self.plain):
            return 0
        return _FAR if self.near is None else self.near

    def touch(self) -> None:
        """Forget what was derived: something changed, here or below."""
        self.near = None
        self.ready = False

    def prepare(self) -> None:
        """Derive what is derived from what is below, whose `near` must be known."""
        self.jumps = {}
        self.width = 0 if self.near is None or self.near >= _FAR else self.near
        todo = [("", self)] if self.width else []
        while todo:
            before, node = todo.pop()
            for label, child in node.literals.values():
                text = before + label
                if child.distance >= _FAR:
                    continue  # leads to plain values only
                if len(text) < self.width:
                    todo.append((text, child))
                else:
                    self.jumps[text[: self.width]] = text[self.width :], len(text), child
        for edge in self.edges:
            edge.prepare(last=edge is self.edges[-1])
        self.forks = bool(self.edges)
        only = self.edges[0] if len(self.edges) == 1 else None
        self.tail = only.child.value if isinstance(only, SegmentEdge) and only.leaf else None
        self.ready = True

    def admits(self, text: str, pos: int) -> bool:
        """Whether something that may follow stands in `text` at `pos`. (A parameter might.)"""
        return self.forks or text[pos : pos + self.width] in self.jumps or (pos == len(text) and self.value is not None)


class Edge(Generic[V]):
    """A parameter that may stand after a node; `child` is what follows it, all of one kind."""

    __slots__ = ("child", "closed", "label", "leaf", "order", "settled")

    def __init__(self, order: Order) -> None:
        self.order = order
        self.leaf = order[1] == END_RANK
        """Nothing follows: only a piece that reaches the end of the text will do."""
        self.child: Node[V] = Node(plain=False)

        # Derived by `prepare` from what `child` has.
        self.closed = False
        """What follows cannot stand where a piece might go on, so only the longest piece will do."""
        self.settled = False
        """Closed, and the last edge of its node: no other choice is left once a piece is found."""
        self.label = ""
        """The only text that may follow; empty if there are more, or none."""

    def prepare(self, *, last: bool) -> None:
        """Derive what the search wants to know of `child`."""
        child = self.child
        labels = [label for label, _ in child.literals.values()]
        self.closed = not child.edges and not any(self.accepts(label[0]) for label in labels)
        self.settled = self.closed and last
        self.label = labels[0] if len(labels) == 1 else ""

    @abstractmethod
    def accepts(self, char: str) -> bool:
        """Whether a piece that may be followed by `char` may also go on with it."""

    @abstractmethod
    def first(self, text: str, pos: int) -> int:
        """The end of the longest piece from `pos` after which the search can go on; -1 if there is none."""

    @abstractmethod
    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        """The ends of all such pieces, longest first, less those that this edge gave for another `pos`."""

    def longest(self, text: str, low: int, high: int) -> int:
        """What `first` says, if the pieces may end from `low` to `high`."""
        if self.closed:
            # A settled one need not look ahead: if what follows does not stand there, there is no match.
            return high if (self.settled and not self.leaf) or self.child.admits(text, high) else -1
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
        if not "0" <= text[pos : pos + 1] <= "9":  # PERF: cheaper than the regex
            return -1
        found = _INT.match(text, pos)
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
        if not "0" <= text[pos : pos + 1] <= "9":  # PERF: cheaper than the regex
            return -1
        point = _digits_end(text, pos)
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

    __slots__ = ("_match",)

    def __init__(self, order: Order, regex: str) -> None:
        super().__init__(order)
        self._match = compile_piece(regex).match

    def accepts(self, char: str) -> bool:
        return False

    def first(self, text: str, pos: int) -> int:
        found = self._match(text, pos)
        return self.longest(text, found.end(), found.end()) if found else -1

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        # Another `pos` has another end: there is nothing to remember.
        end = self.first(memory.text, pos)
        return (end,) if end >= 0 else ()


class RegexEdge(Edge[V]):
    """A convertor of an application, whose pieces may have any length but 0."""

    __slots__ = ("_fullmatch", "_match")

    def __init__(self, order: Order, regex: str) -> None:
        super().__init__(order)
        compiled = compile_piece(regex)
        self._match, self._fullmatch = compiled.match, compiled.fullmatch

    def accepts(self, char: str) -> bool:
        return True

    def first(self, text: str, pos: int) -> int:
        return next(self._pieces(text, pos), -1)

    def ends(self, pos: int, memory: Memory) -> Iterable[int]:
        for end in self._pieces(memory.text, pos):
            if memory.enter(self, end):
                yield end

    def _pieces(self, text: str, pos: int) -> Iterator[int]:
        if self._match(text, pos):
            # What the regex prefers need not be the longest: look at all ends.
            ends = self.viable(text, range(len(text), pos, -1))
            yield from (end for end in ends if self._fullmatch(text, pos, end))


def _new_edge(order: Order, regex: str) -> Edge[V]:
    match order[0][1]:
        case "str":
            return SegmentEdge(order)
        case "int":
            return IntEdge(order)
        case "float":
            return FloatEdge(order)
        case "path":
            return RestEdge(order)
    return FixedEdge(order, regex) if _is_fixed(regex) else RegexEdge(order, regex)


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


Way = str | Edge[V]
"""A step from a node: the label of a literal edge, or a parameter edge."""


class Memory:
    """What one search knows of its text: where runs of characters end, and which ends were tried in vain.

    Ends are remembered for each edge and each run. Parameters are tried with the longest piece first, so
    from any position in a run what was tried is all from the end of the run down to some lowest end: one
    number says it all, and a later position tries only the ends below.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._entered: set[tuple[object, int]] = set()
        self._lowest: dict[tuple[object, int], int] = {}
        self._highest: dict[tuple[object, int], int] = {}
        self._slashes: list[int] | None = None
        self._digits: tuple[list[int], list[int]] | None = None

    def down(self, edge: object, low: int, high: int) -> range:
        """The ends from `high` down to `low`, less those that `down` gave for this edge and `high` before."""
        known = self._lowest.get((edge, high), high + 1)
        if low >= known:
            return range(0)
        self._lowest[edge, high] = low
        return range(known - 1, low - 1, -1)

    def up(self, edge: object, low: int, high: int) -> range:
        """The ends from `high` down to `low`, less those that `up` gave for this edge and `low` before."""
        known = self._highest.get((edge, low), low - 1)
        if high <= known:
            return range(0)
        self._highest[edge, low] = high
        return range(high, known, -1)

    def enter(self, edge: object, end: int) -> bool:
        """Whether this is the first time, for those edges whose ends depend on more than the run."""
        if (edge, end) in self._entered:
            return False
        self._entered.add((edge, end))
        return True

    def segment_end(self, pos: int) -> int:
        """The position of the first slash from `pos` on, or the end of the text."""
        # All of them once: to search from each position anew would cost length x length.
        if self._slashes is None:
            self._slashes = [found.start() for found in _SLASH.finditer(self.text)]
        index = bisect_left(self._slashes, pos)
        return self._slashes[index] if index < len(self._slashes) else len(self.text)

    def digits_end(self, pos: int) -> int:
        """The first position from `pos` on where no digit stands."""
        if self._digits is None:
            runs = [found.span() for found in _DIGITS.finditer(self.text)]
            self._digits = [start for start, _ in runs], [end for _, end in runs]
        starts, ends = self._digits
        index = bisect_right(starts, pos) - 1
        return max(pos, ends[index]) if index >= 0 else pos


class Trie(Generic[V]):
    """Patterns, each with a value (anything but None), and the search for the one that matches a text."""

    memory_type: type[Memory] = Memory

    def __init__(self) -> None:
        self.root: Node[V] = Node(plain=True)
        self.literals: dict[str, V] = {}
        """The values of the patterns without parameters, by the only text that each matches."""

    def insert(self, pattern: Pattern, value: V) -> None:
        """Add `pattern`. Raises ValueError if one of the same key is there."""
        node = self.root
        node.touch()
        for index, token in enumerate(pattern.tokens):
            if isinstance(token, Literal):
                node = _grow_literal(node, token.text)
            else:
                node = _grow_edge(node, order_of(pattern.tokens, index), pattern.convertors[token.name].regex)
        if node.value is not None:
            raise ValueError(f"the trie has {pattern.key!r} already")
        node.value = value
        if node.plain:
            self.literals[_only_text(pattern)] = value

    def remove(self, pattern: Pattern) -> None:
        """Take `pattern` out. Raises KeyError if it is not there."""
        trail = self._trail(pattern)
        node = trail[-1][1] if trail else self.root
        if node.value is None:
            raise KeyError(pattern.key)
        node.value = None
        node.touch()
        above = [self.root, *(child for _, child in trail)]
        for parent, (way, child) in zip(reversed(above[:-1]), reversed(trail), strict=True):
            parent.touch()
            _tidy(parent, way, child)
        if node.plain:
            del self.literals[_only_text(pattern)]

    def walk(self) -> Iterator[V]:
        """All values, in the order in which their patterns are tried. (Literals that part: by character.)"""
        todo = [self.root]
        while todo:
            node = todo.pop()
            if node.value is not None:
                yield node.value
            todo.extend(edge.child for edge in reversed(node.edges))
            todo.extend(child for _, (_, child) in sorted(node.literals.items(), reverse=True))

    def find(self, text: str, pieces: list[str]) -> V | None:
        """The value of the best pattern with parameters that matches the whole of `text`; None if none does.

        `pieces`, an empty list, receives the text of each parameter. A pattern without parameters is
        better than any other: look into `literals` first.
        """
        node = self.root
        if not node.ready:
            self.prepare()
        pos = 0
        passed_by = False  # a choice, which might lead to a match if the first ones do not
        while True:
            width = node.width
            if width:
                border = pos + width
                jump = node.jumps.get(text[pos:border])
                if jump is not None:
                    rest, size, target = jump
                    if not rest or text[border : pos + size] == rest:
                        passed_by = passed_by or node.forks
                        node = target
                        pos += size
                        if node.value is not None and pos == len(text):
                            return node.value
                        continue
            if node.tail is not None:  # PERF: the usual end of a pattern, without a call
                piece = text[pos:]
                if piece and "/" not in piece:
                    pieces.append(piece)
                    return node.tail
                break
            for edge in node.edges:
                end = edge.first(text, pos)
                if end >= 0:
                    break
            else:
                break
            passed_by = passed_by or not edge.settled
            pieces.append(text[pos:end])
            node = edge.child
            pos = end
            if node.value is not None and pos == len(text):
                return node.value
        return self._search(text, pieces) if passed_by else None

    def prepare(self) -> None:
        """Derive what the search needs, where a change made it stale. (`find` does it when it must.)"""
        stale: list[Node[V]] = []
        todo = [self.root]
        while todo:
            node = todo.pop()
            if node.near is None:
                stale.append(node)
                todo.extend(child for _, child in node.literals.values())
                todo.extend(edge.child for edge in node.edges)
        for node in reversed(stale):  # children before their parents
            node.near = min((len(label) + child.distance for label, child in node.literals.values()), default=_FAR)
        todo = [self.root]
        while todo:
            node = todo.pop()
            if not node.ready:
                node.prepare()
                todo.extend(target for _, _, target in node.jumps.values())
                todo.extend(edge.child for edge in node.edges)

    def _search(self, text: str, pieces: list[str]) -> V | None:
        """What `find` says, by trying every choice."""
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
                return node.value
        return None

    def _choices(self, node: Node[V], pos: int, memory: Memory) -> Iterator[tuple[Node[V], int, bool]]:
        """Where to go on from `node`: the next node, its position, and whether a parameter leads there."""
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
        """The steps from the root to where `pattern` ends. Raises KeyError if they are not all there."""
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
    """The text that a pattern without parameters matches."""
    return "".join(token.text for token in pattern.tokens if isinstance(token, Literal))


def _edge(node: Node[V], order: Order) -> Edge[V] | None:
    return next((edge for edge in node.edges if edge.order == order), None)


def _grow_edge(node: Node[V], order: Order, regex: str) -> Node[V]:
    """The node that a parameter leads to from `node`, made if need be."""
    edge = _edge(node, order)
    if edge is None:
        edge = _new_edge(order, regex)
        node.edges.append(edge)
        node.edges.sort(key=lambda edge: edge.order)
    edge.child.touch()
    return edge.child


def _grow_literal(node: Node[V], text: str) -> Node[V]:
    """The node that `text` leads to from `node`, made if need be."""
    start = 0
    while start < len(text):
        label, child = node.literals.get(text[start], ("", None))
        if child is None:
            child = Node(plain=node.plain)
            node.literals[text[start]] = text[start:], child
            return child
        shared = _shared(label, text, start)
        if shared < len(label):  # they part: a node in the middle of the label
            middle: Node[V] = Node(plain=node.plain)
            middle.literals[label[shared]] = label[shared:], child
            node.literals[text[start]] = label[:shared], middle
            child = middle
        node = child
        node.touch()
        start += shared
    return node


def _shared(label: str, text: str, start: int) -> int:
    """How many characters `label` and `text` from `start` on have in common."""
    if text.startswith(label, start):
        return len(label)
    theirs = text[start : start + len(label)]
    if label.startswith(theirs):
        return len(theirs)
    return next(index for index, (a, b) in enumerate(zip(label, theirs, strict=False)) if a != b)


def _tidy(parent: Node[V], way: Way[V], child: Node[V]) -> None:
    """After a removal in `child`: drop it if nothing is left there, or join its label with its only next."""
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
