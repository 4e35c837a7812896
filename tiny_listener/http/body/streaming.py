"""Responses that are sent piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from ..response import FieldsLike, Response, piece_bytes

__all__ = ["StreamingResponse"]


class StreamingResponse(Response):
    """A response whose body comes in pieces: in chunks, or with a Content-Length if its length is known.

    :param body: yields bytes or texts, which are sent as UTF-8
    :param length: of the body in bytes, if it is known; if the body has another length the connection is closed, so
        that no client considers it complete (RFC 9112 section 8)
    :param status: 200 to 599
    :param headers: further header fields
    :param content_type: of the body; plain text by default
    :raises TypeError: the body is not an async iterable
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
                f"a stream must be an async iterable, such as an async generator, not {type(body).__name__}"
            )
        if length is not None and length < 0:
            raise ValueError(f"the length of a body must be 0 or more bytes, not {length}")
        pieces: AsyncIterator[bytes | str] = aiter(body) if length is None else _Measured(aiter(body), length)
        super().__init__(pieces, status, headers, content_type)


class _Measured(AsyncIterator[bytes]):
    """Pieces with a known total length.

    :ivar length: total number of bytes
    """

    def __init__(self, pieces: AsyncIterator[bytes | str], length: int) -> None:
        self._pieces: Any = pieces
        self._left = self.length = length

    async def __anext__(self) -> bytes:
        """Return the next piece.

        :raises ValueError: the pieces are shorter or longer than announced
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
            raise ValueError(f"a stream of {self.length} bytes continues after them")
        return data

    async def aclose(self) -> None:
        """Close the underlying stream."""
        if hasattr(self._pieces, "aclose"):
            await self._pieces.aclose()
