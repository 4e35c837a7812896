"""The trie itself: its shape under change, the order of its walk, and the cost of its search."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from tests.router.helpers import CountingTrie, check_invariants, nodes_of
from tiny_listener.router import CONVERTOR_TYPES, MAX_INT_DIGITS, parse_pattern
from tiny_listener.router.edges import Node
from tiny_listener.router.trie import Trie


def trie_of(*paths: str) -> Trie[str]:
    trie: Trie[str] = Trie()
    for path in paths:
        trie.insert(parse_pattern(path), path)
        check_invariants(trie)
    return trie


def find(trie: Trie[str], text: str) -> tuple[str, list[str]] | None:
    pieces: list[str] = []
    value = trie.literals.get(text) or trie.find(text, pieces)
    return None if value is None else (value, pieces)


PATHS = [
    "",
    "GET:/",
    "GET:/user",
    "GET:/users",
    "GET:/user/{name}",
    "GET:/user/{id:int}",
    "GET:/user/{id:int}/posts",
    "GET:/user/{name}/posts",
    "GET:/user/me",
    "GET:/user/me/{what}",
    "GET:/{_:path}",
    "GOT:/{a}{b:uuid}{c:float}",
    "{_:path}",
]


def test_insert_in_any_order_gives_one_walk() -> None:
    expected = list(trie_of(*PATHS).walk())
    for seed in range(20):
        shuffled = random.Random(seed).sample(PATHS, len(PATHS))
        assert list(trie_of(*shuffled).walk()) == expected


def test_walk_is_in_the_order_of_priority() -> None:
    paths = [
        "a",
        "ab",
        "a{_:uuid}",
        "a{_:int}b",
        "a{_:int}{_2:uuid}",
        "a{_:int}{_2:int}",
        "a{_:int}{_2:float}",
        "a{_:int}",
        "a{_:int}{_2}b",
        "a{_:int}{_2}",
        "a{_:int}{_2:path}",
        "a{_:float}",
        "a{_}",
        "a{_:path}",
    ]
    assert list(trie_of(*reversed(paths)).walk()) == paths


def test_insert_twice() -> None:
    trie = trie_of("/{a}")
    with pytest.raises(ValueError, match=r"already has"):
        trie.insert(parse_pattern("/{b}"), "other")
    check_invariants(trie)
    assert find(trie, "/x") == ("/{a}", ["x"])


@pytest.mark.parametrize("seed", range(10))
def test_remove_restores_the_shape(seed: int) -> None:
    chance = random.Random(seed)
    rest = chance.sample(PATHS, len(PATHS))
    trie = trie_of(*rest)
    while rest:
        trie.remove(parse_pattern(rest.pop()))
        check_invariants(trie)
        assert len(nodes_of(trie)) == len(nodes_of(trie_of(*rest)))
        assert list(trie.walk()) == list(trie_of(*rest).walk())


@pytest.mark.parametrize(
    "absent", ["", "GET:/us", "GET:/userz", "POST:", "GET:/user/{x:path}", "x{a}", "GET:/user/{a}/"]
)
def test_remove_what_is_absent(absent: str) -> None:
    trie = trie_of("GET:/user", "GET:/user/{name}")
    with pytest.raises(KeyError):
        trie.remove(parse_pattern(absent))
    check_invariants(trie)
    assert len(list(trie.walk())) == 2


def test_changes_between_searches() -> None:
    trie = trie_of("/abc/{x}")
    assert find(trie, "/abd/1") is None
    trie.insert(parse_pattern("/a{x}"), "short")  # a choice where a jump went over it
    assert find(trie, "/abd") == ("short", ["bd"])
    assert find(trie, "/abc/1") == ("/abc/{x}", ["1"])
    trie.insert(parse_pattern("/abd/{x}"), "beside")
    assert find(trie, "/abd/1") == ("beside", ["1"])
    trie.remove(parse_pattern("/a{x}"))
    assert find(trie, "/abd") is None
    assert find(trie, "/abc/1") == ("/abc/{x}", ["1"])
    trie.insert(parse_pattern("/abc/{x}z"), "longer")
    assert find(trie, "/abc/1z") == ("longer", ["1"])
    assert find(trie, "/abc/1") == ("/abc/{x}", ["1"])
    trie.remove(parse_pattern("/abc/{x}z"))
    assert find(trie, "/abc/1z") == ("/abc/{x}", ["1z"])


def test_patterns_without_parameters_are_not_in_the_way() -> None:
    trie = trie_of(*(f"/static/{number}" for number in range(100)), "/static/page/{x}")
    assert trie.root.width == len("/static/page/")
    assert len(trie.root.jumps) == 1


@pytest.fixture
def shallow_stack() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(300)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.usefixtures("shallow_stack")
def test_ten_thousand_nested_prefixes() -> None:
    depth = 10_000
    trie: Trie[int] = Trie()
    # The longest first: the other way each would walk over all before it.
    for length in range(depth, 0, -1):
        trie.insert(parse_pattern("a" * length + "{x}"), length)
    assert list(trie.walk()) == list(range(depth, 0, -1))
    assert trie.find("a" * depth + "b", []) == depth
    assert trie.find("a" * depth + "/", []) is None
    trie.remove(parse_pattern("a" * depth + "{x}"))
    assert trie.find("a" * depth + "b", []) == depth - 1


@pytest.mark.usefixtures("shallow_stack")
def test_ten_thousand_parameters() -> None:
    count = 10_000
    path = "".join(f"{{p{number}}}/" for number in range(count))
    trie: Trie[str] = Trie()
    trie.insert(parse_pattern(path), "it")
    trie.insert(parse_pattern(path[:-1]), "without the last slash")
    pieces: list[str] = []
    assert trie.find("x/" * count, pieces) == "it"
    assert pieces == ["x"] * count
    assert trie.find("x/" * count + "/", []) is None
    assert list(trie.walk()) == ["it", "without the last slash"]


# Texts that would make a backtracking regex take forever: the steps of the search, never the time, and the
# number of nodes that its bound is made of. Two for each: one node, and one look at a piece's end.

HOSTILE = [
    (["{a}{b}{c}x"], "a" * 400),
    (["{a}{b}{c}{d}{e}{f}x"], "x" * 300 + "/"),
    (["{a:int}{b:float}-{c:path}z"], "1" * 300 + "-" * 100),
    (["{a:int}{b:float}-{c:path}z"], "1.1" * 100 + "-" + "y" * 100),
    (["{a:path}{b:path}{c:path}x"], "/" * 400),
    (["{a:path}a{b:path}a{c:path}a{d:path}b"], "a" * 400),
    (["{a:float}{b:float}{c:float}{d:float}x"], "1.2" * 150),
    (["{a}-{b}-{c}-{d}/"], "-" * 400),
    (["{a}{b:int}{c}{d:int}/"], "1" * 300),
    (["{a}{b:int}{c:int}x"], "1" * (4 * MAX_INT_DIGITS)),
    (["{a}{b:int}", "{a}{b:int}{c}y"], "1" * (2 * MAX_INT_DIGITS) + "z"),
    (["{a}/x{b}/x{c}/y"], "/x" * 200),
    (["a{a}", "aa{a}b{b}c", "aaa{a:path}d", "aaaa{a:int}{b}{c}e"], "a" * 200 + "1" * 200 + "/"),
    (["{a}{u:uuid}{b}{v:uuid}x"], "0f8fad5b-d9cb-469f-a165-70867728950e" * 10),
    ([f"{{a}}{'b' * size}{{b:path}}x" for size in range(1, 20)], "b" * 200),
]


@pytest.mark.parametrize(("paths", "text"), HOSTILE)
def test_hostile_text_costs_no_more_than_length_times_nodes(paths: list[str], text: str) -> None:
    trie = CountingTrie(paths)
    steps = trie.count(text)
    assert steps <= 2 * (len(text) + 1) * len(nodes_of(trie))
    most = 2 if any("int" in path for path in paths) else 1  # see IntEdge
    assert max(Counter(trie.entered).values()) <= most


@pytest.mark.parametrize("paths", [paths for paths, _ in HOSTILE])
@pytest.mark.parametrize("unit", ["a", "1", "1.", "-", "/x", "x"])
def test_the_cost_grows_with_the_length_and_not_faster(paths: list[str], unit: str) -> None:
    trie = CountingTrie(paths)
    # Beyond the bound of an int. (Twice the length: 4 times the cost, or more, if it were not linear.)
    short, long = (trie.count(unit * (repeat * 2 * MAX_INT_DIGITS // len(unit))) for repeat in (1, 2))
    assert long <= 2.5 * short + 100


class DirectTrie(Trie[str]):
    """Counts the nodes that `find` reaches by a parameter, and refuses to search."""

    chosen = 0

    def _choose(self, *args: Any) -> tuple[Node[str], int, Any] | None:
        self.chosen += 1
        return super()._choose(*args)

    def _search(self, text: str, pieces: list[str]) -> Node[str] | None:
        raise AssertionError("a search, where no edge has shorter pieces to offer")


def test_where_only_the_longest_pieces_count_no_search_starts() -> None:
    trie = DirectTrie()
    for kinds in product(["int", "float", "str"], repeat=5):
        path = "".join(f"{{p{place}:{kind}}}/" for place, kind in enumerate(kinds)) + "x"
        trie.insert(parse_pattern(path), path)
    pieces: list[str] = []
    assert trie.find("1/" * 5 + "y", pieces) is None
    assert 3**5 / 2 < trie.chosen <= len(nodes_of(trie))
    assert find(trie, "1/1.5/a/2/b/x") == (
        "{p0:int}/{p1:float}/{p2:str}/{p3:int}/{p4:str}/x",
        ["1", "1.5", "a", "2", "b"],
    )


@pytest.mark.parametrize(
    ("paths", "text", "expected"),
    [
        # Back to where a literal was taken, with pieces found since, to a second parameter there.
        (["a/{x}/{y:int}/c", "{p:int}", "{q}/{r}/{s}/d"], "a/b/1/d", ("{q}/{r}/{s}/d", ["a", "b", "1"])),
        (["{q:int}/{x}/c", "{q}/{r}/d", "{p:path}e"], "1/b/d", ("{q}/{r}/d", ["1", "b"])),
        (["{q:int}/{x}/c", "{q}/{r}/d", "{p:path}e"], "1/b/e", ("{p:path}e", ["1/b/"])),
        # Over a parameter with shorter pieces, which come before the other parameters.
        (["{q}.{x:int}/c", "{q}/{r}", "{p:path}e"], "1.2.3x/c", ("{q}/{r}", ["1.2.3x", "c"])),
        (["{q:int}1{x}/c", "{q}/{r}"], "1111/c", ("{q:int}1{x}/c", ["11", "1"])),
        (["{f:float}1/c", "{q}/{r}"], ".11/c", ("{q}/{r}", [".11", "c"])),
        (["{f:float}1/c", "{q}/{r}"], "1.11/c", ("{f:float}1/c", ["1.1"])),
        (["{f:float}.1/c", "{q}/{r}"], "1.1/c", ("{f:float}.1/c", ["1"])),
        # Up to a slash, or to the end.
        (["/{x}", "/{x}/b", "/{x}/{y:int}/c"], "/a/b", ("/{x}/b", ["a"])),
        (["/{x}", "/{x}/b", "/{x}/{y:int}/c"], "/a", ("/{x}", ["a"])),
        (["/{x}", "/{x}/b", "/{x}/{y:int}/c"], "/a/", None),
        (["/{x}", "/{x}/b", "/{x}/{y:int}/c"], "//b", None),
        (["/{x}/b"], "/a", None),
        (["/{x}"], "/a/b", None),
        (["/{x}/", "/{x}/{y}"], "/a/", ("/{x}/", ["a"])),
        (["/{x}", "/me/{x}", "/{x}/b"], "/me/b", ("/me/{x}", ["b"])),
        (["/{x}", "/me/{x}", "/{x}/b"], "/me", ("/{x}", ["me"])),
        (["/{x}", "/me/{x:int}", "/{x}/b"], "/me/b", ("/{x}/b", ["me"])),
    ],
)
def test_the_way_back(paths: list[str], text: str, expected: tuple[str, list[str]] | None) -> None:
    assert find(trie_of(*paths), text) == expected


def test_a_convertor_of_an_application_enters_no_place_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONVERTOR_TYPES, "odd", CONVERTOR_TYPES["str"]._replace(regex="(?:aa)*a"))
    trie = CountingTrie(["{a:odd}{b:odd}{c:odd}{d:odd}x"])
    trie.count("a" * 60)
    assert len(set(trie.entered)) == len(trie.entered)
    assert len(trie.entered) <= 61 * len(nodes_of(trie))


def test_removing_a_pattern_leaves_the_tails_of_others() -> None:
    trie: Trie[str] = Trie()
    for path in ("/user/{x}", "/users{x}", "/user/{x}/{y}", "{x}"):
        trie.insert(parse_pattern(path), path)
    check_invariants(trie)
    assert trie.tails == {"/user": "/user/{x}"}
    for path, at_once, prepared in (("/users{x}", 1, 1), ("/user/{x}/{y}", 0, 1), ("/user/{x}", 0, 0)):
        trie.remove(parse_pattern(path))
        assert len(trie.tails) == at_once
        check_invariants(trie)
        assert len(trie.tails) == prepared
