"""Whether an answer is the one that was expected."""

from __future__ import annotations

from typing import Any

__all__ = ["expect"]

SHOWN = 100
"""Bytes of an unexpected body that are shown: locust counts failures by their texts."""


def expect(response: Any, status: int, body: str | bytes | None = None) -> None:
    """Count a request as failed unless its answer has this status and this body.

    :param response: what locust gave, with `catch_response=True`
    :param body: None: any
    """
    got: Any = response.text if isinstance(body, str) else response.content
    if response.status_code == status and (body is None or got == body):
        response.success()
    elif response.error is not None and not response.status_code:
        response.failure(response.error)
    elif response.status_code != status:
        response.failure(f"{status} was expected, not {response.status_code}")
    else:
        response.failure(f"the body is not the one that was expected: {(got or '')[:SHOWN]!r}")
