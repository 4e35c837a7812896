"""What a match costs as the table of routes grows: `python loadtest/bench_router.py`.

Prints a Markdown table: nanoseconds per `Router.match` for a few kinds of lookup, in tables of 10 to 10,000
routes, the ratio of the largest to the smallest, and the same for a scan of compiled regular expressions in
the same run. Each lookup is of a route that every table has, by texts that are new (their hash is not
known). Medians over rounds that take the tables in turn. The exit code is 1 if a ratio of the trie is more
than `TARGET`.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from arguments import Arguments

from tiny_listener.router import Pattern, Router, compile_path, parse_pattern

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 41
TARGET = 1.2
"""The flat cost that the router promises: the largest table against the smallest."""

TEXTS_A_ROUND = 400
SECONDS_A_SCAN = 0.01
"""A scan of a large table is measured with fewer texts, but for about as long."""

# These are in every table; they are what is looked up.
COMMON = [
    "GET:/health",
    "GET:/user/{username}",
    "GET:/user/{username}/posts/{id:int}",
    "GET:/files/{id:int}/{part}/meta",
    "GET:/files/{name:path}/data",
    "step 1: save {username}'s data",
    "{_}?",
]
LOOKUPS = {
    "static hit": "GET:/health",
    "parameter hit": "GET:/user/Bob",
    "two parameters, one int": "GET:/user/Bob/posts/17",
    "miss": "GET:/nothing/here",
    "miss after a parameter": "GET:/user/Bob/unknown",
    "backtracking": "GET:/files/12/b/c/data",
}

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
THINGS = [
    "account", "address", "alert", "asset", "branch", "build", "cart", "channel", "comment", "commit",
    "contact", "coupon", "device", "document", "event", "export", "feature", "folder", "group", "hook",
    "image", "import", "invoice", "issue", "job", "key", "label", "license", "list", "member", "message",
    "metric", "milestone", "node", "note", "order", "org", "page", "payment", "plan", "policy", "product",
    "project", "queue", "refund", "release", "report", "review", "role", "rule", "secret", "session",
    "setting", "shipment", "site", "subscription", "tag", "task", "team", "template", "ticket", "token",
    "topic", "vendor", "version", "webhook", "workspace", "zone",
]  # fmt: skip
SHAPES = [
    "{method}:/api/v1/{a}s",
    "{method}:/api/v1/{a}s/{{id:int}}",
    "{method}:/api/v1/{a}s/{{id:int}}/{b}s",
    "{method}:/api/v1/{a}s/{{{a}_id}}/{b}s/{{{b}}}",
    "{method}:/{a}/{b}/status",
    "{method}:/{a}/{{name}}.{b}",
    "{method}:/static/{a}/{b}/{{file:path}}",
    "queue {a}: {b} {{id:uuid}}",
]


@dataclass(frozen=True)
class Row:
    """A route of the tables."""

    path: str
    pattern: Pattern
    name: str = ""
    where: str = "bench"


def paths_of(size: int) -> list[str]:
    """`size` patterns: the common ones, and of others a random choice that begins as any smaller one."""
    chance = random.Random(7)
    paths = dict.fromkeys(COMMON)
    while len(paths) < size:
        first, second = chance.sample(THINGS, 2)
        shape = chance.choice(SHAPES)
        paths.setdefault(shape.format(method=chance.choice(METHODS), a=first, b=second))
    return list(paths)


def router_of(paths: list[str]) -> Callable[[str], object]:
    """The `match` of a router of `paths`."""
    router: Router[Row] = Router()
    for path in paths:
        router.add(Row(path, parse_pattern(path)))
    router.prepare()
    return router.match


def scan_of(paths: list[str]) -> Callable[[str], object]:
    """What `match` would be without a trie: one regular expression after the other, the common ones amid."""
    others = paths[len(COMMON) :]
    middle = len(others) // 2
    table = [(path, *compile_path(path)) for path in others[:middle] + COMMON + others[middle:]]

    def match(path: str) -> tuple[str, dict[str, Any]] | None:
        for route, regex, convertors in table:
            found = regex.match(path)
            if found:
                groups = found.groupdict().items()
                return route, {name: convertors[name].convert(text) for name, text in groups}
        return None

    return match


def measure(match: Callable[[str], object], text: str, count: int) -> float:
    """Nanoseconds for one call of `match`, over `count` of them, each with a new object for `text`."""
    texts = [text[:1] + text[1:] for _ in range(count)]
    start = time.perf_counter()
    for fresh in texts:
        match(fresh)
    return (time.perf_counter() - start) / count * 1e9


def medians(matches: list[Callable[[str], object]], text: str) -> list[float]:
    """Nanoseconds of each of `matches` for `text`."""
    counts = []
    for match in matches:
        once = measure(match, text, 3) / 1e9
        counts.append(max(1, min(TEXTS_A_ROUND, int(SECONDS_A_SCAN / once))))
    samples: list[list[float]] = [[] for _ in matches]
    for _ in range(ROUNDS if min(counts) > 1 else 3):
        for sample, match, count in zip(samples, matches, counts, strict=True):
            sample.append(measure(match, text, count))
    return [statistics.median(sample) for sample in samples]


def line(*cells: str) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join(cells) + " |")


def main() -> int:
    """Print the table; 1 if the cost of the trie is not flat."""
    Arguments(__doc__).parse_args()
    tables = [paths_of(size) for size in SIZES]
    routers, scans = [router_of(paths) for paths in tables], [scan_of(paths) for paths in tables]
    gc.collect()
    gc.disable()
    worst = 0.0
    line("ns per match", "by", *(f"{size:,} routes" for size in SIZES), f"{SIZES[-1]:,} / {SIZES[0]}")
    line("---", "---", *("---:" for _ in SIZES), "---:")
    for name, text in LOOKUPS.items():
        for by, matches in (("trie", routers), ("scan", scans)):
            costs = medians(matches, text)
            ratio = costs[-1] / costs[0]
            line(name, by, *(f"{cost:,.0f}" for cost in costs), f"{ratio:,.2f}x")
            if by == "trie":
                worst = max(worst, ratio)
    kept = worst <= TARGET
    verdict = "kept" if kept else "MISSED"
    print(f"\nThe worst ratio of the trie is {worst:.2f}x; the target is {TARGET}x: {verdict}.")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
