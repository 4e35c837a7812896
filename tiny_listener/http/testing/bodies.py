"""The bodies of a test client: forms, urlencoded and multipart/form-data (RFC 7578)."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import IO, Any, TypeAlias
from urllib.parse import urlencode

from ..response import json_bytes

__all__ = ["FileLike", "Pairs", "body_of", "pairs_of"]

Pairs: TypeAlias = "Mapping[str, Any] | Iterable[tuple[str, Any]]"
FileContent: TypeAlias = "bytes | str | IO[bytes] | IO[str]"
FileLike: TypeAlias = "FileContent | tuple[str | None, FileContent] | tuple[str | None, FileContent, str | None]"
"""The content of a file; or its name, its content and perhaps its content type."""

ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
"""As browsers escape names: HTML, section 4.10.21.8."""


def pairs_of(fields: Pairs) -> list[tuple[str, Any]]:
    """Return fields as pairs: a list as a value is several fields of one name.

    :raises TypeError: they are a text or bytes
    """
    if isinstance(fields, (str, bytes)):
        raise TypeError(f"fields are a dict or pairs, not {fields!r}: write content= for a body as it is")
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    return [(name, one) for name, value in pairs for one in (value if isinstance(value, (list, tuple)) else [value])]


def body_of(content: bytes | str, json: Any, data: Pairs | None, files: Any) -> tuple[bytes, str | None]:
    """Return the body that the arguments of a request ask for, and its content type.

    :raises ValueError: they ask for two
    """
    given = [name for name, is_given in {
        "content": bool(content), "json": json is not None, "data or files": data is not None or files is not None,
    }.items() if is_given]  # fmt: skip
    if len(given) > 1:
        raise ValueError(f"a request has one body: give {' or '.join(given)}")
    if json is not None:
        return json_bytes(json), "application/json"
    if files is not None:
        return _multipart(pairs_of(data or ()), files)
    if data is not None:
        return urlencode([(name, _plain(value)) for name, value in pairs_of(data)]).encode(), (
            "application/x-www-form-urlencoded"
        )
    return content.encode() if isinstance(content, str) else content, None


def _plain(value: Any) -> Any:
    """Return the value of a field as a form has it: True and None are as in JavaScript, and in other clients."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else "" if value is None else value


def _multipart(fields: list[tuple[str, Any]], files: Any) -> tuple[bytes, str]:
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []

    def add(name: str, more: str, content: bytes) -> None:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name.translate(ESCAPES)}"{more}\r\n\r\n'
        parts.extend((head.encode(), content, b"\r\n"))

    for name, value in fields:
        add(name, "", value if isinstance(value, bytes) else str(_plain(value)).encode())
    for name, one in files.items() if isinstance(files, Mapping) else files:
        filename, content, content_type = _file(name, one)
        more = "" if filename is None else f'; filename="{filename.translate(ESCAPES)}"'
        add(name, f"{more}\r\nContent-Type: {content_type}", content)
    parts.append(f"--{boundary}--\r\n".encode())
    return b"".join(parts), f"multipart/form-data; boundary={boundary}"


def _file(name: str, one: FileLike) -> tuple[str | None, bytes, str]:
    """Return the file's name, its content, and its content type.

    :raises TypeError: it is no file
    """
    filename: str | None
    content_type: str | None
    if isinstance(one, tuple):
        if not 2 <= len(one) <= 3:
            raise TypeError(f"the file {name!r} is content, (name, content) or (name, content, content type)")
        filename, content = one[0], one[1]
        content_type = one[2] if len(one) == 3 else None
    else:
        path = getattr(one, "name", None)  # of a file that was opened; a temporary one has a number
        filename, content, content_type = PurePath(path).name if isinstance(path, str) else "upload", one, None
    data = content if isinstance(content, (bytes, bytearray, str)) else content.read()
    guessed = mimetypes.guess_type(filename or "")[0] or "application/octet-stream"
    return filename, data.encode() if isinstance(data, str) else bytes(data), content_type or guessed
