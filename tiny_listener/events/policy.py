"""What a route decides about its published events: when a failed one is tried again, and when it is given up. Pure."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from ..errors import EventDataError, ListenerError, PathParamsError

__all__ = [
    "LEAST_WAIT",
    "Again",
    "GivenUp",
    "Reason",
    "Reject",
    "Retry",
    "RetryLater",
    "RouteTerms",
    "decide",
]

LEAST_WAIT = 0.05
"""Seconds: the shortest wait before a retry. Without it, jitter would let many retries follow each other at once."""

Reason: TypeAlias = Literal["attempts", "rejected", "undecodable", "no route", "crashed"]
"""Why an event became a dead letter."""


class RetryLater(ListenerError):  # noqa: N818 - what a handler asks for, not an error of its own
    """Raised by a handler of a published event: try this event again after some seconds. It counts as an attempt.

    :param seconds: instead of the wait of the route's `Retry`
    :raises ValueError: it is no number of seconds, or below 0
    """

    def __init__(self, seconds: float) -> None:
        if not _is_number(seconds) or seconds < 0:
            raise ValueError(f"RetryLater(seconds) takes a number of seconds from 0, not {seconds!r}")
        super().__init__(f"try again in {seconds:g} s")
        self.seconds: Final = float(seconds)


class Reject(ListenerError):  # noqa: N818
    """Raised by a handler of a published event: never try this event again. It becomes a dead letter.

    :param why: in words, for the dead letter
    """

    def __init__(self, why: str = "rejected") -> None:
        super().__init__(why)

    @property
    def is_rejection(self) -> bool:
        """See `ListenerError`."""
        return True


class Retry:
    """When a published event whose handler failed is tried again: the option `retry=` of a route.

    The wait before attempt n + 1 is drawn between 0 and `min(most, first * factor ** (n - 1))` seconds ("full jitter"),
    and is at least 0.05 s. While it lasts, a serial key waits.

    :param max_attempts: attempts in all, the first included
    :param first: seconds that the first wait lasts at most
    :param factor: by which this limit grows
    :param most: seconds that no wait exceeds
    :param on: the exceptions that are tried again; any other one is final at once
    :param blocking: False: later events of the key may pass while one waits for its retry; the order of the key then
        holds up to the first failure only
    :raises ValueError: a number is out of its range
    :raises TypeError: `on` is neither an exception class nor a tuple of such
    """

    __slots__ = ("blocking", "factor", "first", "max_attempts", "most", "on")

    def __init__(
        self,
        max_attempts: int = 5,
        first: float = 1.0,
        factor: float = 2.0,
        most: float = 300.0,
        on: type[Exception] | tuple[type[Exception], ...] = Exception,
        *,
        blocking: bool = True,
    ) -> None:
        if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
            raise ValueError(f"Retry(max_attempts=...) takes a whole number from 1, not {max_attempts!r}")
        for name, value, least in (("first", first, 0), ("factor", factor, 1), ("most", most, 0)):
            if not _is_number(value) or value < least:
                raise ValueError(f"Retry({name}=...) takes a number from {least}, not {value!r}")
        kinds = on if isinstance(on, tuple) else (on,)
        if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds) or not kinds:
            raise TypeError(f"Retry(on=...) takes an exception class, or a tuple of such, not {on!r}")
        if not isinstance(blocking, bool):
            raise TypeError(f"Retry(blocking=...) takes True or False, not {blocking!r}")
        self.max_attempts: Final = max_attempts
        self.first: Final = float(first)
        self.factor: Final = float(factor)
        self.most: Final = float(most)
        self.on: Final = kinds
        self.blocking: Final = blocking

    def wait(self, attempt: int, draw: Callable[[float, float], float]) -> float:
        """Return the seconds to wait after an attempt has failed.

        :param attempt: its number, from 1
        :param draw: `random.uniform`
        """
        try:
            limit = min(self.most, self.first * self.factor ** (attempt - 1))
        except OverflowError:
            limit = self.most
        return max(LEAST_WAIT, draw(0.0, limit))

    def __repr__(self) -> str:
        return (
            f"Retry(max_attempts={self.max_attempts}, first={self.first:g}, factor={self.factor:g}, "
            f"most={self.most:g}, blocking={self.blocking})"
        )


class RouteTerms(msgspec.Struct, frozen=True, array_like=True):
    """What the carrier must know of a route of a worker.

    :ivar concurrency: events of this route in flight at one worker; None: as many as the worker takes
    :ivar halt: whether a key waits for an operator when one of its events is given up
    :ivar ack_before: whether an event is settled before its handler runs: at most once instead of at least once
    """

    concurrency: int | None = None
    halt: bool = False
    ack_before: bool = False


class Again(msgspec.Struct, frozen=True):
    """A failed event is tried again.

    :ivar wait: seconds
    """

    wait: float


class GivenUp(msgspec.Struct, frozen=True):
    """A failed event becomes a dead letter."""

    reason: Reason


def decide(
    error: BaseException, attempt: int, retry: Retry | None, draw: Callable[[float, float], float]
) -> Again | GivenUp:
    """Return what becomes of an event whose handler raised an error.

    :param attempt: the number of the attempt that failed, from 1
    :param retry: that of the route; None: no retries
    :param draw: `random.uniform`
    """
    errors = _leaves(error)
    if any(isinstance(one, Reject) for one in errors):
        return GivenUp("rejected")
    if any(isinstance(one, (EventDataError, PathParamsError)) for one in errors):
        return GivenUp("undecodable")
    most = 1 if retry is None else retry.max_attempts
    if waits := [one.seconds for one in errors if isinstance(one, RetryLater)]:
        # A handler that asks for a retry gets one even where the route has no policy: that of a default `Retry`.
        most = Retry().max_attempts if retry is None else most
        return Again(max(LEAST_WAIT, *waits)) if attempt < most else GivenUp("attempts")
    if retry is None or attempt >= most:
        return GivenUp("attempts")
    # The application cancelled its own handler: a drain is no failure, and does not come here.
    is_one = isinstance(error, retry.on) or all(isinstance(one, (*retry.on, asyncio.CancelledError)) for one in errors)
    return Again(retry.wait(attempt, draw)) if is_one else GivenUp("attempts")


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the errors of a group, as several subscribers may raise it; of one error itself."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for one in error.exceptions for leaf in _leaves(one)]


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an int of more than 300 digits
        return False
