"""The requests that `exactness.py` sends to servers/counted.py, and what each of them counts."""

from __future__ import annotations

import select
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Final, Literal, NamedTuple

__all__ = ["KINDS", "Conversation", "Kind", "Sample"]

PATIENCE: Final = 20.0
"""Seconds without a byte after which a request counts as lost."""


class Sample(NamedTuple):
    """A line of the page, without its number."""

    name: str
    labels: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, name: str, **labels: str) -> Sample:
        """Return the one with these labels."""
        return cls(name, frozenset(labels.items()))

    def count_of_it(self) -> Sample:
        """Return the count of the histogram that this bucket belongs to."""
        labels = frozenset(pair for pair in self.labels if pair[0] != "le")
        return Sample(self.name.removesuffix("_bucket") + "_count", labels)

    def __str__(self) -> str:
        inner = ",".join(f'{name}="{value}"' for name, value in sorted(self.labels))
        return f"{self.name}{{{inner}}}"


@dataclass(frozen=True)
class Kind:
    """A kind of request.

    :ivar sent: what is sent; `{n}` becomes a number that is another each time
    :ivar answer: the status, or the line, that comes
    :ivar counts: what one of them raises by 1
    """

    name: str
    speaks: Literal["http", "line"]
    sent: str
    answer: str
    counts: tuple[Sample, ...]


def response(method: str, route: str, status: str) -> tuple[Sample, ...]:
    """Return what a response counts."""
    labels = {"http_request_method": method, "http_route": route, "http_response_status_code": status}
    return (Sample.of("http_server_request_duration_seconds_count", **labels),)


def event(pattern: str, outcome: str = "ok") -> tuple[Sample, ...]:
    """Return what an event counts."""
    return (
        Sample.of("tiny_listener_dispatch_seconds_count", event=pattern),
        Sample.of("tiny_listener_events_total", event=pattern, outcome=outcome),
    )


def http(name: str, request: str, status: str, *counts: tuple[Sample, ...], body: str = "") -> Kind:
    """Return a kind of HTTP request."""
    head = f"{request} HTTP/1.1\r\nHost: exactness\r\n" + (f"Content-Length: {len(body)}\r\n" if body else "")
    return Kind(name, "http", f"{head}\r\n{body}", status, tuple(one for some in counts for one in some))


def line(text: str, answer: str, *counts: tuple[Sample, ...]) -> Kind:
    """Return a kind of line."""
    return Kind(f"line {text}", "line", f"{text}\n", answer, tuple(one for some in counts for one in some))


NOT_FOUND: Final = (Sample.of("tiny_listener_not_found_total"),)
POLITE: Final = (Sample.of("exactness_greetings_total", politeness="polite"),)
CURT: Final = (Sample.of("exactness_greetings_total", politeness="curt"),)
HELLO: Final = "/user/{username}"

KINDS: Final = (
    http("GET 200", "GET /user/{n}", "200", response("GET", HELLO, "200"), event(f"GET:{HELLO}"), POLITE),
    http("HEAD 200", "HEAD /user/{n}", "200", response("HEAD", HELLO, "200"), event(f"GET:{HELLO}"), POLITE),
    http("POST 200", "POST /echo", "200", response("POST", "/echo", "200"), event("POST:/echo"), body="some text"),
    http("GET 200, slow", "GET /slow/{n}", "200", response("GET", "/slow/{number:int}", "200"),
         event("GET:/slow/{number:int}")),
    http("GET 200, in pieces", "GET /stream", "200", response("GET", "/stream", "200"), event("GET:/stream")),
    http("GET 410", "GET /gone", "410", response("GET", "/gone", "410"), event("GET:/gone")),
    http("GET 403, raised", "GET /refuse", "403", response("GET", "/refuse", "403"), event("GET:/refuse", "rejected")),
    http("GET 500", "GET /fail", "500", response("GET", "/fail", "500"), event("GET:/fail", "error")),
    http("GET 404", "GET /nowhere/{n}", "404", response("GET", "", "404"), NOT_FOUND),
    http("HEAD 404", "HEAD /nowhere/{n}", "404", response("HEAD", "", "404"), NOT_FOUND),
    http("POST 405", "POST /user/{n}", "405", response("POST", "", "405")),
    http("BREW 501", "BREW /user/{n}", "501", response("_OTHER", "", "501")),
    http("GET 400", "GET /user/{n} HTTP/1.1\r\nHost: another", "400", response("_OTHER", "", "400")),
    http("POST 200, with two events", "POST /work/{n}", "200", response("POST", "/work/{number:int}", "200"),
         event("POST:/work/{number:int}"), event("step {number:int} of work"),
         event("broken step {number:int}", "error")),
    line("note {n}", "ok", event("line note {text:path}"), CURT),
    line("late {n}", "timeout", event("line late {text:path}", "timeout")),
    line("wrong {n}", "error", event("line wrong {text:path}", "error")),
    line("unknown {n}", "not found", NOT_FOUND),
)  # fmt: skip


class Conversation:
    """Sends requests one after the other, HTTP on a connection that it keeps if it is to and may.

    :param ports: by what is spoken there
    """

    def __init__(self, ports: Mapping[str, int], *, keep: bool) -> None:
        self._ports = ports
        self._keep = keep
        self._sock: socket.socket | None = None

    def ask(self, kind: Kind, number: int) -> str | None:
        """Send a request, take its whole answer; return the status or the line, None when there was none."""
        data = kind.sent.replace("{n}", str(number))
        if kind.speaks == "http" and not self._keep:
            data = data.replace("\r\n", "\r\nConnection: close\r\n", 1)
        try:
            sock = self._connection(self._ports[kind.speaks])
            sock.sendall(data.encode())
            if kind.speaks == "line":
                with sock.makefile("rb") as file:
                    text = file.readline().decode()
                self.close()
                return text.strip() or None
            with HTTPResponse(sock, method=data.partition(" ")[0]) as answer:
                answer.begin()
                answer.read()
                if answer.will_close:
                    self.close()
                return str(answer.status)
        except (OSError, HTTPException):
            self.close()
            return None

    def _connection(self, port: int) -> socket.socket:
        """Return one that the server has not closed, as far as one can see (urllib3 looks in the same way)."""
        if self._sock is not None and select.select([self._sock], [], [], 0)[0]:
            self.close()
        if self._sock is None:
            self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        return self._sock

    def close(self) -> None:
        """Close the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
