"""What becomes of an event whose handler raised an error."""

from __future__ import annotations

import asyncio

import pytest

from tiny_listener import EventDataError, PathParamsError, Reject, Retry, RetryLater
from tiny_listener.events.policy import Again, GivenUp, decide

RETRY = Retry(max_attempts=3, first=1, factor=2, on=ValueError)


def most(_low: float, high: float) -> float:
    return high


def group(*errors: BaseException) -> BaseExceptionGroup[BaseException]:
    return BaseExceptionGroup("several subscribers failed", errors)


@pytest.mark.parametrize(
    ("error", "attempt", "retry", "found"),
    [
        (ValueError(), 1, RETRY, Again(1.0)),
        (ValueError(), 2, RETRY, Again(2.0)),
        (ValueError(), 3, RETRY, GivenUp("attempts")),
        (ValueError(), 1, None, GivenUp("attempts")),
        (KeyError(), 1, RETRY, GivenUp("attempts")),
        (asyncio.CancelledError(), 1, RETRY, Again(1.0)),
        (Reject("no"), 1, RETRY, GivenUp("rejected")),
        (EventDataError("no"), 1, RETRY, GivenUp("undecodable")),
        (PathParamsError("no"), 1, RETRY, GivenUp("undecodable")),
        (RetryLater(7), 1, RETRY, Again(7.0)),
        (RetryLater(0), 1, RETRY, Again(0.05)),
        (RetryLater(7), 4, None, Again(7.0)),
        (RetryLater(7), 5, None, GivenUp("attempts")),
        (RetryLater(7), 3, RETRY, GivenUp("attempts")),
        (group(ValueError(), ValueError()), 1, RETRY, Again(1.0)),
        (group(ValueError(), KeyError()), 1, RETRY, GivenUp("attempts")),
        (group(ValueError(), group(KeyError(), Reject("no"))), 1, RETRY, GivenUp("rejected")),
        (group(RetryLater(7), RetryLater(9)), 1, RETRY, Again(9.0)),
        (group(KeyError()), 1, Retry(on=BaseExceptionGroup), Again(1.0)),  # type: ignore[arg-type]
    ],
)
def test_what_becomes_of_it(error: BaseException, attempt: int, retry: Retry | None, found: Again | GivenUp) -> None:
    assert decide(error, attempt, retry, most) == found


def test_waits_are_bounded_and_never_zero() -> None:
    retry = Retry(max_attempts=10_000, first=1, factor=10, most=300)
    assert retry.wait(9_999, most) == 300
    assert retry.wait(1, min) == 0.05
