"""What the router finds, rule by rule: (patterns, text, pattern found, parameters)."""

from __future__ import annotations

import random
import uuid
from typing import Any

import pytest

from tests.router.helpers import CheckedRouter, FakeRoute, best_reading, found, router_of
from tiny_listener.errors import RouteError
from tiny_listener.router import CONVERTOR_TYPES, MAX_INT_DIGITS, Convertor, Router

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"

LITERAL_FIRST = [
    (["/{_:path}", "/a"], "/a", "/a", {}),
    (["/{x}", "/{i:int}", "/12"], "/12", "/12", {}),
    (["/{x}", "/a{x}"], "/ab", "/a{x}", {"x": "b"}),
    (["/a{x}", "/ab{x}", "/{x}"], "/abc", "/ab{x}", {"x": "c"}),
    (["/{i:int}", "/1{i:int}"], "/12", "/1{i:int}", {"i": 2}),
    (["/{x}/b", "/a/{x}"], "/a/b", "/a/{x}", {"x": "b"}),
    (["/a/{x}/c", "/{x:int}/b/c", "/a/b/{x}"], "/a/b/c", "/a/b/{x}", {"x": "c"}),
    # What decides is the first place where two patterns differ, not how much of them is literal.
    (["/{x}/b/c/d/e/f", "/a/{x:path}"], "/a/b/c/d/e/f", "/a/{x:path}", {"x": "b/c/d/e/f"}),
]

END_FIRST = [
    (["/a", "/a{x:path}"], "/a", "/a", {}),
    (["{x}", "{x}{y:path}"], "ab", "{x}", {"x": "ab"}),
    (["{x:path}", "{x:path}{y:path}"], "", "{x:path}", {"x": ""}),
    (["", "{x:path}"], "", "", {}),
    (["{x:path}"], "", "{x:path}", {"x": ""}),
]

PARAMETERS_BY_KIND = [
    (["{x}", "{x:path}", "{x:float}", "{x:int}", "{x:uuid}"], ID, "{x:uuid}", {"x": uuid.UUID(ID)}),
    (["{x}", "{x:path}", "{x:float}", "{x:int}", "{x:uuid}"], "12", "{x:int}", {"x": 12}),
    (["{x}", "{x:path}", "{x:float}", "{x:int}", "{x:uuid}"], "1.5", "{x:float}", {"x": 1.5}),
    (["{x}", "{x:path}", "{x:float}", "{x:int}", "{x:uuid}"], "1.5a", "{x}", {"x": "1.5a"}),
    (["{x}", "{x:path}", "{x:float}", "{x:int}", "{x:uuid}"], "a/b", "{x:path}", {"x": "a/b"}),
    (["/{x:int}/{y}", "/{x}/{y:int}"], "/1/2", "/{x:int}/{y}", {"x": 1, "y": "2"}),
    (["/{x:path}/b", "/{x}/{y}"], "/a/b", "/{x}/{y}", {"x": "a", "y": "b"}),
]

BACKTRACKING = [
    (["/a/{x}/c", "/{y:path}"], "/a/b/d", "/{y:path}", {"y": "a/b/d"}),
    (["/a/b/{x}/e", "/a/{x}/c"], "/a/b/c", "/a/{x}/c", {"x": "b"}),
    (["/{i:int}/x", "/{s}/y"], "/12/y", "/{s}/y", {"s": "12"}),
    (["/{i:int}", "/{s}"], "/12x", "/{s}", {"s": "12x"}),
    (["/{f:float}/x", "/{s}/y"], "/1.5/y", "/{s}/y", {"s": "1.5"}),
    (["/files/{i:int}/meta", "/files/{p:path}"], "/files/1/data", "/files/{p:path}", {"p": "1/data"}),
    (["/ab{x}/c", "/a{x}/d"], "/abb/d", "/a{x}/d", {"x": "bb"}),
    (["a{x}b", "a{x}c", "{x:path}d"], "axxd", "{x:path}d", {"x": "axx"}),
    (["{u:uuid}x", "{s}y"], f"{ID}y", "{s}y", {"s": ID}),
    (["/{x}/y"], "/a/z", None, None),
    (["/{x:path}/y"], "/a/y/z", None, None),
]

AS_MUCH_AS_IT_CAN = [
    (["{a}-{b}"], "1-2-3", "{a}-{b}", {"a": "1-2", "b": "3"}),
    (["{a}{b}"], "abc", "{a}{b}", {"a": "ab", "b": "c"}),
    (["{a:int}{b}"], "123", "{a:int}{b}", {"a": 12, "b": "3"}),
    (["{a:int}{b:int}{c:int}"], "12345", "{a:int}{b:int}{c:int}", {"a": 123, "b": 4, "c": 5}),
    (["{a:float}{b:path}"], "1.25", "{a:float}{b:path}", {"a": 1.25, "b": ""}),
    (["{a:float}{b}"], "1.25", "{a:float}{b}", {"a": 1.2, "b": "5"}),
    (["{a:float}.{b:int}"], "1.2", "{a:float}.{b:int}", {"a": 1.0, "b": 2}),
    (["{a:float}.{b:int}"], "1.2.3", "{a:float}.{b:int}", {"a": 1.2, "b": 3}),
    (["{a:path}/{b}"], "a/b/c", "{a:path}/{b}", {"a": "a/b", "b": "c"}),
    (["{a:path}/x{b:path}"], "a/x/x/xy", "{a:path}/x{b:path}", {"a": "a/x/x", "b": "y"}),
    (["{name}.{ext}"], "a.tar.gz", "{name}.{ext}", {"name": "a.tar", "ext": "gz"}),
]

# Of two parameters of one convertor: literal text, uuid, int, float, own, the end, str, path.
BY_WHAT_FOLLOWS = [
    (["{name}", "{name}.json"], "a.json", "{name}.json", {"name": "a"}),
    (["{name}", "{name}.json"], "a", "{name}", {"name": "a"}),
    (["{name}", "{name}.json"], ".json", "{name}", {"name": ".json"}),
    (["{name}.json", "{name}.xml", "{name}"], "a.json.xml", "{name}.xml", {"name": "a.json"}),
    (["{name}.{ext}", "{name}"], "a.tar.gz", "{name}.{ext}", {"name": "a.tar", "ext": "gz"}),
    (["/{x}", "/{x}/b"], "/a/b", "/{x}/b", {"x": "a"}),
    (["/{x}", "/{x}/b"], "/a", "/{x}", {"x": "a"}),
    (["{_:path}", "{file:path}/edit"], "a/edit", "{file:path}/edit", {"file": "a"}),
    (["{_:path}", "{file:path}/edit"], "/edit", "{file:path}/edit", {"file": ""}),
    (["{_:path}", "{file:path}/edit"], "edit", "{_:path}", {"_": "edit"}),
    (["{_:path}", "{file:path}/edit"], "a/edit/", "{_:path}", {"_": "a/edit/"}),
    (["{n:int}", "{n:int}0"], "100", "{n:int}0", {"n": 10}),
    (["{f:float}", "{f:float}.5"], "1.5", "{f:float}.5", {"f": 1.0}),
    # The convertor decides first.
    (["{n:int}", "{name}2"], "12", "{n:int}", {"n": 12}),
    (["{_:path}/edit", "{a}/{b}"], "a/edit", "{a}/{b}", {"a": "a", "b": "edit"}),
    # Another parameter: what is special comes before the end, what takes anything behind it.
    (["{name}", "{name}{n:int}"], "a12", "{name}{n:int}", {"name": "a1", "n": 2}),
    (["{name}", "{name}{n:int}"], "a", "{name}", {"name": "a"}),
    (["{name}", "{name}{u:uuid}"], f"a{ID}", "{name}{u:uuid}", {"name": "a", "u": uuid.UUID(ID)}),
    (["{n:int}", "{n:int}{unit}"], "12", "{n:int}", {"n": 12}),
    (["{n:int}", "{n:int}{unit}"], "12px", "{n:int}{unit}", {"n": 12, "unit": "px"}),
    (["{x}", "{x}{y}"], "ab", "{x}", {"x": "ab"}),
    (["{x}", "{x}{y:path}"], "ab", "{x}", {"x": "ab"}),
    (["{x}", "{x}{y:path}"], "a/b", "{x}{y:path}", {"x": "a", "y": "/b"}),
    (["{x}{y}", "{x}{y:path}"], "ab", "{x}{y}", {"x": "a", "y": "b"}),
    (["{x}{y}", "{x}{y:path}"], "a", "{x}{y:path}", {"x": "a", "y": ""}),
    (["{x:path}", "{x:path}{y:path}"], "ab", "{x:path}", {"x": "ab"}),
    # It decides before the length of the piece does.
    (["{a}{b}", "{name}.json"], "a.json", "{name}.json", {"name": "a"}),
    (["{a}{b}", "{name}.json"], "a.jso", "{a}{b}", {"a": "a.js", "b": "o"}),
    (["{x}1", "{x}{y:path}"], "a1", "{x}1", {"x": "a"}),
    (["{a}{b:float}", "{a}{b:int}c{d:path}"], "1c1.5", "{a}{b:float}", {"a": "1c1.", "b": 5.0}),
    (["{a}{b:float}", "{a}{b:int}c{d:path}"], "11c1.5", "{a}{b:int}c{d:path}", {"a": "1", "b": 1, "d": "1.5"}),
    # Where both go on with the same kind, the length does.
    (["{name}.{ext}", "{name}.tar.gz"], "a.tar.gz", "{name}.{ext}", {"name": "a.tar", "ext": "gz"}),
    (["{name}.{ext}", "{name}.json"], "a.json", "{name}.json", {"name": "a"}),
    (["{x}.json", "{x}.xml"], "a.xml.xml", "{x}.xml", {"x": "a.xml"}),
]

ARBITRARY_TEXT = [
    (["{_}?"], "really?", "{_}?", {"_": "really"}),
    (["{_}?"], "??", "{_}?", {"_": "?"}),
    (["{_}?"], "?", None, None),
    (
        ["step 1: save {username}'s data", "step {n:int}: save {what}"],
        "step 1: save Bob's data",
        "step 1: save {username}'s data",
        {"username": "Bob"},
    ),
    (
        ["step 1: save {username}'s data", "step {n:int}: save {what}"],
        "step 1: save Bob",
        "step {n:int}: save {what}",
        {"n": 1, "what": "Bob"},
    ),
    (["a{x}"], "a\n", "a{x}", {"x": "\n"}),
    (["{x:path}\n"], "a\n\n", "{x:path}\n", {"x": "a\n"}),
    (["a"], "a\n", None, None),
    (["größe/{x}"], "größe/日本", "größe/{x}", {"x": "日本"}),
    (["🐍{x}🐍"], "🐍🐍🐍", "🐍{x}🐍", {"x": "🐍"}),
    (["{i:int}"], "٣", None, None),
    (["{i:int}x", "{s}x"], "٣x", "{s}x", {"s": "٣"}),
    (["{{{x}}}"], "{a}", "{{{x}}}", {"x": "a"}),
    (["{x}"], "", None, None),
    (["a"], "", None, None),
    ([], "a", None, None),
    ([], "", None, None),
    (["/user/"], "/user", None, None),
    (["/user/{x}"], "/user/", None, None),
]

LONG_NUMBERS = [
    (["{i:int}"], "7" * MAX_INT_DIGITS, "{i:int}", {"i": int("7" * MAX_INT_DIGITS)}),
    (["{i:int}"], "7" * (MAX_INT_DIGITS + 1), None, None),
    (["{i:int}", "{s}"], "7" * (MAX_INT_DIGITS + 1), "{s}", {"s": "7" * (MAX_INT_DIGITS + 1)}),
    (
        ["{i:int}{s}"],
        "7" * 700,
        "{i:int}{s}",
        {"i": int("7" * MAX_INT_DIGITS), "s": "7" * (700 - MAX_INT_DIGITS)},
    ),
    (["{i:int}{j:int}"], "7" * 1281, None, None),
    (["{s}{i:int}x"], "7" * 2000 + "x", "{s}{i:int}x", {"s": "7" * 1999, "i": 7}),
]


@pytest.mark.parametrize(
    ("paths", "text", "path", "params"),
    [
        *LITERAL_FIRST,
        *END_FIRST,
        *PARAMETERS_BY_KIND,
        *BACKTRACKING,
        *AS_MUCH_AS_IT_CAN,
        *BY_WHAT_FOLLOWS,
        *ARBITRARY_TEXT,
        *LONG_NUMBERS,
    ],
)
def test_match(paths: list[str], text: str, path: str | None, params: dict[str, Any] | None) -> None:
    expected = None if path is None else (path, params)
    for seed in range(3):
        router = router_of(random.Random(seed).sample(paths, len(paths)))
        assert found(router, text) == expected
    if len(text) < 100:
        best = best_reading(paths, text)
        assert (best and best[0]) == path


def test_parameters_keep_their_types() -> None:
    _, params = router_of(["{a:int}/{b:float}/{c:uuid}/{d}/{e:path}"]).match(f"1/1/{ID}/1/1/1") or (None, {})
    assert [type(value) for value in params.values()] == [int, float, uuid.UUID, str, str]
    assert list(params) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("text", ["/static", "/one/1", "/two/1/2"])
def test_the_dict_of_parameters_is_the_callers_own(text: str) -> None:
    router = router_of(["/static", "/one/{a}", "/two/{a}/{b:int}"])
    first, second = router.match(text), router.match(text)
    assert first is not None
    assert second is not None
    first[1]["mine"] = 1
    assert "mine" not in second[1]
    assert "mine" not in (router.match(text) or (None, {}))[1]


def test_conflict_names_both_handlers_and_both_patterns() -> None:
    router = CheckedRouter()
    router.add(FakeRoute("GET:/user/{name}", "get_user (app.py:12)"))
    with pytest.raises(RouteError) as caught:
        router.add(FakeRoute("GET:/user/{username:str}", "hello (web.py:3)"))
    assert str(caught.value) == (
        'hello (web.py:3): the pattern "GET:/user/{username:str}" matches the same texts as'
        ' "GET:/user/{name}" of get_user (app.py:12)'
    )
    assert found(router, "GET:/user/Bob") == ("GET:/user/{name}", {"name": "Bob"})
    assert len(router) == 1


@pytest.mark.parametrize(
    "other", ["GET:/user/{name:path}", "GET:/user/{name}/", "GET:/users/{name}", "GET:/user/{{name}}", ""]
)
def test_no_conflict(other: str) -> None:
    assert len(router_of(["GET:/user/{name}", other])) == 2


def test_remove() -> None:
    router = CheckedRouter()
    literal, param, other = FakeRoute("/a"), FakeRoute("/{x}"), FakeRoute("/{y}", "other (app.py:2)")
    router.add(literal)
    router.add(param)
    router.remove(literal)
    assert found(router, "/a") == ("/{x}", {"x": "a"})
    for absent in (literal, other):
        with pytest.raises(RouteError, match="is not registered"):
            router.remove(absent)
    router.remove(param)
    assert router.match("/a") is None
    router.add(other)
    assert found(router, "/a") == ("/{y}", {"y": "a"})


def test_iteration_is_in_match_order() -> None:
    paths = [
        "/{_:path}",
        "/{a}",
        "/{a:int}",
        "/user/{x}",
        "/user/me",
        "/user",
        "{_:path}",
        "/{z:slug}",
        "/{z:lang}",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONVERTOR_TYPES, "slug", Convertor("[a-z-]+", str))
        patch.setitem(CONVERTOR_TYPES, "lang", Convertor("[a-z]{2}", str))
        router = router_of(paths)
        assert [route.path for route in router] == [
            "/user",
            "/user/me",
            "/user/{x}",
            "/{a:int}",
            "/{z:lang}",
            "/{z:slug}",
            "/{a}",
            "/{_:path}",
            "{_:path}",
        ]
    assert len(router) == len(paths)


def test_prepare_may_be_called_at_any_time() -> None:
    router: Router[FakeRoute] = Router()
    router.prepare()
    router.add(FakeRoute("/{a}"))
    router.prepare()
    router.prepare()
    assert found(router, "/x") == ("/{a}", {"a": "x"})


def refuse_odd(text: str) -> int:
    if int(text) % 2:
        raise ValueError(text)
    return int(text)


@pytest.fixture(autouse=True)
def _convertors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, convertor in {
        "even": Convertor("[0-9]{1,3}", refuse_odd),
        "lang": Convertor("[a-z]{2}", str.upper),
        "ab": Convertor("a|ab", str),  # what it prefers is not the longest
        "twins": Convertor("(?:aa)+", str),
    }.items():
        monkeypatch.setitem(CONVERTOR_TYPES, name, convertor)


@pytest.mark.parametrize(
    ("paths", "text", "path", "params"),
    [
        (["/{l:lang}/{x}"], "/en/a", "/{l:lang}/{x}", {"l": "EN", "x": "a"}),
        (["/{l:lang}/{x}"], "/eng/a", None, None),
        (["/{l:lang}", "/{x}"], "/eng", "/{x}", {"x": "eng"}),
        (["/{l:lang}", "/{x}", "/{_:path}"], "/en", "/{l:lang}", {"l": "EN"}),
        (["{l:lang}{m:lang}{x}"], "deenx", "{l:lang}{m:lang}{x}", {"l": "DE", "m": "EN", "x": "x"}),
        (["{a:ab}{b:path}"], "abc", "{a:ab}{b:path}", {"a": "ab", "b": "c"}),
        (["{a:ab}bc"], "abc", "{a:ab}bc", {"a": "a"}),
        (["{a:ab}"], "ab", "{a:ab}", {"a": "ab"}),
        (["{a:twins}{b:twins}a"], "a" * 9, "{a:twins}{b:twins}a", {"a": "a" * 6, "b": "aa"}),
        (["{a:twins}{b:twins}{c:twins}"], "a" * 9, None, None),
        (["{a:path}{b:twins}{c:ab}{d:twins}x"], "a" * 9, None, None),
        (["{t:ab}", "{t:twins}", "{t}"], "a", "{t:ab}", {"t": "a"}),
        (["{t:even}", "{t:lang}", "{i:int}"], "12", "{i:int}", {"i": 12}),
        (["{t:even}", "{f}"], "12", "{t:even}", {"t": 12}),
        (["{x}", "{x}{l:lang}"], "ende", "{x}{l:lang}", {"x": "en", "l": "DE"}),
        (["{x}{n:int}", "{x}{l:lang}", "{x}{e:even}"], "a12", "{x}{n:int}", {"x": "a1", "n": 2}),
        (["{x}{l:lang}", "{x}{e:even}"], "a12", "{x}{e:even}", {"x": "a1", "e": 2}),
        (["{l:lang}", "{l:lang}{x}"], "en", "{l:lang}", {"l": "EN"}),
    ],
)
def test_convertors_of_an_application(
    paths: list[str], text: str, path: str | None, params: dict[str, Any] | None
) -> None:
    assert found(router_of(paths), text) == (None if path is None else (path, params))


def test_a_convertor_that_refuses_ends_the_search() -> None:
    router = router_of(["/{n:even}", "/{x}", "/{n:even}/{m:even}"])
    assert found(router, "/12") == ("/{n:even}", {"n": 12})
    assert router.match("/13") is None
    assert router.match("/12/13") is None
    assert found(router, "/1333") == ("/{x}", {"x": "1333"})
