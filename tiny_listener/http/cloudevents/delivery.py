"""What the answer to a delivery means (HTTP 1.1 Web Hooks for Event Delivery, section 2.2). Pure."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from ...errors import ListenerError

__all__ = ["CloudEventNotDelivered", "Delivered", "judge", "retry_after"]

AGAIN: Final = frozenset({408, 425, 429})
"""Statuses below 500 after which the same request may succeed later."""
NEVER: Final = frozenset({501, 505, 511})
"""Statuses from 500 on after which it does not."""
SECONDS: Final = re.compile(r"[0-9]{1,9}")
MEANINGS: Final = {
    401: "it wants another token: token=",
    403: "it does not take events from here",
    410: "it has been retired: send it no further events",
    413: "the event is too large for it",
    415: "it does not understand this format: try the other mode=",
    429: "it has too many requests",
}


class Delivered(NamedTuple):
    """A receiver has taken an event.

    :ivar status: 200, 201 or 204: it has handled the event; 202: it has stored it
    :ivar headers: of the answer
    :ivar body: of the answer; at most 64 KiB of it
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class CloudEventNotDelivered(ListenerError):  # noqa: N818
    """An event was not delivered, as far as is known. To send it again is safe: receivers know it by source and id.

    :ivar status: of the answer; None: there was none
    :ivar retry_after: seconds for which the receiver wants no request; None: it did not say
    :ivar is_final: whether the same request will fail again: do not repeat it
    :ivar detail: the first line of the answer, or what happened to the connection
    """

    def __init__(
        self,
        url: str,
        why: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        is_final: bool = False,
        detail: str = "",
    ) -> None:
        super().__init__(f"the CloudEvent was not delivered to {url}: {why}" + (f" ({detail})" if detail else ""))
        self.status: Final = status
        self.retry_after: Final = retry_after
        self.is_final: Final = is_final
        self.detail: Final = detail

    @property
    def is_gone(self) -> bool:
        """Whether the receiver has been retired (410): no further event should be sent to it."""
        return self.status == 410


def judge(
    url: str, status: int, headers: Mapping[str, str], body: bytes, now: dt.datetime
) -> CloudEventNotDelivered | None:
    """Return why an event was not delivered, by the answer; None: it was.

    :param url: without secrets, for the message
    :param headers: with names in lower case
    :param now: the time, for a Retry-After that is a date
    """
    if 200 <= status <= 299:
        return None
    if 300 <= status <= 399:
        why, is_final = f"it redirects ({status}), which a sender must not follow", True
    else:
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "unknown"
        why = f"{status} {phrase}" + (f": {MEANINGS[status]}" if status in MEANINGS else "")
        is_final = status in NEVER if status >= 500 else status not in AGAIN
    wait = None if is_final else retry_after(headers.get("retry-after"), now)
    return CloudEventNotDelivered(
        url, why, status=status, retry_after=wait, is_final=is_final, detail=_first_line(body)
    )


def retry_after(value: str | None, now: dt.datetime) -> float | None:
    """Return the seconds that a Retry-After says (RFC 9110 section 10.2.3): a number, or a date; None for others."""
    text = "" if value is None else value.strip(" \t")
    if SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:  # "-0000": the zone is not known
        date = date.replace(tzinfo=dt.UTC)
    return max(0.0, (date - now).total_seconds())


def _first_line(body: bytes) -> str:
    lines = body[:400].decode("utf-8", "replace").splitlines()
    line = lines[0][:200] if lines else ""
    return "".join(char if char.isprintable() else "?" for char in line)
