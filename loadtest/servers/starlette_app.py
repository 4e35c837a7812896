"""What `hello.py` does, as a Starlette application: `uvicorn starlette_app:app`."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


async def hello(request: Any) -> Any:
    """Greet somebody."""
    return PlainTextResponse(f"Hello, {request.path_params['username']}!")


async def echo(request: Any) -> Any:
    """Return what was sent."""
    return Response(await request.body(), media_type="application/octet-stream")


app = Starlette(routes=[Route("/user/{username}", hello), Route("/echo", echo, methods=["POST"])])
