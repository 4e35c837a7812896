"""The access tokens of senders (HTTP 1.1 Web Hooks for Event Delivery, section 3; RFC 6750)."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ..errors import HTTPError

if TYPE_CHECKING:
    from ..request import Request

__all__ = ["Tokens"]

PARAMETER: Final = "access_token"
IN_TARGET: Final = re.compile(r"(?<=[?&])access_token=[^&]*")
FORM: Final = re.compile(r"[!-~]+")


class Tokens:
    """The tokens of which a delivery has to have one.

    :param tokens: printable ASCII without spaces; none: deliveries need no token
    :param in_query: whether a token may also be the parameter `access_token` of the query
    :raises ValueError: a token is empty, or has other characters
    """

    __slots__ = ("_in_query", "_tokens")

    def __init__(self, tokens: Collection[str], *, in_query: bool) -> None:
        given = (tokens,) if isinstance(tokens, str) else tuple(tokens)
        if not all(isinstance(token, str) and FORM.fullmatch(token) for token in given):
            raise ValueError("tokens= takes texts of printable ASCII without spaces")
        if in_query and not given:
            raise ValueError("token_in_query=True needs tokens=")
        self._tokens: Final = [token.encode() for token in given]
        self._in_query: Final = in_query

    def check(self, request: Request) -> bool:
        """Refuse a delivery without a token that is known. Its target loses a token, so that no log has it.

        :returns: whether the token was in the query: the response is then for this client alone
        :raises HTTPError: 401
        """
        in_query = request.query.getlist(PARAMETER) if PARAMETER in request.target else []
        if in_query:
            request.target = IN_TARGET.sub(f"{PARAMETER}=-", request.target)
        if not self._tokens:
            return False
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            candidates, from_query = [token.strip(" ")], False
        else:
            candidates, from_query = (in_query if self._in_query else []), True
        if len(candidates) != 1 or not self._knows(candidates[0]):
            raise HTTPError(401, "this receiver needs a token that it knows", {"www-authenticate": "Bearer"})
        return from_query

    def _knows(self, token: str) -> bool:
        given = token.encode("utf-8", "replace")
        return any([secrets.compare_digest(given, one) for one in self._tokens])  # noqa: C419 - all, always
