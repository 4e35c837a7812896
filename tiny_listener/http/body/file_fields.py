"""Header fields of a file: Content-Type from its name, Content-Disposition. Pure functions."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote

from ..syntax import TOKEN

__all__ = ["MEDIA_TYPE", "content_disposition", "guess_content_type"]

MEDIA_TYPE = re.compile(
    rf'{TOKEN}/{TOKEN}(?:[ \t]*;[ \t]*{TOKEN}=(?:{TOKEN}|"(?:[\t !#-\[\]-~]|\\[\t -~])*"))*\Z', re.ASCII
)
"""RFC 9110 section 8.3.1."""


def guess_content_type(path: str) -> str | None:
    """Return the media type for a file's extension, from the tables of `mimetypes`; None if they have none.

    `mimetypes.guess_type` interprets its argument as a URL: a file named `data:text/html,x.png` would be HTML, and the
    content of its name would be sent as header fields.
    """
    import mimetypes  # noqa: PLC0415 - reads the system's tables; only needed to serve files

    if not mimetypes.inited:
        mimetypes.init()
    base, extension = posixpath.splitext(posixpath.basename(path))
    if (longer := mimetypes.suffix_map.get(extension.lower())) is not None:  # .tgz is .tar.gz
        base, extension = posixpath.splitext(base + longer)
    encoding = mimetypes.encodings_map.get(extension)
    if encoding is not None:  # a compressed file is sent as it is
        return "application/gzip" if encoding == "gzip" else None
    kind = mimetypes.types_map.get(extension) or mimetypes.types_map.get(extension.lower())
    if kind is None or MEDIA_TYPE.match(kind) is None:  # the system and the application may change the tables
        return None
    return f"{kind}; charset=utf-8" if kind.startswith("text/") and ";" not in kind else kind


def content_disposition(filename: str) -> bytes:
    """Return the value of a Content-Disposition field that makes a client save the content (RFC 6266).

    A name that is not plain ASCII is also given in UTF-8, according to RFC 8187. Invalid characters, such as a byte of
    a file name that is not UTF-8, are replaced.
    """
    plain = re.sub(r"[^ !#-\[\]-~]|%", "_", filename)
    value = f'attachment; filename="{plain}"'
    if plain != filename:
        text = filename.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        value += f"; filename*=UTF-8''{quote(text, safe='')}"
    return value.encode("ascii")
