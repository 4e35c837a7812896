"""Files as responses: validators, conditions and ranges (RFC 9110 sections 8.8, 13 and 14), and no way out of a folder.

Whatever touches the disk runs in the loop's executor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import time
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from .errors import HTTPError
from .file_body import FileBody
from .response import DeferredResponse, FieldsLike, Response

if TYPE_CHECKING:
    from .request import Request

__all__ = ["FileResponse"]

RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*\Z", re.IGNORECASE)
"""One range (RFC 9110 section 14.1.2). Several are answered with the whole, as section 14.2 allows."""
ETAG = re.compile(r'(W/)?("[^"\x00-\x20\x7f]*")')
_MISSING_NUMBERS = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO})
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError)
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Opening a named pipe must not wait for who writes to it."""


class FileResponse(DeferredResponse):
    """A file, with ETag and Last-Modified; a client that has it already gets 304, one that asks for a range 206.

    What is no ordinary file, cannot be read, or lies outside of `root`, is 404.

    :param path: of the file; with `root` relative to it, and from whatever source
    :param root: a folder that is not left: neither by `..`, nor by an absolute path, nor by a symbolic link
    :param content_type: guessed by the name by default
    :param filename: under which name the client is to save it (RFC 6266)
    :param headers: further fields, such as Cache-Control; a 304 and a 206 have them too (RFC 9110 section 15.4.5)
    :raises ValueError: a content type or a header field that HTTP does not allow
    """

    __slots__ = ("_guess", "_path", "_root")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        content_type: str | None = None,
        filename: str | None = None,
        headers: FieldsLike = (),
    ) -> None:
        super().__init__(b"", headers=headers, content_type=content_type)
        self._path = os.fspath(path)
        self._root = None if root is None else os.fspath(root)
        self._guess = content_type is None
        if filename is not None:
            self.headers.append((b"content-disposition", _disposition(filename)))

    async def prepare(self, request: Request) -> Response:
        """See `DeferredResponse`.

        :raises HTTPError: 404, there is no such file; 412, it is not what the client wants; 416, no such range of it
        """
        opening = asyncio.get_running_loop().run_in_executor(None, _open, self._path, self._root, self._guess)
        try:
            opened = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        body = FileBody(opened.fd, 0, opened.size)
        try:
            return self._answer(request, opened, body)
        except BaseException:
            await body.aclose()
            raise

    def _answer(self, request: Request, opened: _Opened, body: FileBody) -> Response:
        fields = [
            *self.headers,
            (b"etag", opened.etag.encode()),
            (b"last-modified", formatdate(opened.modified, usegmt=True).encode()),
            (b"accept-ranges", b"bytes"),
        ]
        status = 200
        if not _is_wanted(request, opened):
            raise HTTPError(412)
        if request.method in ("GET", "HEAD") and _has_it(request, opened):
            status = 304
            body.limit(0, 0)
        elif request.method == "GET" and (borders := _range(request, opened)) is not None:
            status = 206
            start, end = borders
            body.limit(start, end - start)
            fields.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, opened.size)))
        response = Response(body, status)
        response.headers = fields
        response.content_type = (opened.content_type or "").encode("latin-1") or self.content_type
        return response


class _Opened(NamedTuple):
    """An open file."""

    fd: int
    size: int
    modified: int
    """In seconds since 1970, and never to come (RFC 9110 section 8.8.2.1)."""
    etag: str
    content_type: str | None


def _open(path: str, root: str | None, guess: bool) -> _Opened:
    """Open an ordinary file.

    :raises HTTPError: 404, it is none, or cannot be read, or lies outside of `root`
    """
    try:
        fd = _open_regular(path, None) if root is None else _open_below(root, path)
    except MISSING:
        raise HTTPError(404) from None
    except OSError as exc:
        if exc.errno in _MISSING_NUMBERS:
            raise HTTPError(404) from None
        raise
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):  # it was exchanged since it was looked at
        os.close(fd)
        raise HTTPError(404)
    etag = f'"{info.st_mtime_ns:x}-{info.st_size:x}"'
    modified = max(0, min(int(info.st_mtime), int(time.time())))
    return _Opened(fd, info.st_size, modified, etag, _content_type(path) if guess else None)


def _open_below(root: str, path: str) -> int:
    """Open a file below a folder; no link is followed that was not looked at before."""
    if path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise FileNotFoundError(path)
    base = os.path.realpath(root)
    real = os.path.realpath(os.path.join(base, path), strict=True)  # noqa: PTH118
    if os.path.commonpath((base, real)) != base or real == base:
        raise FileNotFoundError(path)
    *folders, name = os.path.relpath(real, base).split("/")
    at = os.open(base, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return _open_regular(name, at)
    finally:
        os.close(at)


def _open_regular(path: str, folder: int | None) -> int:
    follow = folder is None
    # To open a device may already do something.
    if not stat.S_ISREG(os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode):
        raise FileNotFoundError(path)
    return os.open(path, READ if follow else READ | os.O_NOFOLLOW, dir_fd=folder)


def _content_type(path: str) -> str | None:
    import mimetypes  # noqa: PLC0415 - reads the system's tables, and only who serves files needs it

    kind, encoding = mimetypes.guess_type(path)
    if encoding is not None:  # what is compressed is sent as it is
        return "application/gzip" if encoding == "gzip" else None
    if kind is not None and kind.startswith("text/"):
        return f"{kind}; charset=utf-8"
    return kind


def _close_unused(opening: asyncio.Future[_Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result().fd)


# --- conditions ---------------------------------------------------------------------------------


def _is_wanted(request: Request, opened: _Opened) -> bool:
    """Whether the file is one that the client has in mind (RFC 9110 sections 13.1.1, 13.1.4 and 13.2.2)."""
    tags = request.headers.get("if-match")
    if tags is not None:  # the strong comparison
        return tags.strip() == "*" or any(not weak and tag == opened.etag for weak, tag in ETAG.findall(tags))
    date = _date(request.headers.get("if-unmodified-since"))
    return date is None or opened.modified <= date


def _has_it(request: Request, opened: _Opened) -> bool:
    """Whether the client has the file as it is (RFC 9110 sections 13.1.2, 13.1.3 and 13.2.2)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or any(tag == opened.etag for _, tag in ETAG.findall(tags))
    date = _date(request.headers.get("if-modified-since"))
    return date is not None and opened.modified <= date


def _range(request: Request, opened: _Opened) -> tuple[int, int] | None:
    """Return where the range that is asked for begins and ends; None for the whole.

    :raises HTTPError: 416
    """
    match = RANGE.match(request.headers.get("range", ""))
    if match is None or not _may_be_joined(request.headers.get("if-range"), opened):
        return None
    first, last, suffix = match.groups()
    size = opened.size
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
        if not size and int(suffix):  # it can be had, but there is no way to say which bytes it is
            return None
    else:
        start, end = int(first), size if last is None else min(int(last) + 1, size)
        if last is not None and int(last) < start:
            return None
    if start >= size:
        raise HTTPError(416, headers={"content-range": f"bytes */{size}"})
    return start, end


def _may_be_joined(validator: str | None, opened: _Opened) -> bool:
    """Whether a range fits to what the client has (RFC 9110 section 13.1.5)."""
    if validator is None:
        return True
    if validator.startswith(('"', "W/")):
        return validator == opened.etag  # the strong comparison: a weak one never fits
    # A date says enough only when the file has not changed within its second (section 8.8.2.2).
    return _date(validator) == opened.modified and opened.modified < int(time.time())


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _disposition(filename: str) -> bytes:
    plain = re.sub(r"[^ !#-\[\]-~]|%", "_", filename)
    value = f'attachment; filename="{plain}"'
    if plain != filename:
        value += f"; filename*=UTF-8''{quote(filename, safe='')}"
    return value.encode("ascii")
