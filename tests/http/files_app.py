"""An application that serves files, and the files."""

from __future__ import annotations

import os
from pathlib import Path

from tests.http.helpers import Response, Serving
from tiny_listener import Param
from tiny_listener.http import FileResponse, HTTPListener, Request

TEXT = b"0123456789"
WHEN = 1_700_000_000


def make_root(tmp_path: Path) -> Path:
    """Return a folder with files, and next to it one that must not be accessible."""
    root = tmp_path / "root"
    (root / "below").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "root-too").mkdir()
    (tmp_path / "root-too" / "secret").write_text("secret")
    for name in ("a.txt", "below/b.html", "c", "d.tar.gz", "e\\f", "..g"):
        (root / name).write_bytes(TEXT)
        os.utime(root / name, (WHEN, WHEN))
    (root / "empty").touch()
    (root / "inside").symlink_to(root / "below")
    (root / "out").symlink_to(tmp_path)
    (root / "secret").symlink_to(tmp_path / "secret")
    (root / "loop").symlink_to(root / "loop")
    (root / "null").symlink_to("/dev/null")
    os.mkfifo(root / "pipe")
    return root


def application(root: Path) -> HTTPListener:
    app = HTTPListener()

    @app.get("/root/{name:path}")
    async def below(name: Param) -> FileResponse:
        return FileResponse(name, root=root)

    @app.post("/root/{name:path}")
    async def posted(name: Param) -> FileResponse:
        return FileResponse(name, root=root)

    @app.get("/any/{name:path}")
    async def anywhere(name: Param) -> FileResponse:
        return FileResponse(root / name)

    @app.get("/named")
    async def named(request: Request) -> FileResponse:
        response = FileResponse(root / "c", content_type="text/x-c", filename=request.query["name"])
        response.set_cookie("a", "1", samesite=None)
        return response

    return app


async def ask(server: Serving, path: str, method: str = "GET", **headers: str) -> Response:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    data = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
    return await server.ask(data, head_only=method == "HEAD")
