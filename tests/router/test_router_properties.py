"""The router against a plain scan of regular expressions, and against the rules of priority."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.router.helpers import CheckedRouter, FakeRoute, best_reading, found, router_of
from tiny_listener.router import CONVERTOR_TYPES, Convertor, Router, compile_path, parse_pattern
from tiny_listener.router.pattern import Literal
from tiny_listener.router.trie import Trie

ALPHABET = "ab/1.-: \n"
KINDS = ["str", "int", "float", "path", "twos", "ab", "word", "text"]

literals = st.text(ALPHABET, min_size=1, max_size=3)
kinds = st.sampled_from(KINDS)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """The text of a pattern, with up to four parameters."""
    parts = draw(st.lists(st.one_of(literals, kinds.map(lambda kind: f"{{:{kind}}}")), max_size=6))
    text, names = "", iter("pqrs")
    for part in parts:
        name = next(names, "") if part.startswith("{") else ""
        text += part.replace("{", "{" + name) if name or not part.startswith("{") else ""
    return text


def distinct(paths: list[str]) -> list[str]:
    return list({parse_pattern(path).key: path for path in paths}.values())


tables = st.lists(patterns(), min_size=1, max_size=7).map(distinct)
PIECES = {
    "str": st.text("ab1.-", min_size=1, max_size=3),
    "int": st.text("1", min_size=1, max_size=3),
    "float": st.sampled_from(["1", "1.1", "11.1", "1.11"]),
    "path": st.text(ALPHABET, max_size=3),
    "twos": st.sampled_from(["a1", "ba"]),
    "ab": st.text("ab", min_size=1, max_size=3),
    "word": st.text("ab/1", min_size=1, max_size=3),
    "text": st.text("ab /", min_size=1, max_size=3),
}


@st.composite
def tables_and_texts(draw: st.DrawFn) -> tuple[list[str], str]:
    """Patterns, and a text: any, one that a pattern matches, or one that differs from it by a character."""
    paths = draw(tables)
    text = draw(st.text(ALPHABET, max_size=8))
    if draw(st.integers(0, 3)):
        pattern = parse_pattern(draw(st.sampled_from(paths)))
        text = "".join(
            token.text if isinstance(token, Literal) else draw(PIECES[token.convertor_name]) for token in pattern.tokens
        )
        if text and draw(st.booleans()):
            place = draw(st.integers(0, len(text) - 1))
            text = text[:place] + draw(st.text(ALPHABET, max_size=1)) + text[place + 1 :]
    return paths, text


@pytest.fixture(autouse=True, scope="module")
def _text_convertors() -> object:
    """All convertors leave the text as it is, so that parameters can be compared with groups."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("int", "float"):
            patch.setitem(CONVERTOR_TYPES, name, CONVERTOR_TYPES[name]._replace(convert=str))
        patch.setitem(CONVERTOR_TYPES, "twos", Convertor("[ab][1a]", str))
        patch.setitem(CONVERTOR_TYPES, "ab", Convertor("[ab]+", str))
        yield


def scan(paths: list[str], text: str) -> dict[str, dict[str, str]]:
    """The patterns that match, with the groups of their own regular expressions."""
    matches = ((path, compile_path(path)[0].match(text)) for path in paths)
    return {path: match.groupdict() for path, match in matches if match}


@settings(max_examples=300)
@given(tables_and_texts())
def test_found_exactly_when_some_regex_matches(case: tuple[list[str], str]) -> None:
    paths, text = case
    result = found(router_of(paths), text)
    matches = scan(paths, text)
    assert (result is not None) == bool(matches)
    if result is not None:
        path, params = result
        assert params == matches[path]


@settings(max_examples=300)
@given(tables_and_texts())
def test_the_best_by_the_rules_of_priority_is_found(case: tuple[list[str], str]) -> None:
    paths, text = case
    assert found(router_of(paths), text) == best_reading(paths, text)


@settings(max_examples=200)
@given(tables_and_texts(), st.randoms(use_true_random=False))
def test_the_order_of_registration_does_not_matter(case: tuple[list[str], str], chance: random.Random) -> None:
    paths, text = case
    one, other = router_of(paths), router_of(chance.sample(paths, len(paths)))
    assert found(one, text) == found(other, text)
    assert [route.path for route in one] == [route.path for route in other]


@settings(max_examples=200)
@given(tables_and_texts(), st.data())
def test_removed_routes_leave_no_trace(case: tuple[list[str], str], data: st.DataObject) -> None:
    paths, text = case
    router = CheckedRouter()
    routes = [FakeRoute(path) for path in paths]
    for route in routes:
        router.add(route)
    rest = list(paths)
    for route in data.draw(st.lists(st.sampled_from(routes), unique=True)):
        router.remove(route)
        rest.remove(route.path)
        assert found(router, text) == best_reading(rest, text)
    assert [route.path for route in router] == [route.path for route in router_of(rest)]


@settings(max_examples=200)
@given(tables_and_texts())
def test_the_quick_descent_agrees_with_the_search(case: tuple[list[str], str]) -> None:
    paths, text = case
    trie: Trie[str] = Trie()
    for path in paths:
        trie.insert(parse_pattern(path), path)
    if text in trie.literals:
        return
    quick: list[str] = []
    thorough: list[str] = []
    value = trie.find(text, quick)
    node = trie._search(text, thorough)
    assert (node and node.value) == value
    if value is not None:
        assert quick == thorough


def test_routers_share_nothing() -> None:
    one: Router[FakeRoute] = router_of(["/{a}"])
    other: Router[FakeRoute] = router_of(["/{b}"])
    assert found(one, "/x") == ("/{a}", {"a": "x"})
    assert found(other, "/x") == ("/{b}", {"b": "x"})
