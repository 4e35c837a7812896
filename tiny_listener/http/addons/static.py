"""A folder of files below a prefix: index pages, compressed forms of the files, Cache-Control."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ...core.event import Event
from ..body.files import FileResponse, Opened, open_file
from ..errors import HTTPError
from ..request import Request
from ..response import Response, redirect
from .varying import acceptable

if TYPE_CHECKING:
    from .application import Application

__all__ = ["StaticFile", "add_static"]

SUFFIXES = {"br": ".br", "zstd": ".zst", "gzip": ".gz"}
"""The extensions of compressed forms by their content coding, in the order of preference: they cost nothing to make."""


class _IsFolder(Exception):  # noqa: N818
    """The path is that of a folder with an index page, without its slash."""


class StaticFile(FileResponse):
    """A file of a folder, or the index page of a folder in it; in a compressed form that lies next to it, if the client
    accepts that.

    :param path: below `root`, from any source
    :param index: the name of index pages; None: folders are 404
    :param precompressed: whether to look for compressed forms
    :param headers: see `FileResponse`
    """

    __slots__ = ("_index", "_precompressed")

    def __init__(
        self, path: str, root: str, *, index: str | None, precompressed: bool, headers: dict[str, str]
    ) -> None:
        super().__init__(path, root=root, headers=headers)
        self._index = index
        self._precompressed = precompressed

    def _opener(self, request: Request) -> Callable[[], Opened]:
        codings = acceptable(request.headers.getlist("accept-encoding"), SUFFIXES) if self._precompressed else []
        return partial(_open_static, self._path, self._root or "", self._index, codings)

    async def prepare(self, request: Request) -> Response:
        """See `FileResponse`. A folder without its slash is redirected, as its page's links are relative to it."""
        try:
            return await super().prepare(request)
        except _IsFolder:
            # As it was sent: in a decoded path a slash of a name, %2F, would be one between names.
            name = quote(request.target.partition("?")[0].rpartition("/")[2], safe="%!$&'()*+,;=@~")
            query = f"?{request.query_string}" if request.query_string else ""
            return redirect(f"./{name}/{query}", 308)


def _open_static(path: str, root: str, index: str | None, codings: Sequence[str]) -> Opened:
    if index is not None and (not path or path.endswith("/")):
        path += index
    try:
        plain = open_file(path, root, guess=True)
    except HTTPError:
        if index is None or path.endswith("/"):
            raise
        os.close(open_file(f"{path}/{index}", root, guess=False).fd)  # raises the same, if it is not there
        raise _IsFolder from None
    for coding in codings:
        try:
            found = open_file(path + SUFFIXES[coding], root, guess=False)
        except HTTPError:
            continue
        os.close(plain.fd)
        return found._replace(content_type=plain.content_type, coding=coding)
    return plain


def add_static(
    app: Application,
    prefix: str,
    folder: str | os.PathLike[str],
    *,
    index: str | None,
    cache_control: str | None,
    precompressed: bool,
) -> None:
    """See `HTTPListener.static`."""
    if not prefix.startswith("/"):
        raise ValueError(f"the prefix {prefix!r} must begin with a slash: /{prefix}")
    if "{" in prefix:
        raise ValueError(f"the prefix {prefix!r} of static files cannot have parameters")
    root = os.fsdecode(folder)
    if not Path(root).is_dir():
        raise ValueError(f"static({prefix!r}): {root} is not a folder")
    if index is not None and (not index or "/" in index):
        raise ValueError(f'static({prefix!r}): index is the name of a file, such as "index.html", not {index!r}')
    headers = {} if cache_control is None else {"cache-control": cache_control}
    if precompressed:
        headers["vary"] = "Accept-Encoding"
    FileResponse("", headers=headers)  # report an invalid value here, where it was written
    root = str(Path(root).absolute())  # the process may change its working folder

    async def serve(event: Event) -> Response:
        return StaticFile(event.params["path"], root, index=index, precompressed=precompressed, headers=headers)

    app.get(f"{prefix.rstrip('/')}/{{path:path}}", name=f"static {prefix}", include_in_schema=False)(serve)
