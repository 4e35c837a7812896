"""Convertors: which text a parameter accepts, and the value that it is converted to.

The name of a convertor follows the colon of a parameter, as in `{id:int}`; a parameter without a colon is `str`. Five
are built in (`CONVERTOR_TYPES` holds them), and `register_convertor` adds those of an application.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

from tiny_listener.errors import RouteError

__all__ = [
    "CONVERTOR_TYPES",
    "END_RANK",
    "LITERAL_RANK",
    "MAX_INT_DIGITS",
    "Convertor",
    "compile_piece",
    "rank_of",
    "register_convertor",
]

MAX_INT_DIGITS = 640
"""Maximum number of digits that `int` accepts.

CPython limits the digits that `int()` reads (4300 by default, CVE-2020-10735). The limit can be lowered, but never
below `sys.int_info.str_digits_check_threshold`, which is 640. So `int()` can always convert a text that matches,
whatever the configuration."""


class Convertor(NamedTuple):
    """What a parameter accepts (`regex`, matched against the whole piece), and the function that converts it to a
    value.
    """

    regex: str
    convert: Callable[[str], Any]


CONVERTOR_TYPES: dict[str, Convertor] = {
    "str": Convertor(r"[^/]+", str),
    "int": Convertor(rf"[0-9]{{1,{MAX_INT_DIGITS}}}", int),
    "float": Convertor(r"[0-9]+(?:\.[0-9]+)?", float),  # beyond the range of a double it becomes inf
    "word": Convertor(r"\S+", str),
    "text": Convertor(r"[^\r\n]+", str),
    "path": Convertor(r".*", str),
    "uuid": Convertor(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}", uuid.UUID),
}
"""All convertors by name. Add to it with `register_convertor`, which validates its arguments."""

# Convertors that applications register are ranked between "float" and the end of a pattern, by name.
_RANKS = {"uuid": 0, "int": 1, "float": 2, "str": 5, "word": 6, "text": 7, "path": 8}
_CUSTOM_RANK = 3
LITERAL_RANK = -1, ""
"""The rank of literal text among what may follow a parameter: see `rank_of`."""
END_RANK = 4, ""
"""The rank of a pattern's end. `str`, `word`, `text` and `path`, which take what the parameter might take, are ranked
after it."""

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# `\1` and `(?(1)...)` count groups from the start of the whole pattern, including other parameters.
_GROUP_NUMBER = re.compile(r"(?<!\\)(?:\\\\)*(?:\\[1-9]|\(\?\([0-9])")


def register_convertor(name: str, regex: str, convert: Callable[[str], Any]) -> None:
    r"""Let patterns use `{parameter:name}`: a piece of text that `regex` matches as a whole, passed to `convert`.

    In `regex` a dot matches newlines too. Its groups must not be named or referred to by number. It sees only its own
    piece: `^`, `$`, `\b` and look-around do not work across the boundaries of the piece. It should be greedy
    throughout: a parameter takes as much text as it can.

    `convert` may raise ValueError to reject a text that `regex` accepts: then nothing matches, because no other route
    is tried. Raises RouteError if `name` is not an identifier or is already in use, or if `regex` is invalid, matches
    the empty string, or has groups of the kinds above.
    """
    if not _NAME.fullmatch(name):
        raise RouteError(f'bad convertor name "{name}": ASCII letters, digits and "_", no digit first')
    if name in CONVERTOR_TYPES:
        raise RouteError(f'a convertor "{name}" already exists: {CONVERTOR_TYPES[name].regex}')
    refused = _refuse(regex)
    if refused:
        raise RouteError(f'convertor "{name}": the regex {regex!r} {refused}')
    CONVERTOR_TYPES[name] = Convertor(regex, convert)


def _refuse(regex: str) -> str:
    """Return why `regex` cannot be that of a convertor; empty if it can."""
    try:
        compiled = compile_piece(regex)
        # It becomes part of a larger expression, where global flags are an error.
        re.compile(f"(?:{regex})")
    except re.error as error:
        return f"is invalid: {error}"
    if compiled.groupindex:
        return f"names its groups ({', '.join(compiled.groupindex)}): use (?:...) instead"
    if _GROUP_NUMBER.search(regex):
        return "refers to a group by its number, which changes with the pattern around it"
    if compiled.fullmatch(""):
        return "matches the empty string"
    return ""


def compile_piece(regex: str) -> re.Pattern[str]:
    """Compile the `regex` of a convertor, with the flags of `compile_path`.

    Raises re.error if it is invalid.
    """
    return re.compile(regex, re.DOTALL)


def rank_of(name: str) -> tuple[int, str]:
    """Return the rank of convertor `name` in the order in which parameters are tried at one position: lowest first.

    uuid, int, float, then an application's own by name, then str, word, text and path.
    """
    return _RANKS.get(name, _CUSTOM_RANK), name
