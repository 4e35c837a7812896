"""Forms: bodies that are urlencoded (WHATWG URL section 5) or multipart/form-data (RFC 7578)."""

from __future__ import annotations

import asyncio
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl

from .errors import HTTPError
from .headers import Headers, MultiDict

if TYPE_CHECKING:
    from .fields import Field
    from .request import Request

__all__ = ["MAX_FIELDS", "MAX_FIELD_SIZE", "MAX_FILES", "SPOOL", "Form", "Upload", "read_form"]

MAX_FIELDS = 1000
"""Fields that a form may have; past it 413. Django's DATA_UPLOAD_MAX_NUMBER_FIELDS."""
MAX_FILES = 100
"""Files that a form may have; past it 413. Django's DATA_UPLOAD_MAX_NUMBER_FILES."""
MAX_FIELD_SIZE = 1024 * 1024
"""Bytes of a field of a multipart form that is no file, for it is kept in memory; past it 413."""
SPOOL = 1024 * 1024
"""Bytes of a file that are kept in memory; a longer one goes to the disk."""


class Upload:
    """A file that was sent within a form.

    :ivar filename: what the client calls it: not to be trusted with a path
    :ivar content_type: what the client takes it for; "" when it did not say
    :ivar headers: those of its part
    :ivar file: the bytes: a temporary file, open for reading from its beginning, and gone when it is closed
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
        """Return the next bytes, all by default; what is on the disk is read off the loop."""
        if self.size <= SPOOL:
            return self.file.read(size)
        return await asyncio.get_running_loop().run_in_executor(None, self.file.read, size)

    async def write(self, piece: bytes) -> None:
        """Add bytes; to the disk off the loop."""
        self.size += len(piece)
        if self.size <= SPOOL:
            self.file.write(piece)
        else:
            await asyncio.get_running_loop().run_in_executor(None, self.file.write, piece)

    def __repr__(self) -> str:
        return f"Upload({self.filename!r}, {self.content_type!r}, {self.size} bytes)"


class Form(MultiDict):
    """The fields of a form: texts and `Upload`s. `with` closes the files in the end, and so does `close`."""

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
    """Read the form that the body of a request is; see `Request.form`."""
    from python_multipart.multipart import parse_options_header  # noqa: PLC0415 - only who reads forms needs it

    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type == b"application/x-www-form-urlencoded":
        text = (await request.body()).decode("utf-8", "replace")
        try:
            return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=max_fields))
        except ValueError:
            raise _too_many("fields", max_fields) from None
    if content_type != b"multipart/form-data":
        raise HTTPError(415, "the body is to be a form: application/x-www-form-urlencoded or multipart/form-data")
    if not options.get(b"boundary"):
        raise HTTPError(400, "multipart/form-data has a boundary")
    reader = _MultipartReader(max_fields, max_files, max_field_size)
    try:
        return await reader.read(request, options[b"boundary"])
    except BaseException:
        Form(reader.pairs).close()
        raise


def _too_many(what: str, limit: int) -> HTTPError:
    return HTTPError(413, f"a form has at most {limit} {what}")


class _MultipartReader:
    """Takes the parts of one body in; what is to be written is kept until a piece of the body has been parsed."""

    def __init__(self, max_fields: int, max_files: int, max_field_size: int) -> None:
        self._max_fields = max_fields
        self._max_files = max_files
        self._max_field_size = max_field_size
        self._fields = self._files = 0
        self._headers: list[Field] = []
        self._name = self._value = b""
        self._field = ""
        self._target: Upload | bytearray = bytearray()
        self._unwritten: list[tuple[Upload, bytes]] = []
        self._is_over = False
        self.pairs: list[tuple[str, Any]] = []

    async def read(self, request: Request, boundary: bytes) -> Form:
        """Read the body.

        :raises HTTPError: 400, 413
        """
        from python_multipart.exceptions import FormParserError  # noqa: PLC0415 - as above
        from python_multipart.multipart import MultipartParser  # noqa: PLC0415

        names = (
            "on_part_begin",
            "on_part_data",
            "on_part_end",
            "on_header_field",
            "on_header_value",
            "on_header_end",
            "on_headers_finished",
            "on_end",
        )
        callbacks: Any = {name: getattr(self, name) for name in names}
        try:
            parser = MultipartParser(boundary, callbacks)
            async for piece in request.stream():
                parser.write(piece)
                for upload, data in self._unwritten:
                    await upload.write(data)
                self._unwritten.clear()
        except FormParserError as exc:
            raise HTTPError(400, f"malformed multipart/form-data: {' '.join(str(exc).split())}") from None
        if not self._is_over:
            raise HTTPError(400, "malformed multipart/form-data: the last boundary is missing")
        for _, value in self.pairs:
            if isinstance(value, Upload):
                value.file.seek(0)
        return Form(self.pairs)

    # --- the parser's calls -----------------------------------------------------------------------

    def on_part_begin(self) -> None:
        """Expect the headers of a part."""
        self._headers = []

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """Keep a piece of a name."""
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """Keep a piece of a value."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """Keep a field."""
        self._headers.append((self._name.lower(), self._value))
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        """See what kind of part it is (RFC 7578 section 4.2)."""
        from python_multipart.multipart import parse_options_header  # noqa: PLC0415 - as above

        headers = Headers(self._headers)
        kind, options = parse_options_header(headers.get("content-disposition", ""))
        if kind != b"form-data" or b"name" not in options:
            raise HTTPError(400, "malformed multipart/form-data: each part has a Content-Disposition with a name")
        self._field = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options:
            self._files += 1
            if self._files > self._max_files:
                raise _too_many("files", self._max_files)
            self._target = Upload(options[b"filename"].decode("utf-8", "replace"), headers)
            self.pairs.append((self._field, self._target))
        else:
            self._fields += 1
            if self._fields > self._max_fields:
                raise _too_many("fields", self._max_fields)
            self._target = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """Keep a piece of a part."""
        target = self._target
        if isinstance(target, Upload):
            self._unwritten.append((target, data[start:end]))
            return
        if len(target) + end - start > self._max_field_size:
            raise HTTPError(413, f"a field of a form has at most {self._max_field_size} bytes")
        target += data[start:end]

    def on_part_end(self) -> None:
        """Keep a field."""
        if not isinstance(self._target, Upload):
            self.pairs.append((self._field, self._target.decode("utf-8", "replace")))

    def on_end(self) -> None:
        """Know that it is complete."""
        self._is_over = True
