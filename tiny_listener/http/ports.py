"""What a request needs from the connection that it arrived on, whatever its protocol.

`Request` and `IncomingBody` depend only on these protocols. A second wire protocol is a sibling of HTTP/1, not a change
to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .body.incoming import IncomingBody
    from .forwarded import Origin
    from .request import Request

__all__ = ["BodyFlow", "Wire"]


class Wire(Protocol):
    """The connection, or the stream of one, that a request arrived on."""

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has disconnected, as far as is known."""

    async def disconnected(self) -> None:
        """Return when the client has disconnected."""

    @property
    def server_address(self) -> tuple[str, int | None]:
        """The server's own host and port, for a request that names none."""

    def origin_of(self, request: Request) -> Origin:
        """Return the origin of a request, from the peer or from trusted proxies."""


class BodyFlow(Protocol):
    """Feeds a body as fast as its handler reads it."""

    def body_taken(self) -> None:
        """The handler read what had arrived."""

    def body_wanted(self, body: IncomingBody) -> None:
        """The handler waits for more."""
