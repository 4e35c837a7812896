"""The format of a line: text with gunicorn's atoms, `%(h)s "%(r)s" %(s)s`, checked before the first request.

https://docs.gunicorn.org/en/stable/settings.html#access-log-format
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from ...errors import WrongOptions
from ..syntax import TOKEN
from .entry import Entry, quotable

__all__ = ["ATOMS", "Part", "line_format"]

Part: TypeAlias = "Callable[[Entry], str]"
"""Writes one part of a line."""

ATOMS: Final[dict[str, Part]] = {
    "h": lambda entry: entry.host,
    "l": lambda _: "-",
    "u": lambda entry: entry.user,
    "t": lambda entry: entry.time(),
    "r": lambda entry: entry.request_line,
    "m": lambda entry: entry.request.method or "-",
    "U": lambda entry: quotable(entry.request.target.partition("?")[0]) or "-",
    "q": lambda entry: quotable(entry.request.query_string),
    "H": lambda entry: f"HTTP/{entry.request.http_version}",
    "s": lambda entry: str(entry.status),
    "B": lambda entry: str(entry.size),
    "b": lambda entry: str(entry.size or "-"),
    "f": lambda entry: entry.sent("referer"),
    "a": lambda entry: entry.sent("user-agent"),
    "T": lambda entry: str(int(entry.seconds)),
    "M": lambda entry: str(int(entry.seconds * 1000)),
    "D": lambda entry: str(int(entry.seconds * 1_000_000)),
    "L": lambda entry: f"{entry.seconds:.6f}",
    "p": lambda _: f"<{os.getpid()}>",
}
"""By name. Further ones: `{name}i`, a header field of the request, and `{name}o`, one of the response."""

WORDS: Final = {
    "host": "h", "client": "h", "remote_addr": "h", "address": "h", "user": "u", "remote_user": "u", "time": "t",
    "date": "t", "asctime": "t", "time_local": "t", "request": "r", "request_line": "r", "method": "m",
    "request_method": "m", "path": "U", "url": "U", "uri": "U", "target": "U", "query": "q", "query_string": "q",
    "args": "q", "protocol": "H", "version": "H", "status": "s", "code": "s", "size": "B", "bytes": "B", "length": "B",
    "body_bytes_sent": "B", "referer": "f", "referrer": "f", "agent": "a", "user_agent": "a", "duration": "L",
    "seconds": "L", "request_time": "L", "milliseconds": "M", "microseconds": "D", "pid": "p", "process": "p",
}  # fmt: skip
"""What atoms are called elsewhere."""

PERCENT = re.compile(r"%(?:(%)|\(([^()]*)\)(.?))?", re.DOTALL)
HEADER = re.compile(rf"\{{({TOKEN})\}}([io])\Z")


def line_format(text: str) -> list[Part]:
    """Return the parts of a line, in order.

    :raises WrongOptions: an atom does not exist; the message names it, and the nearest one
    """
    if not text.strip() or not text.isprintable():
        raise _wrong(f"{text!r} is no format of a line: it needs atoms, such as %(h)s, and no control characters")
    parts: list[Part] = []
    position = 0
    for match in PERCENT.finditer(text):
        if match.start() > position:
            parts.append(_constant(text[position : match.start()]))
        position = match.end()
        if match[1]:
            parts.append(_constant("%"))
        elif match[2] is None:
            after = text[position : position + 1]
            atom = f"%({after})s" if after in ATOMS else "%(h)s"
            raise _wrong(f"{match[0] + after!r} is no atom: write {atom}, or %% for a percent sign")
        elif match[3] != "s":
            raise _wrong(f"%({match[2]}) is followed by s: %({match[2]})s, not {match[0]!r}")
        else:
            parts.append(_atom(match[2]))
    if position < len(text):
        parts.append(_constant(text[position:]))
    return parts


def _atom(name: str) -> Part:
    part = ATOMS.get(name)
    if part is not None:
        return part
    field = HEADER.match(name)
    if field is None:
        raise _wrong(f"%({name})s is no atom; did you mean {_nearest(name)}?")
    return partial(_sent if field[2] == "i" else _answered, field[1].lower())


def _sent(name: str, entry: Entry) -> str:
    return entry.sent(name)


def _answered(name: str, entry: Entry) -> str:
    return entry.answered(name)


def _constant(text: str) -> Part:
    return lambda _: text


def _nearest(name: str) -> str:
    """Return the atom that was probably meant."""
    field = name.strip("{}ioe")
    if "{" in name or "-" in name:
        return f"%({{{field if re.fullmatch(TOKEN, field) else 'host'}}}i)s"
    word = name.lower().replace(" ", "_")
    if near := difflib.get_close_matches(word, WORDS, n=1):
        return f"%({WORDS[near[0]]})s"
    letter = name.swapcase()[:1]
    return f"%({letter})s" if letter in ATOMS else f"one of {', '.join(f'%({one})s' for one in ATOMS)}"


def _wrong(why: str) -> WrongOptions:
    return WrongOptions(f"--access-log-format: {why}")
