"""What a PromQL expression reads: the names of its metrics, and what it asks of their labels.

No parser: Prometheus itself says whether an expression is right. This finds names in one that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Reading", "Samples", "readings", "unknown"]

Samples = Mapping[str, list[Mapping[str, str]]]
"""Of each metric's name the labels of its samples."""

_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')
_GROUPING = re.compile(r"\b(by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\[[^]]*\]")
_OFFSET = re.compile(r"\boffset\s+\S+?(?=[\s)]|$)")
_NAME = re.compile(r"(?<![\w.:])[a-zA-Z_:][\w:]*(?!\s*\()(?![\w:])")
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "by", "without", "on", "ignoring"}


@dataclass(frozen=True)
class Reading:
    """A metric that an expression reads.

    :ivar name: of the metric
    :ivar matchers: label, operator, value
    """

    name: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)


def readings(expression: str) -> tuple[list[Reading], set[str]]:
    """Return what an expression reads, and the labels that it groups or joins by."""
    found: list[Reading] = []

    def selector(match: re.Match[str]) -> str:
        assert match[1] is not None, f"a selector without a name in {expression}"
        inside = match[2]
        matchers = [(m[1], m[2], m[3].replace("\\\\", "\\")) for m in _MATCHER.finditer(inside)]
        assert _MATCHER.sub("", inside).strip() == "", f"cannot read {{{inside}}}"
        found.append(Reading(match[1], matchers))
        return " 0 "

    rest = re.sub(r"#.*", "", expression)
    # Braces within the quotes of a matcher's value would end the selector too soon: none of ours has them.
    rest = _SELECTOR.sub(selector, rest)
    labels = {label.strip() for match in _GROUPING.finditer(rest) for label in match[2].split(",") if label.strip()}
    rest = _OFFSET.sub(" ", _RANGE.sub(" ", _GROUPING.sub(" ", rest)))
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', " ", rest)
    found += [Reading(name) for name in _NAME.findall(rest) if name.lower() not in _WORDS]
    return found, labels


def _matches(matcher: tuple[str, str, str], labels: Mapping[str, str]) -> bool:
    label, operator, wanted = matcher
    value = labels.get(label, "")
    equal = re.fullmatch(wanted, value) is not None if "~" in operator else value == wanted
    return equal is not operator.startswith("!")


def unknown(expression: str, samples: Samples, recorded: Iterable[str] = ()) -> list[str]:
    """Return what an expression asks for and `samples` do not have: metrics, labels, values of labels.

    :param recorded: names of recording rules, whose labels are those of what they are made from
    """
    read, grouped = readings(expression)
    assert read, f"nothing is read by {expression}"
    recorded = set(recorded)
    wrong: list[str] = []
    labels_of_all = {"job", "instance"}
    for reading in read:
        if reading.name in recorded:
            labels_of_all |= {"http_route"} if ":" in reading.name and "_route" in reading.name.split(":")[0] else set()
            continue
        of_metric = samples.get(reading.name)
        if of_metric is None:
            wrong.append(f"no metric {reading.name}")
            continue
        known = {label for labels in of_metric for label in labels}
        labels_of_all |= known
        for matcher in reading.matchers:
            label, operator, value = matcher
            if label in {"job", "instance"}:
                continue
            if label not in known:
                wrong.append(f"{reading.name} has no label {label}")
            elif len({_matches(matcher, labels) for labels in of_metric}) == 1:
                effect = "all" if _matches(matcher, of_metric[0]) else "none"
                wrong.append(f"{label}{operator}{value!r} is true of {effect} of {reading.name}")
    wrong += [f"nothing in {expression!r} has a label {label}" for label in sorted(grouped - labels_of_all)]
    return wrong
