"""What options take: numbers, times and permissions, refused with what would be right."""

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
                self.fail(f"{value!r} is no whole number", param, ctx)
        number: int = super().convert(value, param, ctx)
        return number


class Seconds(click.FloatRange):
    """A time in seconds, which has an end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See `click.ParamType`."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        if not math.isfinite(number):
            # Neither can be waited for: nothing compares with the one, and no clock reaches the other.
            self.fail(
                f"{value} is no number of seconds; a large one, such as 1000000, is as good as forever", param, ctx
            )
        seconds: float = super().convert(number, param, ctx)
        return seconds


class Permissions(click.ParamType[int]):
    """Permissions as chmod(1) takes them, in octal digits.

    :param example: for who gave something else
    """

    name = "mode"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See `click.ParamType`; a number in a file is read as its digits."""
        text = str(value)
        if not text.isascii() or not text.isdigit() or set(text) - set("01234567") or int(text, 8) > 0o777:
            self.fail(f"{value!r} are no permissions: three octal digits, such as {self._example}", param, ctx)
        return int(text, 8)


class HostNames(click.ParamType[tuple[str, ...]]):
    """Names of hosts with commas between, as Host fields may have them; each may begin with `*.`, or be `*`."""

    name = "list"
    _RIGHT = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """See `click.ParamType`; names are in lower case then."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip().lower() for name in str(value).split(","))
        for name in names:
            if not self._RIGHT.fullmatch(name):
                right = "web.internal, *.web.internal or *, without scheme or port, and with commas between"
                self.fail(f"{name!r} is no name of a host: names are such as {right}", param, ctx)
        return names
