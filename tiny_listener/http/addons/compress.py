"""Compresses responses for clients that accept it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..response import NO_CONTENT, Response, as_body, piece_bytes
from .codings import CODERS, Coder
from .varying import IDENTITY, add_vary, choose_coding

if TYPE_CHECKING:
    from ..headers import Headers
    from ..request import Request
    from .application import Application

__all__ = ["Compress"]

SMALL = 64 * 1024
"""Bytes that are compressed on the event loop, in less than 2 ms; longer bodies and pieces are, in a thread."""
MAX_SHARE = 0.002
"""Seconds of compressing after which a stream lets other work run."""
COMPRESSED_KINDS = frozenset({"audio", "font", "image", "video"})
"""Types whose formats compress themselves, but for those of `PLAIN`."""
PLAIN = frozenset({"image/svg+xml", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon", "font/ttf", "font/otf"})
COMPRESSED = frozenset(
    f"application/{name}"
    for name in (
        "zip", "gzip", "x-gzip", "zstd", "x-bzip2", "x-xz", "x-7z-compressed", "vnd.rar", "x-rar-compressed",
        "java-archive", "epub+zip", "pdf", "vnd.android.package-archive", "font-woff",
    )
)  # fmt: skip
DIGESTS = ("content-digest", "content-md5", "digest", "repr-digest")
"""Fields about the bytes that the application made, which are then not changed (RFC 9530)."""


class Compress:
    """Compresses what clients accept compressed: with zstd and br if their packages are installed, and with gzip.

    Not what is compressed already (a Content-Encoding, an image, a video, an archive), nor parts of files (206), nor
    what says `Cache-Control: no-transform`. Streams are compressed piece by piece: each can be read when it is sent.
    Install it after the addons and hooks that look at bodies.

    :param minimum: bytes from which a body is compressed; a stream always is
    :raises ValueError: a negative minimum
    """

    def __init__(self, minimum: int = 500) -> None:
        if type(minimum) is not int or minimum < 0:
            raise ValueError(f"Compress(minimum=...) is a number of bytes, 0 or more, not {minimum!r}")
        self._minimum = minimum

    def install(self, app: Application) -> None:
        """See `HTTPListener.use`."""
        app.on_response(self._respond)

    async def _respond(self, request: Request | None, response: Response) -> None:
        if request is None or not _may_be_compressed(response):
            return
        body: Any = response.body
        is_whole = not isinstance(body, AsyncIterator)
        if is_whole and response.status != 304:
            usual = as_body(body)
            if usual is None:
                return  # it cannot be sent
            body = usual[1]
        coding, refuses_identity = choose_coding(request.headers.getlist("accept-encoding"), tuple(CODERS))
        length = len(body) if is_whole else getattr(body, "length", None)
        is_short = length is not None and length < self._minimum and not refuses_identity
        if response.status != 304 and (length == 0 or is_short):
            return
        add_vary(response.headers, "Accept-Encoding")
        if coding == IDENTITY:
            return
        if response.status == 304:  # what was sent before may have been compressed
            _weaken(response.headers)
            return
        coder = CODERS[coding]()
        small: AsyncIterator[bytes] | bytes
        if not is_whole:
            small = _Compressed(body, coder)
        elif len(body) <= SMALL:
            small = coder.whole(body)
        elif request.method == "HEAD":  # for nothing; so the length is not said
            small = _Compressed(_nothing(), coder)
        else:
            small = await asyncio.to_thread(coder.whole, body)
        if isinstance(small, bytes) and len(small) >= len(body) and not refuses_identity:
            return  # random bytes
        response.body = small
        response.headers["content-encoding"] = coding
        response.headers.pop("accept-ranges", None)  # ranges are of what is not compressed
        _weaken(response.headers)


def _may_be_compressed(response: Response) -> bool:
    """Whether the status, the fields and the type of a response allow it."""
    headers, status = response.headers, response.status
    if status in (205, 206) or (status in NO_CONTENT and status != 304):
        return False
    if "content-encoding" in headers or "content-range" in headers or any(name in headers for name in DIGESTS):
        return False
    directives = {one.strip().lower() for one in headers.get("cache-control", "").split(",")}
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_compressed = kind in COMPRESSED or (kind.partition("/")[0] in COMPRESSED_KINDS and kind not in PLAIN)
    return "no-transform" not in directives and not is_compressed


def _weaken(headers: Headers) -> None:
    """A compressed body is not the same bytes: only a weak validator is true of both (RFC 9110 section 8.8.1)."""
    etag = headers.get("etag")
    if etag is not None and not etag.startswith("W/"):
        headers["etag"] = f"W/{etag}"


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


class _Compressed(AsyncIterator[bytes]):
    """The pieces of a stream, compressed; each can be decoded when it is sent."""

    def __init__(self, pieces: AsyncIterator[Any], coder: Coder) -> None:
        self._pieces: Any = pieces
        self._coder: Coder | None = coder
        self._busy = 0.0  # seconds since other work last ran

    async def __anext__(self) -> bytes:
        """Return the next piece; raises what the stream raises."""
        if self._coder is None:
            raise StopAsyncIteration
        try:
            piece = piece_bytes(await anext(self._pieces))
        except StopAsyncIteration:
            coder, self._coder = self._coder, None
            return coder.end()
        if not piece:
            return b""
        if len(piece) > SMALL:
            return await asyncio.to_thread(self._coder.piece, piece)
        began = perf_counter()
        data = self._coder.piece(piece)
        self._busy += perf_counter() - began
        if self._busy > MAX_SHARE:
            self._busy = 0.0
            await asyncio.sleep(0)
        return data

    async def aclose(self) -> None:
        """Close the stream."""
        if hasattr(self._pieces, "aclose"):
            await self._pieces.aclose()
