"""What a response depends on in its request: Vary, and the content codings that a client accepts. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..headers import Headers

__all__ = ["IDENTITY", "Choice", "acceptable", "add_vary", "choose_coding"]

IDENTITY = "identity"
"""The coding of what is not compressed (RFC 9110 section 12.5.3)."""
_ELEMENT = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?[ \t]*\Z"
)
_ALIASES = {"x-gzip": "gzip"}
"""RFC 9110 section 8.4.1.3."""


def add_vary(headers: Headers, name: str) -> None:
    """Name a request header in Vary, unless it is named already (RFC 9110 section 12.5.5)."""
    given = headers.get("vary", "")
    names = {one.strip().lower() for one in given.split(",")}
    if "*" not in names and name.lower() not in names:
        headers["vary"] = f"{given}, {name}" if given.strip() else name


def acceptable(accepted: Sequence[str], ours: Iterable[str]) -> list[str]:
    """Return those of our codings that a client prefers to `IDENTITY`, the best first; see `choose_coding`."""
    left, chosen = list(ours), []
    while (coding := choose_coding(accepted, left).coding) != IDENTITY:
        left.remove(coding)
        chosen.append(coding)
    return chosen


class Choice(NamedTuple):
    """What a client accepts, of what the server has.

    :ivar coding: one of the server's, or `IDENTITY`
    :ivar refuses_identity: whether the client accepts nothing that is not compressed
    """

    coding: str
    refuses_identity: bool


def choose_coding(accepted: Iterable[str], ours: Sequence[str]) -> Choice:
    """Choose the content coding that a client likes best (RFC 9110 section 12.5.3); of equals the first of ours.

    A client that accepts none of them, not even `IDENTITY`, gets that, as from other servers: a 406 helps nobody.

    :param accepted: the values of its Accept-Encoding fields; none: it gets `IDENTITY`, because it may know no coding
    :param ours: codings, in the server's order of preference
    """
    weights: dict[str, float] = {}
    for value in accepted:
        for element in value.split(","):
            match = _ELEMENT.match(element)
            if match is not None:
                name = match[1].lower()
                weights.setdefault(_ALIASES.get(name, name), 1.0 if match[2] is None else float(match[2]))
    others = weights.get("*", 0.0)
    best, best_weight = IDENTITY, weights.get(IDENTITY, others)
    for name in ours:
        weight = weights.get(name, others)
        if weight > best_weight or (weight == best_weight > 0 and best == IDENTITY):
            best, best_weight = name, weight
    return Choice(best, weights.get(IDENTITY, weights.get("*")) == 0)
