"""The usual way of a request: all of it in one piece on a connection where nothing waits, and a handler that does
not suspend. One function does what `HTTPConnection` and its helpers do step by step, so that most requests cost
few calls. Whatever is not usual is left to them, before anything was done that they would do again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ..dispatch import run_hooks
from ..runner import Pending
from .errors import ProtocolError
from .response import OK_TEXT, TEXT, Response, as_body, plain_bytes
from .routing import NOT_FOUND, Refusal

if TYPE_CHECKING:
    from .connection import HTTPConnection
    from .server import HTTPServer

__all__ = ["MAX_UNWRITTEN", "Way", "no_way", "usual_way"]

MAX_UNWRITTEN = 32
"""Responses to pipelined requests that may wait for the end of a turn of the loop."""
NOT_FOUND_START = (404, TEXT)

Way: TypeAlias = "Callable[[HTTPConnection, bytes], int]"
"""Serves requests at the beginning of what a connection received; returns how many bytes that were."""


def no_way(_connection: HTTPConnection, _data: bytes) -> int:
    """Serve nothing."""
    return 0


def usual_way(server: HTTPServer) -> Way:  # noqa: C901
    """Return what serves the usual requests of a server's connections."""
    find_event = server.find_event
    hooks = server.hooks
    observer = server.observer
    run = server.runners.run
    samples = server.samples
    answers = server.answers
    max_body = server.settings.max_body

    def serve(connection: HTTPConnection, data: bytes) -> int:  # noqa: C901 - PERF: see the module's text
        reader = connection.reader
        position = 0
        pipelined: list[bytes] | None = None
        while connection.is_free:
            try:
                request: Any = reader.read_head(data, position)
            except ProtocolError:
                request = None
            if request is None or not request.is_plain:
                reader.forget()
                break
            method = request.method
            request.connection = connection
            request.started = started = perf_counter()
            event = find_event(request)
            if type(event) is Refusal:
                if event is not NOT_FOUND or method == "HEAD":
                    reader.forget()
                    break
                position = reader.position
                observer.not_found()
                observer.http_unrouted(method, 404, perf_counter() - started)
                answer = plain_bytes(NOT_FOUND_START, event.body)
            else:
                route = event.route
                if request.length and request.length > route.opts.get("max_body", max_body):
                    reader.forget()
                    break
                position = reader.position
                try:
                    if hooks.present:
                        value = run(run_hooks(event, hooks), connection.resumed)
                    else:  # a handler costs a third less without the coroutine that would run its hooks
                        value = run(route.call(event), connection.resumed)
                except (Exception, asyncio.CancelledError) as exc:
                    connection.conclude(request, event, None, exc)
                    break
                if type(value) is Pending:
                    connection.wait_for(request, event, value.task)
                    break
                if type(value) is str:
                    start, body = OK_TEXT, value.encode()
                elif type(value) is Response or (usual := as_body(value)) is None:
                    connection.conclude(request, event, value, None)
                    break
                else:
                    start, body = usual
                if method == "HEAD" or event.error is not None or not connection.is_free:
                    connection.conclude(request, event, value, None)
                    break
                event.result = value
                if event.auto_done:
                    if event.waiters is None:  # what `done` does where nobody waits
                        event.is_done = True
                    else:
                        event.done()
                try:
                    pending = samples[route.observer]
                except KeyError:
                    pending = samples[route.observer] = []
                pending.append((method, perf_counter() - started))
                answer = plain_bytes(start, body)
            if position == len(data):
                if pipelined is None:
                    answers.append((connection, answer))
                else:
                    pipelined.append(answer)
                break
            # Responses to requests that came together leave together; but they may not pile up.
            if pipelined is None:
                pipelined = []
                answers.append((connection, pipelined))
            pipelined.append(answer)
            if len(pipelined) == MAX_UNWRITTEN:
                server.write_answers()
                pipelined = None
        return position

    return serve
