"""What `hello.py` does, on socketify: `python socketify_app.py PORT`."""

from __future__ import annotations

import sys
from typing import Any

from socketify import App


def hello(response: Any, request: Any) -> None:
    """Greet somebody."""
    response.write_header("Content-Type", "text/plain; charset=utf-8")
    response.end(f"Hello, {request.get_parameter(0)}!")


def echo(response: Any, _request: Any) -> None:
    """Return what was sent."""
    pieces = []

    def take(response: Any, piece: bytes | None, is_last: bool, _data: Any = None) -> None:
        if piece is not None:
            pieces.append(piece)
        if is_last:
            response.cork_end(b"".join(pieces))

    response.on_data(take)


def missing(response: Any, _request: Any) -> None:
    """Say that there is nothing."""
    response.write_status(404).end("Page Not Found\n")


app = App()
app.get("/user/:username", hello)
app.post("/echo", echo)
app.any("/*", missing)
app.listen({"port": int(sys.argv[1]), "host": "127.0.0.1"}, lambda _: None)
app.run()
