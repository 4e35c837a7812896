"""For the tests of the router: routes, the invariants of the trie, a search that counts, and an oracle."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tiny_listener.router import Pattern, Router, Token, parse_pattern
from tiny_listener.router.edges import Edge, Node
from tiny_listener.router.memory import SearchMemory
from tiny_listener.router.pattern import Literal
from tiny_listener.router.trie import Trie


@dataclass(frozen=True)
class FakeRoute:
    """What the router needs of a route. Its name is the text of its pattern."""

    path: str
    where: str = "handler (app.py:1)"

    @property
    def name(self) -> str:
        return self.path

    @property
    def pattern(self) -> Pattern:
        return parse_pattern(self.path)


class CheckedRouter(Router[FakeRoute]):
    """A router whose trie is examined after every change, and again when it is ready to search."""

    def add(self, route: FakeRoute) -> None:
        super().add(route)
        self.check()

    def remove(self, route: FakeRoute) -> None:
        super().remove(route)
        self.check()

    def check(self) -> None:
        check_invariants(self._trie)
        keys = [route.pattern.key for route in self]
        assert sorted(keys) == sorted(self._routes)
        assert len(self) == len(keys)


def router_of(paths: Iterable[str]) -> Router[FakeRoute]:
    router = CheckedRouter()
    for path in paths:
        router.add(FakeRoute(path))
    return router


def check_invariants(trie: Trie[Any]) -> None:
    """Fail unless the trie is as it should be, before and after `prepare`."""
    _check_shape(trie)
    trie.prepare()
    _check_derived(trie)
    _check_tails(trie)


def nodes_of(trie: Trie[Any]) -> list[Node[Any]]:
    """All nodes. Fails when one is reached twice."""
    seen: dict[int, Node[Any]] = {}
    todo = [trie.root]
    while todo:
        node = todo.pop()
        assert id(node) not in seen, "a node has two parents"
        seen[id(node)] = node
        todo += [child for _, child in node.literals.values()]
        todo += [edge.child for edge in node.edges]
    return list(seen.values())


def _check_shape(trie: Trie[Any]) -> None:
    nodes = nodes_of(trie)
    by_literal = {id(child) for node in nodes for _, child in node.literals.values()}
    by_edge = {id(edge.child): edge for node in nodes for edge in node.edges}
    assert trie.root.depth == 0
    for node in nodes:
        for first, (label, child) in node.literals.items():
            assert label, "an empty label"
            assert label[0] == first, "a label under the wrong character"
            assert child.depth == node.depth
        orders = [edge.order for edge in node.edges]
        assert orders == sorted(set(orders)), "parameters out of order, or one twice"
        assert all(edge.child.depth == node.depth + 1 for edge in node.edges)
        lonely = node.value is None and not node.edges
        if id(node) in by_literal:
            assert not (lonely and len(node.literals) < 2), "a literal that could be longer, or leads nowhere"
        elif id(node) in by_edge:
            assert not (lonely and not node.literals), "a parameter that leads nowhere"
    values = [node.value for node in nodes if node.value is not None]
    assert sorted(map(id, values)) == sorted(map(id, trie.walk())), "walk misses or repeats a value"
    plain = [node.value for node in nodes if not node.depth and node.value is not None]
    assert sorted(map(id, plain)) == sorted(map(id, trie.literals.values()))


def _check_derived(trie: Trie[Any]) -> None:
    """Each jump is what a walk by characters gives, and where a walk leads somewhere there is a jump."""
    todo = [trie.root]
    while todo:
        node = todo.pop()
        assert node.ready
        assert node.head is (node.edges[0] if node.edges else None)
        assert node.segment == (bool(node.edges) and all(map(_is_segment, node.edges)))
        assert (node.beyond is not None or node.tail is not None) == node.segment
        wanted = dict(_live_ends(node, node.width)) if node.width else {}
        assert {key: (rest, size) for key, (rest, size, _) in node.jumps.items()} == {
            key: (rest, len(key) + len(rest)) for key, (rest, _) in wanted.items()
        }
        for key, (_, _, target) in node.jumps.items():
            assert target is wanted[key][1]
        todo += [target for _, _, target in node.jumps.values()]
        assert [edge.after for edge in node.edges] == [*node.edges[1:], None][: len(node.edges)]
        for edge in node.edges:
            child = edge.child
            if node.segment:
                assert (node.tail is child.value) if edge.leaf else (node.beyond is child)
            assert edge.leaf == (child.value is not None) == (not child.edges and not child.literals)
            assert not (child.edges and child.literals), "two kinds of tokens behind one parameter"
            assert len({below.order[0] for below in child.edges}) <= 1
            firsts = set(child.literals)
            assert edge.closed == (not child.edges and not any(map(edge.accepts, firsts)))
            if edge.label:
                assert [label for label, _ in child.literals.values()] == [edge.label]
            todo.append(child)


def _check_tails(trie: Trie[Any]) -> None:
    """The tails are what the nodes without parameters before them say."""
    tails: dict[str, Any] = {}
    todo = [("", trie.root)]
    while todo:
        text, node = todo.pop()
        todo += [(text + label, child) for label, child in node.literals.values()]
        leads_on = any(_matters(below) for _, child in node.literals.values() for below in _below(child))
        if text.endswith("/") and not leads_on and all(map(_is_segment, node.edges)):
            tails.update((text[:-1], edge.child.value) for edge in node.edges if edge.leaf)
    assert trie.tails == tails


def _is_segment(edge: Edge[Any]) -> bool:
    return edge.order[0][1] == "str" and edge.closed


def _live_ends(node: Node[Any], width: int) -> Iterator[tuple[str, tuple[str, Node[Any]]]]:
    """Each literal text of `width` that leads to something to find: the rest of its label, and the node."""
    todo = [("", node)]
    while todo:
        text, here = todo.pop()
        if len(text) >= width:
            if any(_matters(below) for below in _below(here)):
                yield text[:width], (text[width:], here)
            continue
        assert here is node or not _matters(here), "a jump past a choice"
        todo += [(text + label, child) for label, child in here.literals.values()]


def _matters(node: Node[Any]) -> bool:
    return bool(node.edges) or (node.value is not None and node.depth > 0)


def _below(node: Node[Any]) -> Iterator[Node[Any]]:
    todo = [node]
    while todo:
        here = todo.pop()
        yield here
        todo += [child for _, child in here.literals.values()]


class CountingMemory(SearchMemory):
    """Counts the ends that a search looks at."""

    looks = 0

    def down(self, edge: object, low: int, high: int) -> range:
        ends = super().down(edge, low, high)
        type(self).looks += len(ends)
        return ends

    def up(self, edge: object, low: int, high: int) -> range:
        ends = super().up(edge, low, high)
        type(self).looks += len(ends)
        return ends


class CountingTrie(Trie[str]):
    """Counts the steps of its searches: the nodes entered, and the ends of pieces looked at."""

    memory_type = CountingMemory

    def __init__(self, paths: Iterable[str]) -> None:
        super().__init__()
        self.entered: list[tuple[int, int]] = []
        for path in paths:
            self.insert(parse_pattern(path), path)

    def _choices(self, node: Node[str], pos: int, memory: SearchMemory) -> Iterator[tuple[Node[str], int, bool]]:
        self.entered.append((id(node), pos))
        yield from super()._choices(node, pos, memory)

    def count(self, text: str) -> int:
        """The steps of a search for `text` with all choices."""
        self.prepare()
        self.entered.clear()
        CountingMemory.looks = 0
        self._search(text, [])
        return len(self.entered) + CountingMemory.looks


# The oracle: the rules of priority, by trying everything.

Step = tuple[int, str, int, str, int]
"""What is taken (its place and name), what follows it in the pattern, and where it ends, reversed."""
Parse = tuple[tuple[Step, ...], tuple[str, ...]]
"""How good a reading of a text is (lower is better), and the pieces of its parameters."""

_PLACES = {"uuid": 1, "int": 2, "float": 3, "str": 6, "word": 7, "text": 8, "path": 9}


def _place(tokens: Sequence[Token], index: int) -> tuple[int, str]:
    """The place of a token, or the end, in the order: literal, uuid, int, float, own, the end, str, path."""
    if index == len(tokens):
        return 5, ""
    token = tokens[index]
    return (0, "") if isinstance(token, Literal) else (_PLACES.get(token.convertor_name, 4), token.convertor_name)


def readings(pattern: Pattern, text: str) -> Iterator[Parse]:
    """Every way to read the whole of `text` as `pattern`."""

    def read(index: int, pos: int) -> Iterator[Parse]:
        if index == len(pattern.tokens):
            if pos == len(text):
                yield ((-1, "", 0, "", 0),), ()
            return
        token = pattern.tokens[index]
        if isinstance(token, Literal):
            if text.startswith(token.text, pos):
                here = tuple((0, char, 0, "", 0) for char in token.text)
                for goodness, pieces in read(index + 1, pos + len(token.text)):
                    yield here + goodness, pieces
            return
        regex = re.compile(pattern.convertors[token.name].regex, re.DOTALL)
        for end in range(pos, len(text) + 1):
            piece = text[pos:end]
            if regex.fullmatch(piece):
                step = *_place(pattern.tokens, index), *_place(pattern.tokens, index + 1), -end
                for goodness, pieces in read(index + 1, end):
                    yield (step, *goodness), (piece, *pieces)

    return read(0, 0)


def best_reading(paths: Iterable[str], text: str) -> tuple[str, dict[str, str]] | None:
    """The pattern that a router of `paths` must find for `text`, and the texts of its parameters."""
    best: tuple[Parse, str] | None = None
    for path in paths:
        for parse in readings(parse_pattern(path), text):
            best = min(best or (parse, path), (parse, path))
    if best is None:
        return None
    (_, pieces), path = best
    return path, dict(zip(parse_pattern(path).convertors, pieces, strict=True))


def found(router: Router[FakeRoute], text: str) -> tuple[str, dict[str, Any]] | None:
    """The pattern of the route that `router` finds, and its parameters."""
    match = router.match(text)
    return match and (match[0].path, match[1])
