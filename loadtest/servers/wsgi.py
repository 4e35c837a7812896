"""What `hello.py` does, as a WSGI application on fastwsgi: `python wsgi.py PORT`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import fastwsgi

TEXT = [("Content-Type", "text/plain; charset=utf-8")]
BYTES = [("Content-Type", "application/octet-stream")]


def app(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Greet by the path, or send back what came."""
    path: str = environ["PATH_INFO"]
    status, headers = "200 OK", TEXT
    if path.startswith("/user/") and environ["REQUEST_METHOD"] == "GET":
        body = f"Hello, {path[6:]}!".encode()
    elif path == "/echo" and environ["REQUEST_METHOD"] == "POST":
        body, headers = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), BYTES
    else:
        status, body = "404 Not Found", b"Page Not Found\n"
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


fastwsgi.run(app, host="127.0.0.1", port=int(sys.argv[1]), loglevel=0)
