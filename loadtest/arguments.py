"""The arguments of the commands here: a number that makes no sense is refused in one line, with exit code 2."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from typing import Any, NoReturn

__all__ = [
    "MAX_CLIENTS",
    "PORT",
    "REPEATS",
    "SECONDS",
    "WHOLE_SECONDS",
    "WORKERS",
    "Arguments",
    "Decimal",
    "Listed",
    "Names",
    "Number",
]


class _Bounded:
    """The type of an argument that is a number within bounds.

    :param least: the least that makes sense
    :param most: the maximum: more is a typing error, or more than a machine can do
    """

    kind = "number"

    def __init__(self, least: float, most: float) -> None:
        self.least = least
        self.most = most

    def read(self, text: str) -> float:
        """Return the number that a text is; raises ValueError."""
        return float(text)

    def __call__(self, text: str) -> Any:
        """Return the number.

        :raises argparse.ArgumentTypeError: it is none, or out of bounds
        """
        try:
            value = self.read(text)
        except ValueError:
            value = math.nan
        if not self.least <= value <= self.most:  # nan is not either
            raise argparse.ArgumentTypeError(f"{text!r} is not a {self}")
        return value

    def __str__(self) -> str:
        return f"{self.kind} from {self.least:,} to {self.most:,}"


class Decimal(_Bounded):
    """A number that may have a fraction."""


class Number(_Bounded):
    """A whole number."""

    kind = "whole number"

    def read(self, text: str) -> float:
        """Return the number that a text is; raises ValueError, also for more digits than Python reads."""
        return int(text)


class Listed:
    """The type of an argument that is a list of numbers with commas between."""

    def __init__(self, number: Number | Decimal) -> None:
        self.number = number

    def __call__(self, text: str) -> list[Any]:
        """Return the numbers; raises as `Number` does."""
        return [self.number(part) for part in text.split(",")]


class Names:
    """The type of an argument that is a list of names with commas between."""

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)

    def __call__(self, text: str) -> list[str]:
        """Return the names.

        :raises argparse.ArgumentTypeError: one is not known
        """
        names = text.split(",")
        for name in names:
            if name not in self.known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(self.known)}")
        return names


PORT = Number(1, 65_535)
WORKERS = Number(1, 1024)
"""As many as `tiny-listenerctl scale` takes."""
REPEATS = Number(1, 1000)
"""Of measurements."""
SECONDS = Decimal(0.1, 7 * 86_400)
"""Of a measurement: up to a week."""
WHOLE_SECONDS = Number(1, 7 * 86_400)
"""Of a measurement by wrk, which counts whole ones."""
MAX_CLIENTS = 50_000
"""Connections that one address can have to one port are a few more."""


class Arguments(argparse.ArgumentParser):
    """A parser of arguments whose errors are one line.

    :param description: the docstring of the command
    """

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """Add an argument; one that is a number has bounds.

        :raises TypeError: a number without
        """
        if options.get("type") in (int, float):
            raise TypeError(f"{names[0]}: a number has bounds: give Number(least, most) or Decimal(least, most)")
        return super().add_argument(*names, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end with exit code 2."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")
