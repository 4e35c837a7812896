"""What `hello.py` does, as a WSGI application: on fastwsgi with `python wsgi.py PORT`, or `gunicorn wsgi:app`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

TEXT = [("Content-Type", "text/plain; charset=utf-8")]
BYTES = [("Content-Type", "application/octet-stream")]


def pieces() -> Iterator[bytes]:
    """Take five seconds."""
    for _ in range(20):
        yield b"piece\n"
        time.sleep(0.25)


def app(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Greet by the path, or send back what came."""
    path: str = environ["PATH_INFO"]
    status, headers = "200 OK", TEXT
    if path.startswith("/user/") and environ["REQUEST_METHOD"] == "GET":
        body = f"Hello, {path[6:]}!".encode()
    elif path == "/echo" and environ["REQUEST_METHOD"] == "POST":
        body, headers = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])), BYTES
    elif path == "/stream":
        start_response(status, headers)
        return pieces()
    else:
        status, body = "404 Not Found", b"Page Not Found\n"
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


if __name__ == "__main__":
    import fastwsgi

    fastwsgi.run(app, host="127.0.0.1", port=int(sys.argv[1]), loglevel=0)
