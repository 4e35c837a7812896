"""Types of option values: numbers, times and permissions. Their errors say what would be valid."""

from __future__ import annotations

import math
import re
from typing import Any

import click

__all__ = ["HostNames", "Permissions", "Seconds", "Whole"]


class Whole(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`."""
        if not isinstance(value, int):
            try:
                value = int(str(value))
            except ValueError:
                self.fail(f"{value!r} is not a whole number", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number


class Seconds(click.FloatRange):
    """A finite time in seconds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not math.isfinite(number):
            # NaN compares with nothing, and no clock reaches infinity.
            self.fail(f"{value} is not a number of seconds; use a large one, such as 1000000, for no limit", param, ctx)
        seconds: float = super().convert(number, param, ctx)
        return seconds


class Permissions(click.ParamType[int]):
    """Permissions as for chmod(1), in octal digits.

    :param example: for the error message
    """

    name = "mode"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`; a number in a file is interpreted by its digits."""
        text = str(value)
        if not text.isascii() or not text.isdigit() or set(text) - set("01234567") or int(text, 8) > 0o777:
            self.fail(f"{value!r} is not valid: use three octal digits, such as {self._example}", param, ctx)
        return int(text, 8)


class HostNames(click.ParamType[tuple[str, ...]]):
    """Host names separated by commas, as in Host fields; each may begin with `*.`, or be `*`."""

    name = "list"
    _RIGHT = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """See `click.ParamType`; names are converted to lower case."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip().lower() for name in str(value).split(","))
        for name in names:
            if not self._RIGHT.fullmatch(name):
                right = "web.internal, *.web.internal or *, without scheme or port, separated by commas"
                self.fail(f"{name!r} is not a host name: use names such as {right}", param, ctx)
        return names
