"""Content codings: what compresses a body in one go, or piece by piece. gzip always; zstd and br if installed."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

__all__ = ["CODERS", "Coder", "available"]


class Coder(Protocol):
    """Compresses the pieces of one body."""

    def piece(self, data: bytes) -> bytes:
        """Return all that a client needs to read this piece."""

    def end(self) -> bytes:
        """Return the rest."""

    def whole(self, data: bytes) -> bytes:
        """Return a body that is not in pieces."""


class _Gzip:
    """RFC 9110 section 8.4.1.3. Level 6 is zlib's default; without a time, so that equal bodies stay equal."""

    def __init__(self) -> None:
        self._coder = zlib.compressobj(6, zlib.DEFLATED, 31)

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._coder.flush()

    def whole(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush()


class _Brotli:
    """RFC 7932. Quality 4 is as fast as gzip, and smaller."""

    def __init__(self, brotli: Any) -> None:
        self._coder = brotli.Compressor(quality=4)

    def piece(self, data: bytes) -> bytes:
        return self._coder.process(data) + self._coder.flush()  # type: ignore[no-any-return]

    def end(self) -> bytes:
        return self._coder.finish()  # type: ignore[no-any-return]

    def whole(self, data: bytes) -> bytes:
        return self._coder.process(data) + self._coder.finish()  # type: ignore[no-any-return]


class _Zstd:
    """RFC 8878. A window of at most 8 MiB (RFC 9659), which level 3 is far below."""

    def __init__(self, zstandard: Any) -> None:
        self._coder = zstandard.ZstdCompressor(level=3).compressobj()
        self._flush_block = zstandard.COMPRESSOBJ_FLUSH_BLOCK

    def piece(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush(self._flush_block)  # type: ignore[no-any-return]

    def end(self) -> bytes:
        return self._coder.flush()  # type: ignore[no-any-return]

    def whole(self, data: bytes) -> bytes:
        return self._coder.compress(data) + self._coder.flush()  # type: ignore[no-any-return]


def available() -> Iterator[tuple[str, Callable[[], Coder]]]:
    """Yield the codings that are installed, in the order in which they are preferred.

    The packages are `zstandard` and `brotli` (`pip install 'tiny-listener[compress]'`).
    """
    for coding, package, coder in (("zstd", "zstandard", _Zstd), ("br", "brotli", _Brotli)):
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        yield coding, lambda coder=coder, module=module: coder(module)  # type: ignore[misc]
    yield "gzip", _Gzip


CODERS: dict[str, Callable[[], Coder]] = dict(available())
"""The codings by name, in the order in which they are preferred."""
