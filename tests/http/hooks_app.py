"""An application that responds in many ways, for tests of what response hooks and addons see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Request, Response


def application(folder: Path) -> HTTPListener:
    app = HTTPListener(header_timeout=0.2, max_body=10, max_header=200, max_headers=1000, max_request_line=300)
    (folder / "a.txt").write_text("0123456789")

    @app.get("/")
    async def home() -> str:
        return "home"

    @app.get("/late")
    async def late() -> str:
        await asyncio.sleep(0)
        return "late"

    @app.get("/none")
    async def none() -> None:
        return None

    @app.post("/json")
    async def json(request: Request) -> Any:
        return await request.json(type=int)

    @app.get("/form")
    async def form(request: Request) -> Any:
        await request.form()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    @app.get("/file")
    async def file() -> Response:
        return FileResponse("a.txt", root=folder)

    @app.get("/no-file")
    async def no_file() -> Response:
        return FileResponse("b.txt", root=folder)

    @app.get("/fail")
    async def fail() -> None:
        raise KeyError

    @app.get("/unsendable")
    async def unsendable() -> Any:
        return object()

    @app.get("/error/{status}")
    async def error(request: Request) -> None:
        raise HTTPError(int(request.path[7:]), headers={"x-own": "1"})

    return app
