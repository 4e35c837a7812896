"""Responses that are sent as they come."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from ..response import FieldsLike, Response, piece_bytes

__all__ = ["StreamingResponse"]


class StreamingResponse(Response):
    """A response whose body comes in pieces: in chunks, or with a Content-Length where its length is known.

    :param body: yields bytes or texts, which are sent as UTF-8
    :param length: of the body in bytes, if it is known; a body of another length ends the connection, so that no
        client takes it for whole (RFC 9112 section 8)
    :param status: 200 to 599
    :param headers: further header fields
    :param content_type: of the body; plain text by default
    :raises TypeError: the body is no async iterable
    :raises ValueError: a negative length, and as `Response`
    """

    __slots__ = ()

    def __init__(
        self,
        body: AsyncIterable[bytes | str],
        status: int = 200,
        headers: FieldsLike = (),
        content_type: str | None = None,
        *,
        length: int | None = None,
    ) -> None:
        if not isinstance(body, AsyncIterable):
            raise TypeError(
                f"a stream is an async iterable, as an `async def` that yields returns one, not {type(body).__name__}"
            )
        if length is not None and length < 0:
            raise ValueError(f"the length of a body is 0 or more bytes, not {length}")
        pieces: AsyncIterator[bytes | str] = aiter(body) if length is None else _Measured(aiter(body), length)
        super().__init__(pieces, status, headers, content_type)


class _Measured(AsyncIterator[bytes]):
    """Pieces that are so many bytes together.

    :ivar length: bytes that are to come in all
    """

    def __init__(self, pieces: AsyncIterator[bytes | str], length: int) -> None:
        self._pieces: Any = pieces
        self._left = self.length = length

    async def __anext__(self) -> bytes:
        """Return the next piece.

        :raises ValueError: the pieces are fewer bytes than was said, or more
        """
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            if self._left:
                raise ValueError(f"a stream of {self.length} bytes ended {self._left} bytes early") from None
            raise
        data = piece_bytes(piece)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"a stream of {self.length} bytes goes on after them")
        return data

    async def aclose(self) -> None:
        """End the stream that is measured."""
        if hasattr(self._pieces, "aclose"):
            await self._pieces.aclose()
