"""Patterns: the text by which a handler is registered, parsed into tokens.

    GET:/user/{username}          a literal text and a parameter of the convertor `str`
    step {number:int}: {_}?       parameters may be anywhere, not only between slashes
    {{not a parameter}}           doubled braces are literal braces

Nothing else is special: a pattern is arbitrary text, including newlines.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tiny_listener.errors import RouteError

from .convertors import CONVERTOR_TYPES, Convertor

__all__ = ["Literal", "Param", "Pattern", "Token", "compile_path", "parse_pattern"]


class Literal(NamedTuple):
    """Literal text; never empty, and never next to another literal."""

    text: str


class Param(NamedTuple):
    """A named piece of text that a convertor accepts."""

    name: str
    convertor_name: str


Token = Literal | Param


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern as written (`text`), and as parsed (`tokens`)."""

    text: str
    tokens: tuple[Token, ...] = field(repr=False)
    convertors: Mapping[str, Convertor] = field(repr=False, compare=False)
    """The convertor of each parameter, by the parameter's name, from left to right."""
    key: str = field(repr=False)
    """The pattern without the names of its parameters. Patterns with the same key match the same texts in the same way.
    """


_BRACE = re.compile(r"[{}]")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def parse_pattern(text: str) -> Pattern:
    """Parse the pattern `text`. Raises RouteError, with the position in `text`, if it is malformed.

    It is malformed if a brace is unbalanced, if the name of a parameter is empty, not an ASCII identifier or used
    twice, and if a convertor is not registered.
    """
    tokens: list[Token] = []
    convertors: dict[str, Convertor] = {}
    literal: list[str] = []
    position = 0
    while brace := _BRACE.search(text, position):
        start = brace.start()
        literal.append(text[position:start])
        if text.startswith(brace.group(), start + 1):  # doubled: a literal brace
            literal.append(brace.group())
            position = start + 2
            continue
        if brace.group() == "}":
            raise _error(text, start, 'single "}": write "}}" for a literal one')
        param, position = _parse_param(text, start)
        if param.name in convertors:
            raise _error(text, start + 1, f'a second parameter "{param.name}"')
        convertors[param.name] = CONVERTOR_TYPES[param.convertor_name]
        _flush(literal, tokens)
        tokens.append(param)
    literal.append(text[position:])
    _flush(literal, tokens)
    return Pattern(text, tuple(tokens), convertors, "".join(map(_canonical, tokens)))


def compile_path(path: str) -> tuple[re.Pattern[str], dict[str, Convertor]]:
    r"""Return the pattern `path` as a regular expression for a whole text, and the convertors of its parameters.

    The expression has a named group for each parameter, and ends with `\Z`: use it with `match` or `fullmatch`. Raises
    RouteError if `path` is malformed.
    """
    pattern = parse_pattern(path)
    pieces = [
        re.escape(token.text)
        if isinstance(token, Literal)
        else f"(?P<{token.name}>{pattern.convertors[token.name].regex})"
        for token in pattern.tokens
    ]
    return re.compile("".join((*pieces, r"\Z")), re.DOTALL), dict(pattern.convertors)


def _parse_param(text: str, start: int) -> tuple[Param, int]:
    """Return the parameter whose "{" is at `start`, and the position after its "}"."""
    end = text.find("}", start)
    if end < 0:
        raise _error(text, start, 'unclosed "{": write "{{" for a literal one')
    name, colon, convertor_name = text[start + 1 : end].partition(":")
    if not _NAME.fullmatch(name):
        problem = f'bad parameter name "{_on_one_line(name)}"' if name else "a parameter without a name"
        raise _error(text, start + 1, f'{problem}: ASCII letters, digits and "_", no digit first')
    if not colon:
        return Param(name, "str"), end + 1
    if convertor_name not in CONVERTOR_TYPES:
        swapped = f"; write {{{convertor_name}:{name}}}: the name comes first" if name in CONVERTOR_TYPES else ""
        raise _error(text, start + 1 + len(name) + 1, _unknown_convertor(convertor_name, swapped))
    return Param(name, convertor_name), end + 1


def _unknown_convertor(name: str, hint: str) -> str:
    known = sorted(CONVERTOR_TYPES)
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest and not hint:
        hint = f'; did you mean "{nearest[0]}"?'
    return f'unknown convertor "{_on_one_line(name)}"{hint} (known: {", ".join(known)})'


def _flush(literal: list[str], tokens: list[Token]) -> None:
    """Append the collected literal to `tokens`, if it is not empty."""
    text = "".join(literal)
    literal.clear()
    if text:
        tokens.append(Literal(text))


def _canonical(token: Token) -> str:
    if isinstance(token, Param):
        return f"{{:{token.convertor_name}}}"
    return token.text.replace("{", "{{").replace("}", "}}")


def _error(text: str, position: int, problem: str) -> RouteError:
    """Return an error whose message shows `text` on one line, and a caret under `position`."""
    before, rest = (_on_one_line(part) for part in (text[:position], text[position:]))
    return RouteError(
        f"{problem}, at column {position + 1} of the pattern\n    {before}{rest}\n    {' ' * len(before)}^"
    )


def _on_one_line(text: str) -> str:
    """Return `text` with unprintable characters escaped."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
