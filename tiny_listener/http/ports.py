"""What a request asks of the wire that it came on, whatever protocol that speaks.

`Request` and `Body` are typed against these alone: a second wire protocol is a sibling of HTTP/1, not a change of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .body.incoming import Body
    from .forwarded import Origin
    from .request import Request

__all__ = ["BodyFlow", "Wire"]


class Wire(Protocol):
    """The connection, or the stream of one, that a request came on."""

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has gone away, as far as is known."""

    async def disconnected(self) -> None:
        """Return when the client has gone away."""

    def origin_of(self, request: Request) -> Origin:
        """Return where a request came from, as the peer, or proxies that are trusted, say."""


class BodyFlow(Protocol):
    """What feeds a body, as fast as its handler takes it."""

    def body_taken(self) -> None:
        """The handler took what had arrived."""

    def body_wanted(self, body: Body) -> None:
        """The handler waits for more."""
