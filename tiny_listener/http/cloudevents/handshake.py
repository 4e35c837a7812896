"""The handshake by which a sender asks whether it may send (HTTP 1.1 Web Hooks for Event Delivery, section 4)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ..errors import HTTPError
from ..response import Response

if TYPE_CHECKING:
    from ..headers import Headers

__all__ = ["Handshake"]

ALL: Final = "*"
ORIGIN: Final = "webhook-request-origin"
RATE: Final = "webhook-request-rate"
DNS_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9](?:[A-Za-z0-9\-]{0,62})(?:\.[A-Za-z0-9][A-Za-z0-9\-]{0,62})*\.?"
)
POSITIVE: Final = re.compile(r"[0-9]{1,9}")
ALLOW: Final = "POST, OPTIONS"


class Handshake:
    """Which senders may send, and how often. It authorizes nobody: a sender may claim any origin.

    :param origins: names such as `eventgrid.azure.net`; "*": all
    :param rate: requests per minute that a sender may send; None: no limit. It is told to senders, not enforced
    :param required: whether each delivery has to name an allowed origin, else 403
    :raises ValueError: an argument has a wrong value
    """

    __slots__ = ("_allows_all", "_origins", "rate", "required")

    def __init__(self, origins: Collection[str] = ALL, *, rate: int | None = None, required: bool = False) -> None:
        self._allows_all: Final = origins == ALL
        names = () if self._allows_all else ((origins,) if isinstance(origins, str) else tuple(origins))
        if not self._allows_all and (not names or not all(DNS_NAME.fullmatch(name) for name in names)):
            raise ValueError(f'origins= takes "*", or names such as "eventgrid.azure.net", not {origins!r}')
        if rate is not None and (not isinstance(rate, int) or isinstance(rate, bool) or rate < 1):
            raise ValueError(f"rate= takes a whole number of requests per minute from 1, not {rate!r}")
        self._origins: Final = frozenset(map(_plain, names))
        self.rate: Final = rate
        self.required: Final = required

    def answer(self, headers: Headers) -> Response:
        """Return the response to a validation request. Without permission it has no `WebHook-Allowed-Origin`.

        :raises HTTPError: 400, it is malformed; 403, the origin may not send
        """
        if ORIGIN not in headers:  # an OPTIONS of somebody else
            return Response(status=204, headers={"allow": ALLOW})
        origin = self._origin_in(headers)
        rate = self._rate_for(headers.get(RATE))
        allowed = ALL if self._allows_all else origin
        return Response(
            status=204,
            headers={"allow": ALLOW, "webhook-allowed-origin": allowed, "webhook-allowed-rate": rate},
        )

    def check(self, headers: Headers) -> None:
        """Refuse a delivery whose origin may not send, where deliveries have to name one.

        :raises HTTPError: 403
        """
        if self.required:
            self._origin_in(headers)

    def _origin_in(self, headers: Headers) -> str:
        origins = headers.getlist(ORIGIN)
        if len(origins) != 1:
            raise HTTPError(403, "a delivery has one header WebHook-Request-Origin here", {"allow": ALLOW})
        if not DNS_NAME.fullmatch(origins[0]):
            raise HTTPError(400, "WebHook-Request-Origin is a DNS name, such as eventemitter.example.com")
        if not self._allows_all and _plain(origins[0]) not in self._origins:
            raise HTTPError(403, "this origin may not send here", {"allow": ALLOW})
        return origins[0]

    def _rate_for(self, asked: str | None) -> str:
        if asked is None:
            return ALL if self.rate is None else str(self.rate)
        if not POSITIVE.fullmatch(asked) or not int(asked):
            raise HTTPError(400, "WebHook-Request-Rate is a whole number of requests per minute from 1")
        return ALL if self.rate is None else str(min(int(asked), self.rate))


def _plain(name: str) -> str:
    return name.rstrip(".").lower()
