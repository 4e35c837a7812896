"""Files as responses: validators, conditions and ranges (RFC 9110 sections 8.8, 13 and 14), confined to a folder.

All disk operations run in the loop's executor.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
import time
from collections.abc import Callable
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ..errors import HTTPError
from ..headers import CONTENT_TYPE, FieldsLike, text_pairs
from ..response import BYTES, DeferredResponse, Response
from .file_body import FileBody
from .file_fields import content_disposition, guess_content_type

if TYPE_CHECKING:
    from ..headers import Field
    from ..request import Request

__all__ = ["FileResponse", "Opened", "open_file"]

RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*\Z", re.IGNORECASE)
"""One range (RFC 9110 section 14.1.2). A request for several gets the whole file, as section 14.2 allows."""
ETAG = re.compile(r'(W/)?("[^"\x00-\x20\x7f]*")')
_MISSING_NUMBERS = frozenset({errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO})
MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError, ValueError)
READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
"""Opening a named pipe must not wait for a writer."""


class FileResponse(DeferredResponse):
    """A file, with ETag and Last-Modified. A client that has it already gets 304, one that requests a range gets 206.

    Anything that is not a regular file, cannot be read, or lies outside of `root`, is 404.

    :param path: of the file; relative to `root` if that is given, and then from any source
    :param root: a folder that the path cannot leave: neither by `..`, nor by an absolute path, nor by a symbolic link
    :param content_type: by default guessed from the file's extension
    :param filename: name under which the client should save it (RFC 6266)
    :param headers: further fields, such as Cache-Control; a 304 and a 206 include them (RFC 9110 section 15.4.5). Each
        replaces the field that would be sent otherwise. An ETag and a Last-Modified are then what the client's
        conditions are compared with, and with an Accept-Ranges other than `bytes` a range gets the whole file
    :raises ValueError: a content type or a header field that HTTP does not allow, or that the server writes itself
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
        further = []
        for name, value in text_pairs(headers):
            if name.lower() == "content-type":
                content_type = value
            elif name.lower() == "content-range":
                raise ValueError(f"the server writes the header {name!r} of a file itself")
            else:
                further.append((name, value))
        super().__init__(b"", headers=further, content_type=content_type)
        if content_type is None:
            del self.fields[0]  # guessed when the file is opened, unless the application sets it until then
        self._path = os.fsdecode(path)
        self._root = None if root is None else os.fsdecode(root)
        self._guess = content_type is None
        if filename is not None:
            _add_missing(self.fields, [(b"content-disposition", content_disposition(filename))])

    async def prepare(self, request: Request) -> Response:
        """See `DeferredResponse`.

        :raises HTTPError: 404, there is no such file; 412, a precondition failed; 416, it has no such range
        """
        opening = asyncio.get_running_loop().run_in_executor(None, self._opener(request))
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

    def _opener(self, _request: Request) -> Callable[[], Opened]:
        return partial(open_file, self._path, self._root, guess=self._guess)

    def _answer(self, request: Request, opened: Opened, body: FileBody) -> Response:
        own = {name.lower(): value for name, value in self.fields}
        if b"etag" in own:
            opened = opened._replace(etag=own[b"etag"].decode("latin-1"))
        if b"last-modified" in own:
            opened = opened._replace(modified=_date(own[b"last-modified"].decode("latin-1")))
        fields = [field for field in self.fields if field[0].lower() != CONTENT_TYPE]
        _add_missing(fields, opened.fields())
        status = 200
        if not _is_wanted(request, opened):
            raise HTTPError(412)
        may_range = own.get(b"accept-ranges", b"bytes").lower() == b"bytes" and request.method == "GET"
        if request.method in ("GET", "HEAD") and _has_it(request, opened):
            status = 304
            body.limit(0, 0)
        elif may_range and (borders := _range(request, opened)) is not None:
            status = 206
            start, end = borders
            body.limit(start, end - start)
            fields.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, opened.size)))
        response = Response(body, status)
        guessed = (opened.content_type or "").encode("ascii")
        response.fields = [(CONTENT_TYPE, own.get(CONTENT_TYPE) or guessed or BYTES), *fields]
        return response


def _add_missing(fields: list[Field], more: list[Field]) -> None:
    """Add fields, except those that the application has set itself."""
    names = {name.lower() for name, _ in fields}
    fields += [field for field in more if field[0] not in names]


class Opened(NamedTuple):
    """An open file."""

    fd: int
    size: int
    modified: float | None
    """In seconds since 1970, and never in the future (RFC 9110 section 8.8.2.1); None: the application's own is not a
    date."""
    etag: str
    """An entity tag, which may be weak (RFC 9110 section 8.8.3)."""
    content_type: str | None
    coding: str | None = None
    """Its content coding, if it is a compressed form of the file that was asked for."""

    def fields(self) -> list[Field]:
        """Return its header fields."""
        coding = [] if self.coding is None else [(b"content-encoding", self.coding.encode("ascii"))]
        return [
            *coding,
            (b"etag", self.etag.encode("latin-1")),
            (b"last-modified", formatdate(self.modified or 0, usegmt=True).encode()),
            (b"accept-ranges", b"bytes"),
        ]


def open_file(path: str, root: str | None, *, guess: bool) -> Opened:
    """Open a regular file.

    :raises HTTPError: 404, it is not one, or cannot be read, or lies outside of `root`
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
    if not stat.S_ISREG(info.st_mode):  # it was replaced since it was checked
        os.close(fd)
        raise HTTPError(404)
    etag = f'"{info.st_mtime_ns:x}-{info.st_size:x}"'
    modified = max(0, min(int(info.st_mtime), int(time.time())))
    return Opened(fd, info.st_size, modified, etag, guess_content_type(path) if guess else None)


def _open_below(root: str, path: str) -> int:
    """Open a file below a folder; no link is followed that was not checked before."""
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
    # Opening a device may already have an effect.
    if not stat.S_ISREG(os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode):
        raise FileNotFoundError(path)
    return os.open(path, READ if follow else READ | os.O_NOFOLLOW, dir_fd=folder)


def _close_unused(opening: asyncio.Future[Opened]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        os.close(opening.result().fd)


# --- conditions ---------------------------------------------------------------------------------


def _is_wanted(request: Request, opened: Opened) -> bool:
    """Whether the file satisfies the client's preconditions (RFC 9110 sections 13.1.1, 13.1.4 and 13.2.2)."""
    tags = request.headers.get("if-match")
    if tags is not None:  # the strong comparison
        return tags.strip() == "*" or any(not weak and tag == opened.etag for weak, tag in ETAG.findall(tags))
    date = _date(request.headers.get("if-unmodified-since"))
    return date is None or opened.modified is None or opened.modified <= date


def _has_it(request: Request, opened: Opened) -> bool:
    """Whether the client has the current version of the file (RFC 9110 sections 13.1.2, 13.1.3 and 13.2.2)."""
    tags = request.headers.get("if-none-match")
    if tags is not None:  # the weak comparison
        mine = opened.etag.removeprefix("W/")
        return tags.strip() == "*" or any(tag == mine for _, tag in ETAG.findall(tags))
    date = _date(request.headers.get("if-modified-since"))
    return date is not None and opened.modified is not None and opened.modified <= date


def _range(request: Request, opened: Opened) -> tuple[int, int] | None:
    """Return start and end of the requested range; None for the whole file.

    :raises HTTPError: 416
    """
    match = RANGE.match(request.headers.get("range", ""))
    if match is None or not _may_be_joined(request.headers.get("if-range"), opened):
        return None
    first, last, suffix = match.groups()
    size = opened.size
    if suffix is not None:
        start, end = max(0, size - int(suffix)), size
        if not size and int(suffix):  # satisfiable, but Content-Range cannot express an empty range
            return None
    else:
        start, end = int(first), size if last is None else min(int(last) + 1, size)
        if last is not None and int(last) < start:
            return None
    if start >= size:
        raise HTTPError(416, headers={"content-range": f"bytes */{size}"})
    return start, end


def _may_be_joined(validator: str | None, opened: Opened) -> bool:
    """Whether a range fits what the client has (RFC 9110 section 13.1.5)."""
    if validator is None:
        return True
    if validator.startswith(('"', "W/")):
        return validator == opened.etag and validator[0] == '"'  # the strong comparison: a weak one never fits
    # A date is a strong validator only if the file has not changed within the same second (section 8.8.2.2).
    modified = opened.modified
    return modified is not None and _date(validator) == modified and modified < int(time.time())


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        date = parsedate_to_datetime(text)
        # RFC 9110 section 5.6.7: the form without a zone is in UTC as well.
        return (date if date.tzinfo is not None else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
