"""The usual way of a request: all of it in one piece on a connection where nothing waits, and a handler that does
not suspend. One function does for all that a turn of the loop brought what `HTTPConnection` and its helpers do step by
step, so that most requests cost few calls. Whatever is not usual is left to them, before anything was done that they
would do again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

from ..dispatch import run_hooks
from ..runner import Pending
from .errors import ProtocolError
from .response import OK_TEXT, TEXT, Response, as_body, last_bytes, plain_bytes
from .routing import NOT_FOUND

if TYPE_CHECKING:
    from ..observer import RouteObserver
    from .connection import HTTPConnection
    from .server import HTTPServer

__all__ = ["MAX_UNWRITTEN", "Way", "general_way", "usual_way"]

logger = logging.getLogger("tiny_listener")

MAX_UNWRITTEN = 32
"""Responses to pipelined requests that may wait for the end of a turn of the loop."""
SLOW = 0.005
"""Seconds from which each request is looked at for a trace that it is an example of."""
NOT_FOUND_START = (404, TEXT)
UNUSUAL = frozenset({Pending, Response})

Way: TypeAlias = "Callable[[list[tuple[HTTPConnection, bytes]]], None]"
"""Serves what connections received."""


def general_way(arrived: list[tuple[HTTPConnection, bytes]]) -> None:
    """Let the connections read for themselves."""
    for connection, data in arrived:
        try:
            connection.read(data)
        except Exception as exc:
            _drop(connection, exc)


def _drop(connection: HTTPConnection, error: Exception) -> None:
    logger.error("The connection of %s failed; it is dropped", connection.client, exc_info=error)
    connection.abort()


def usual_way(server: HTTPServer) -> Way:  # noqa: C901 - PERF: see the module's text
    """Return what serves the usual requests of a server's connections, and leaves the others to them."""
    find_event = server.find_event
    hooks = server.hooks
    run = server.runners.run
    samples = server.samples
    missed = server.missed
    answers = server.answers
    max_body = server.settings.max_body

    def answer_pipelined(connection: HTTPConnection, answer: bytes, *, first: bool) -> None:
        # Responses to requests that came together leave together; but they may not pile up.
        together = answers[-1][1] if answers and not first else None
        if isinstance(together, list):
            together.append(answer)
            if len(together) == MAX_UNWRITTEN:
                server.write_answers()
        else:
            answers.append((connection, [answer]))

    def count_with_trace(request: Any, observer: RouteObserver, seconds: float) -> bool:
        trace_id = request.recorded_trace_id
        if trace_id is None:
            return False
        hooks.dispatched += 1
        observer.event_done(seconds, "ok")
        observer.http_response(request.method, 200, seconds, trace_id)
        return True

    def serve(arrived: list[tuple[HTTPConnection, bytes]]) -> None:  # noqa: C901
        clock = perf_counter()  # when the request began, which is when the last one ended
        now = server.now
        notable = 0.0  # how long one takes that is looked at for a trace: the first, and after it the slow ones
        body: bytes | None
        for connection, data in arrived:
            position, size = 0, len(data)
            try:
                while connection.is_free:
                    reader = connection.reader
                    try:
                        request: Any = reader.read_head(data, position)
                    except ProtocolError:
                        request = None
                    if request is None or not request.is_plain:
                        reader.forget()
                        break
                    request.connection = connection
                    request.started = clock
                    method = request.method
                    event = find_event(request)
                    if event.route is None:
                        if event is not NOT_FOUND or method == "HEAD":
                            reader.forget()
                            break
                        ended = perf_counter()
                        missed.append((method, ended - clock))
                        start, body = NOT_FOUND_START, event.body
                    else:
                        route = event.route
                        if request.length and request.length > route.opts.get("max_body", max_body):
                            reader.forget()
                            break
                        body = error = None
                        try:
                            if hooks.present:
                                value = run(run_hooks(event, hooks), connection.resumed)
                            else:  # a handler costs a third less without the coroutine that would run its hooks
                                value = run(route.call(event), connection.resumed)
                            if type(value) is str:
                                start, body = OK_TEXT, value.encode()
                            elif type(value) not in UNUSUAL and (usual := as_body(value)) is not None:
                                start, body = usual
                        except (Exception, asyncio.CancelledError) as exc:
                            value, error = None, exc
                        if body is None or method == "HEAD" or event.error is not None or not connection.is_free:
                            position = reader.position
                            if type(value) is Pending:
                                connection.wait_for(request, event, value.task)
                            else:
                                connection.conclude(request, event, value, error)
                            clock = perf_counter()
                            break
                        event.result = value
                        if event.auto_done:
                            if event.waiters is None:  # what `done` does where nobody waits
                                event.is_done = True
                            else:
                                event.done()
                        ended = perf_counter()
                        seconds = ended - clock
                        if seconds > notable and count_with_trace(request, route.observer, seconds):
                            notable = SLOW
                        else:
                            notable = SLOW
                            # PERF: an exception in a function as long as this costs as much as a request.
                            pending = samples.get(route.observer)
                            if pending is None:
                                pending = samples[route.observer] = []
                            pending.append((method, seconds))
                    clock = ended
                    connection.last_active = now
                    if reader.is_over:
                        connection.answered_last()
                        answer_pipelined(connection, last_bytes(start, body), first=not position)
                        position = size  # nobody is to see what may follow
                        break
                    answer = plain_bytes(start, body)
                    if reader.position == size and not position:
                        answers.append((connection, answer))
                        position = size
                        break
                    answer_pipelined(connection, answer, first=not position)
                    position = reader.position
                    if position == size:
                        break
                if position < size:
                    connection.read(data[position:])
                    clock = perf_counter()
            except Exception as exc:
                _drop(connection, exc)

    return serve
