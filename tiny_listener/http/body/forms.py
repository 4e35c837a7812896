"""Forms: bodies that are urlencoded (WHATWG URL section 5) or multipart/form-data (RFC 7578)."""

from __future__ import annotations

import asyncio
from codecs import utf_8_decode
from collections import deque
from io import StringIO
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..errors import HTTPError
from ..headers import Headers, MultiDict, ReceivedHeaders
from .multipart import MultipartError, MultipartParser, parse_parameters
from .urlencoded import TooLongError, TooManyError, UrlencodedParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..headers import Field
    from ..request import Request

__all__ = ["MAX_FIELDS", "MAX_FIELD_SIZE", "MAX_FILES", "SPOOL", "Form", "Upload", "read_form"]

MAX_FIELDS = 1000
"""Maximum number of fields in a form; when exceeded 413. Django's DATA_UPLOAD_MAX_NUMBER_FIELDS."""
MAX_FILES = 100
"""Maximum number of files in a form; when exceeded 413. Django's DATA_UPLOAD_MAX_NUMBER_FILES."""
MAX_FIELD_SIZE = 1024 * 1024
"""Maximum bytes of a decoded field that is not a file, because it is kept in memory; when exceeded 413. Also of a name.
"""
SPOOL = 1024 * 1024
"""Bytes of a file that are kept in memory; a longer one is written to disk."""
INLINE = 64 * 1024
"""Bytes of an urlencoded form that are decoded on the event loop; a longer one is decoded in a thread."""
STEP = 16 * 1024
"""Bytes of a multipart form that are parsed before other tasks of the event loop run: 3 ms with the smallest parts."""
WRITE = 64 * 1024
"""Bytes that are collected before they are written to a file, which may take a thread."""


class Upload:
    """A file that was sent in a form.

    :ivar filename: the client's name for it: do not use it as a path
    :ivar content_type: the client's content type; "" if it sent none
    :ivar headers: the headers of its part
    :ivar file: the bytes: a temporary file, opened for reading from its beginning, and deleted when it is closed
    :ivar size: in bytes
    """

    __slots__ = ("content_type", "file", "filename", "headers", "size")

    def __init__(self, filename: str, headers: Headers) -> None:
        self.filename = filename
        self.headers = headers
        self.content_type = headers.get("content-type", "")
        self.file = SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - the form closes it
        self.size = 0

    async def read(self, size: int = -1) -> bytes:
        """Return the next bytes, by default all; a file on disk is read off the event loop."""
        if self.size <= SPOOL:
            return self.file.read(size)
        return await asyncio.get_running_loop().run_in_executor(None, self.file.read, size)

    async def write(self, piece: bytes) -> None:
        """Append bytes; to disk off the event loop."""
        self.size += len(piece)
        if self.size <= SPOOL:
            self.file.write(piece)
        else:
            await asyncio.get_running_loop().run_in_executor(None, self.file.write, piece)

    def __repr__(self) -> str:
        return f"Upload({self.filename!r}, {self.content_type!r}, {self.size} bytes)"


class Form(MultiDict):
    """The fields of a form: texts and `Upload`s. `with` closes the files at the end, and so does `close`."""

    __slots__ = ()

    def close(self) -> None:
        """Close the files."""
        for name in self:
            for value in self.getlist(name):
                if isinstance(value, Upload):
                    value.file.close()

    def __enter__(self) -> Self:
        """Return the form."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the files."""
        self.close()


async def read_form(request: Request, *, max_fields: int, max_files: int, max_field_size: int) -> Form:
    """Parse the body of a request as a form; see `Request.form`."""
    kind, parameters = parse_parameters(request.headers.get("content-type", "").encode("latin-1")) or (b"", {})
    if kind == b"application/x-www-form-urlencoded":
        return await _read_urlencoded(await request.body(), max_fields, max_field_size)
    if kind != b"multipart/form-data":
        raise HTTPError(415, "the body must be a form: application/x-www-form-urlencoded or multipart/form-data")
    if not parameters.get(b"boundary"):
        raise HTTPError(400, "multipart/form-data needs a boundary")
    reader = _MultipartReader(max_fields, max_files, max_field_size)
    try:
        return await reader.read(request, parameters[b"boundary"])
    except BaseException:
        Form(reader.pairs).close()
        raise


def _too_many(what: str, limit: int) -> HTTPError:
    return HTTPError(413, f"a form has at most {limit} {what}")


def _too_long(limit: int) -> HTTPError:
    return HTTPError(413, f"a field of a form has at most {limit} bytes")


async def _read_urlencoded(body: bytes, max_fields: int, max_field_size: int) -> Form:
    parser = UrlencodedParser(max_fields, max_field_size)
    steps = parser.steps(body)
    try:
        if len(body) > INLINE:
            return await _in_a_thread(parser, steps)
        for number, _ in enumerate(steps):
            if number:
                await asyncio.sleep(0)
    except TooManyError:
        raise _too_many("fields", max_fields) from None
    except TooLongError:
        raise _too_long(max_field_size) from None
    return Form(parser.pairs)


async def _in_a_thread(parser: UrlencodedParser, steps: Iterator[None]) -> Form:
    is_wanted = True

    def run() -> Form:
        for _ in steps:  # each holds the GIL only briefly, so the event loop keeps running
            if not is_wanted:
                break
        return Form(parser.pairs)

    try:
        return await asyncio.get_running_loop().run_in_executor(None, run)
    finally:
        is_wanted = False


class _MultipartReader:
    """Collects the parts of one body. Data for files is held until a piece of the body has been parsed."""

    def __init__(self, max_fields: int, max_files: int, max_field_size: int) -> None:
        self._max_fields = max_fields
        self._max_files = max_files
        self._max_field_size = max_field_size
        self._fields = self._files = 0
        self._name = ""
        self._upload: Upload | None = None
        self._text = StringIO(newline="")
        self._size = 0
        self._sequence = b""
        """The first bytes of an incomplete character of a field."""
        self._collected = bytearray()
        """Bytes of a file that are not written yet."""
        self._unwritten: deque[tuple[Upload, bytes]] = deque()
        self.pairs: list[tuple[str, Any]] = []

    async def read(self, request: Request, boundary: bytes) -> Form:
        """Read the body.

        :raises HTTPError: 400, 413
        """
        is_first = True
        try:
            parser = MultipartParser(boundary, self)
            async for piece in request.stream():
                for start in range(0, len(piece), STEP):
                    if not is_first:
                        await asyncio.sleep(0)
                    is_first = False
                    parser.feed(piece[start : start + STEP])
                    while self._unwritten:
                        upload, data = self._unwritten.popleft()
                        await upload.write(data)
        except MultipartError as exc:
            raise HTTPError(400, f"malformed multipart/form-data: {exc}") from None
        if not parser.is_complete:
            raise HTTPError(400, "malformed multipart/form-data: the last boundary is missing")
        for _, value in self.pairs:
            if isinstance(value, Upload):
                value.file.seek(0)
        return Form(self.pairs)

    # --- the parser's calls, see `Parts` ----------------------------------------------------------

    def begin(self, fields: list[Field]) -> None:
        """Determine the kind of the part (RFC 7578 section 4.2)."""
        kind, parameters = parse_parameters(dict(fields).get(b"content-disposition", b"")) or (b"", {})
        if kind != b"form-data" or b"name" not in parameters:
            raise MultipartError("each part needs a Content-Disposition: form-data with a name")
        self._name = parameters[b"name"].decode("utf-8", "replace")
        if b"filename" in parameters:
            self._files += 1
            if self._files > self._max_files:
                raise _too_many("files", self._max_files)
            self._upload = Upload(parameters[b"filename"].decode("utf-8", "replace"), ReceivedHeaders(fields))
            self.pairs.append((self._name, self._upload))
        else:
            self._fields += 1
            if self._fields > self._max_fields:
                raise _too_many("fields", self._max_fields)
            self._upload = None
            self._size = 0
            self._text = StringIO(newline="")

    def data(self, piece: bytes) -> None:
        """Store a piece of a part."""
        if self._upload is not None:
            self._collected += piece
            if len(self._collected) >= WRITE:
                self._write()
            return
        self._size += len(piece)
        if self._size > self._max_field_size:
            raise _too_long(self._max_field_size)
        self._decode(piece, final=False)

    def end(self) -> None:
        """Store a field, or the rest of a file."""
        if self._upload is not None:
            self._write()
        else:
            self._decode(b"", final=True)
            self.pairs.append((self._name, self._text.getvalue()))

    def _decode(self, piece: bytes, *, final: bool) -> None:
        piece = self._sequence + piece
        text, length = utf_8_decode(piece, "replace", final)
        self._sequence = piece[length:]
        self._text.write(text)

    def _write(self) -> None:
        assert self._upload is not None
        self._unwritten.append((self._upload, bytes(self._collected)))
        self._collected.clear()
