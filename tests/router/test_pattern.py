from __future__ import annotations

import sys
import uuid
from typing import Any

import pytest

from tiny_listener.errors import RouteError
from tiny_listener.router import (
    CONVERTOR_TYPES,
    MAX_INT_DIGITS,
    Literal,
    Param,
    Token,
    compile_path,
    parse_pattern,
    register_convertor,
)


@pytest.fixture(autouse=True)
def _restored_convertors(monkeypatch: pytest.MonkeyPatch) -> None:
    # Removed in a way that monkeypatch undoes, whatever the test registers under this name.
    monkeypatch.setitem(CONVERTOR_TYPES, "lang", CONVERTOR_TYPES["str"])
    monkeypatch.delitem(CONVERTOR_TYPES, "lang")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()),
        ("GET:/", (Literal("GET:/"),)),
        ("{name}", (Param("name", "str"),)),
        ("{_:path}", (Param("_", "path"),)),
        ("GET:/user/{username}", (Literal("GET:/user/"), Param("username", "str"))),
        ("{a:int}{b:float}", (Param("a", "int"), Param("b", "float"))),
        ("{_}?", (Param("_", "str"), Literal("?"))),
        (
            "step 1: save {username}'s data",
            (Literal("step 1: save "), Param("username", "str"), Literal("'s data")),
        ),
        ("{{name}}", (Literal("{name}"),)),
        ("{{{name}}}", (Literal("{"), Param("name", "str"), Literal("}"))),
        ("a{{b}}c{d}", (Literal("a{b}c"), Param("d", "str"))),
        ("}}{{", (Literal("}{"),)),
        ("a\n{b}\n", (Literal("a\n"), Param("b", "str"), Literal("\n"))),
        ("größe {m_}", (Literal("größe "), Param("m_", "str"))),
        ("a.*b{c}", (Literal("a.*b"), Param("c", "str"))),
    ],
)
def test_tokens(text: str, tokens: tuple[Token, ...]) -> None:
    pattern = parse_pattern(text)
    assert pattern.text == text
    assert pattern.tokens == tokens
    assert list(pattern.convertors) == [token.name for token in tokens if isinstance(token, Param)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/{a}", "/{b}", True),
        ("/{a}", "/{b:str}", True),
        ("/{a}", "/{b:path}", False),
        ("/{{:str}}", "/{str}", False),
        ("/{{a}}", "/{{b}}", False),
        ("/{a:int}{b}", "/{b:int}{a}", True),
        ("/a", "/b", False),
    ],
)
def test_key_is_the_same_up_to_the_names_of_parameters(one: str, other: str, same: bool) -> None:
    assert (parse_pattern(one).key == parse_pattern(other).key) is same


@pytest.mark.parametrize(
    ("text", "problem", "column"),
    [
        ("GET:/{name", 'unclosed "{"', 6),
        ("{", 'unclosed "{"', 1),
        ("a{{b}", 'single "}"', 5),
        ("a}b", 'single "}"', 2),
        ("{a}}", 'single "}"', 4),
        ("{}", "a parameter without a name", 2),
        ("/{:int}", "a parameter without a name", 3),
        ("{1a}", 'bad parameter name "1a"', 2),
        ("{ a }", 'bad parameter name " a "', 2),
        ("{größe}", 'bad parameter name "größe"', 2),
        ("{a{b}", 'bad parameter name "a{b"', 2),
        ("{a\nb}", r'bad parameter name "a\nb"', 2),
        ("{a:}", 'unknown convertor ""', 4),
        ("{a:itn}", 'unknown convertor "itn"; did you mean "int"?', 4),
        ("{a:strng}", 'unknown convertor "strng"; did you mean "str"?', 4),
        ("{a:xyz}", 'unknown convertor "xyz" (known: float, int, path, str, text, uuid, word)', 4),
        ("{a:int:int}", 'unknown convertor "int:int"', 4),
        ("{a}/{b}/{a:int}", 'a second parameter "a"', 10),
        ("{_}{_}", 'a second parameter "_"', 5),
    ],
)
def test_malformed(text: str, problem: str, column: int) -> None:
    with pytest.raises(RouteError) as caught:
        parse_pattern(text)
    message, shown, caret = str(caught.value).split("\n")
    assert message.startswith(problem)
    assert message.endswith(f"at column {column} of the pattern")
    if "\n" not in text:
        assert shown == "    " + text
        assert caret == " " * (4 + column - 1) + "^"


def test_the_caret_stands_right_behind_what_is_shown_as_an_escape() -> None:
    with pytest.raises(RouteError) as caught:
        parse_pattern("a\n\t{")
    assert str(caught.value).split("\n")[1:] == [r"    a\n\t{", "         ^"]


def test_compile_path() -> None:
    regex, convertors = compile_path("/user/{name}/{id:int}.{rest:path}")
    assert convertors == {
        "name": CONVERTOR_TYPES["str"],
        "id": CONVERTOR_TYPES["int"],
        "rest": CONVERTOR_TYPES["path"],
    }
    matched = regex.match("/user/a\nb/12.x/y\n")
    assert matched is not None
    assert matched.groupdict() == {"name": "a\nb", "id": "12", "rest": "x/y\n"}
    assert regex.match("/user/a/12") is None


def test_compile_path_matches_the_whole_text_only() -> None:
    regex, _ = compile_path("/a")
    assert regex.match("/a")
    assert not regex.match("/a\n")
    assert not regex.match("/a/")


def test_compile_path_reports_what_is_malformed() -> None:
    with pytest.raises(RouteError, match="unclosed"):
        compile_path("/{a")


UUID = "0F8FAD5B-d9cb-469f-a165-70867728950e"


@pytest.mark.parametrize(
    ("convertor", "text", "value"),
    [
        ("str", "Bob", "Bob"),
        ("str", "a\nb ü", "a\nb ü"),
        ("str", "", None),
        ("str", "a/b", None),
        ("int", "0012", 12),
        ("int", "9" * MAX_INT_DIGITS, int("9" * MAX_INT_DIGITS)),
        ("int", "9" * (MAX_INT_DIGITS + 1), None),
        ("int", "-1", None),
        ("int", "1_0", None),
        ("int", "", None),
        ("int", "١", None),  # a digit, but not an ASCII one
        ("float", "1", 1.0),
        ("float", "12.50", 12.5),
        ("float", "12.", None),
        ("float", ".5", None),
        ("float", "1.2.3", None),
        ("float", "1" * 400, float("inf")),
        ("path", "", ""),
        ("path", "a/b\n/c", "a/b\n/c"),
        ("uuid", UUID, uuid.UUID(UUID)),
        ("uuid", UUID.lower(), uuid.UUID(UUID)),
        ("uuid", UUID[:-1], None),
        ("uuid", UUID.replace("-", ""), None),
    ],
)
def test_built_in_convertors(convertor: str, text: str, value: Any) -> None:
    regex, convertors = compile_path(f"{{x:{convertor}}}")
    matched = regex.match(text)
    assert (matched and convertors["x"].convert(matched["x"])) == value


def test_an_int_is_convertible_whatever_the_interpreter_is_told() -> None:
    assert sys.int_info.str_digits_check_threshold >= MAX_INT_DIGITS


def test_register_convertor() -> None:
    register_convertor("lang", "[a-z]{2}", str.upper)
    regex, convertors = compile_path("/{to:lang}/{rest:path}")
    matched = regex.match("/en/x")
    assert matched is not None
    assert convertors["to"].convert(matched["to"]) == "EN"
    assert parse_pattern("/{to:lang}").key == "/{:lang}"


@pytest.mark.parametrize(
    ("name", "regex", "message"),
    [
        ("1a", "x", 'bad convertor name "1a"'),
        ("", "x", 'bad convertor name ""'),
        ("a-b", "x", 'bad convertor name "a-b"'),
        ("int", "x", 'a convertor "int" already exists'),
        ("lang", "(", "is invalid"),
        ("lang", "a)(b", "is invalid"),
        ("lang", "(?i)a", "is invalid: global flags"),
        ("lang", "(?P<x>a)", r"names its groups \(x\)"),
        ("lang", r"(a|b)\1", "refers to a group by its number"),
        ("lang", r"(a)?(?(1)b|c)", "refers to a group by its number"),
        ("lang", "a*", "matches the empty string"),
        ("lang", "", "matches the empty string"),
    ],
)
def test_convertors_that_cannot_be_registered(name: str, regex: str, message: str) -> None:
    with pytest.raises(RouteError, match=message):
        register_convertor(name, regex, str)
    assert "lang" not in CONVERTOR_TYPES


@pytest.mark.parametrize("regex", [r"\\1", r"(?:a|b)+", "(?i:a)", "(a)(b)", r"\d{2}"])
def test_convertors_that_can(regex: str) -> None:
    register_convertor("lang", regex, str)
    assert CONVERTOR_TYPES["lang"].regex == regex
