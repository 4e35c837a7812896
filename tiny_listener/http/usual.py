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
from .response import TEXT, Response, as_body, ok_bytes
from .routing import Refusal, find_event

if TYPE_CHECKING:
    from .connection import HTTPConnection
    from .server import HTTPServer

__all__ = ["MAX_UNWRITTEN", "Way", "no_way", "usual_way"]

MAX_UNWRITTEN = 32
"""Responses to pipelined requests that may wait for the end of a turn of the loop."""

Way: TypeAlias = "Callable[[HTTPConnection, bytes], int]"
"""Serves requests at the beginning of what a connection received; returns how many bytes that were."""


def no_way(_connection: HTTPConnection, _data: bytes) -> int:
    """Serve nothing."""
    return 0


def usual_way(server: HTTPServer) -> Way:  # noqa: C901
    """Return what serves the usual requests of a server's connections."""
    listener = server.listener
    hooks = listener.hooks
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
            request.connection = connection
            request.started = started = perf_counter()
            event = find_event(listener, request)
            if isinstance(event, Refusal) or (
                request.length and request.length > event.route.opts.get("max_body", max_body)
            ):
                reader.forget()
                break
            position = reader.position
            try:
                if hooks.before or hooks.after or hooks.on_error:
                    value = run(run_hooks(event, hooks), connection.resumed)
                else:  # a handler costs a third less without the coroutine that would run its hooks
                    value = run(event.route.call(event), connection.resumed)
            except (Exception, asyncio.CancelledError) as exc:
                connection.conclude(request, event, None, exc)
                break
            if type(value) is str:
                content_type, body = TEXT, value.encode()
            elif type(value) is Pending:
                connection.wait_for(request, event, value.task)
                break
            elif type(value) is Response or (usual := as_body(value)) is None:
                connection.conclude(request, event, value, None)
                break
            else:
                content_type, body = usual
            if event.error is not None or request.method == "HEAD" or not connection.is_free:
                connection.conclude(request, event, value, None)
                break
            event.result = value
            if event.auto_done:
                if event.waiters is None:  # what `done` does where nobody waits
                    event.is_done = True
                else:
                    event.done()
            try:
                pending = samples[event.route.observer]
            except KeyError:
                pending = samples[event.route.observer] = []
            pending.append((request.method, perf_counter() - started))
            answer = ok_bytes(content_type, body)
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
