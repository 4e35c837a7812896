"""The fast path: one function turns the bytes of a request into the bytes of its response.

It serves a complete request on a connection where nothing is pending (`State.IDLE`), if its handler does not suspend
and returns a whole response or raises an `HTTPError`, or if no route matches. One function does the work of `Intake`,
`Pipeline` and `Exchange` for all requests of a loop iteration, so that most requests need few calls.

Everything else falls back to the slow path. Before the handler's call the fast path has no side effects, so the slow
path parses the same bytes again. After it, the exchange continues from there.

Isolation: an error ends only its connection, and the others are served. Each connection has a limited share of a loop
iteration; the rest of its bytes are parsed in the next one.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, final

from ...core.dispatch import conclude, outcome_of
from ...process.safe_logging import forget_frames
from ...process.task_pool import Suspended
from ..errors import HTTPError, ProtocolError
from ..response import OK_TEXT, TEXT, Response
from ..routing import NOT_FOUND
from .exchanges.cleanup import run_event
from .pipeline import MAX_SHARED_TIME
from .states import State
from .writing.outbox import MAX_UNWRITTEN
from .writing.wire import closing, plain_bytes, whole_response

if TYPE_CHECKING:
    from contextvars import Context

    from ...core.aliases import AnyEvent
    from ...core.observer import RouteObserver
    from .connection import HTTPConnection
    from .server import HTTPServer

__all__ = ["MAX_SHARE", "FastPath", "serve_slowly"]

MAX_SHARE = 64
"""Maximum pipelined requests of one connection in a loop iteration; they take less than a millisecond."""
MAX_SHARED_BYTES = 32 * 1024
"""Maximum bytes of these requests: a request line full of escapes takes a millisecond."""
SLOW = 0.005
"""Requests that take more seconds than this are checked for a trace, to be recorded as exemplars."""
NOT_FOUND_START = (404, TEXT)


def serve_slowly(arrived: list[tuple[HTTPConnection, bytes]]) -> None:
    """Serve all connections on the slow path. Never raises."""
    for connection, data in arrived:
        try:
            connection.intake.read(data)
        except BaseException as exc:
            connection.fail(exc)


@final
class FastPath:
    """Serves the requests of a server on the fast path, and passes the others to the slow path.

    :param server: the server of the connections
    """

    def __init__(self, server: HTTPServer) -> None:
        self._server = server
        # PERF: bound once; binding takes 150 ns, which matters in a pass over few connections.
        self._find_event = server.routing.find_event
        self._run = server.pool.run
        self._hooks = server.hooks
        self._samples = server.samples
        self._outbox = server.outbox
        self._entries = server.outbox.entries
        self._exchanges = server.exchanges
        self._limit = server.limit_concurrency or 0
        self._max_body = server.settings.max_body
        self._access_log = server.access_log
        # Otherwise samples are counted in one batch at the end of the iteration.
        self._counts_alone = bool(server.access_log or server.hooks.watchers)

    def _count_with_trace(self, request: Any, observer: RouteObserver, seconds: float) -> bool:
        trace_id = request.recorded_trace_id
        if trace_id is None:
            return False
        self._hooks.dispatched += 1
        observer.event_done(seconds, "ok")
        observer.http_response(request.method, 200, seconds, trace_id)
        return True

    def _count_alone(self, request: Any, event: AnyEvent, status: int, seconds: float, answer: bytes) -> None:
        conclude(event, self._hooks, seconds)
        event.route.observer.http_response(request.method, status, seconds, request.recorded_trace_id)
        if self._access_log is not None:
            self._access_log.write(request, status, seconds, answer)

    def serve(self, arrived: list[tuple[HTTPConnection, bytes]]) -> None:  # noqa: C901 - PERF: see the module docstring
        """Serve the received bytes of connections. Never raises."""
        server = self._server
        find_event = self._find_event
        run = self._run
        hooks = self._hooks
        samples = self._samples
        outbox = self._outbox
        entries = self._entries
        exchanges = self._exchanges
        limit = self._limit
        max_body = self._max_body
        access_log = self._access_log
        idle = State.IDLE
        ok = 200 if self._counts_alone else 0  # status 200; 0 if it is counted in a batch
        clock = perf_counter()  # start of the request, which is the end of the previous one
        now = server.now
        notable = 0.0  # seconds from which a request is checked for a trace: the first one, then slow ones
        answer: bytes | None
        error: BaseException | None = None
        together_with: list[bytes] = []
        for connection, data in arrived:
            position, size, share, entered = 0, len(data), MAX_SHARE, clock
            try:
                reader, resumed = connection.reader, connection.pipeline.resumed
                while connection.state is idle:
                    try:
                        request: Any = reader.read_head(data, position)
                    except ProtocolError:
                        request = None
                    if request is None or not request.is_plain or (limit and len(exchanges) >= limit):
                        reader.roll_back()
                        break
                    request.connection = connection
                    request.started = clock
                    method = request.method
                    try:
                        event = find_event(request)
                    except BaseException:  # raised by an application's convertor
                        reader.roll_back()
                        break
                    if event.route is None:
                        if event is not NOT_FOUND or method == "HEAD":
                            reader.roll_back()
                            break
                        answer = plain_bytes(NOT_FOUND_START, event.body)
                        ended = perf_counter()
                        server.missed.append((method, ended - clock))
                        if access_log is not None:
                            first = closing(answer) if reader.is_over else answer
                            access_log.write(request, 404, ended - clock, first)
                    else:
                        route = event.route
                        if request.length and request.length > route.opts.get("max_body", max_body):
                            reader.roll_back()
                            break
                        value = None
                        status = ok
                        try:
                            if route.is_plain:  # PERF: a handler costs a third less without hooks' coroutine
                                value = run(route.call(event), resumed)
                            else:
                                value = run(run_event(event, hooks), resumed)
                            if type(value) is str:
                                answer = plain_bytes(OK_TEXT, value.encode())
                            elif type(value) is Suspended or not (whole := whole_response(value)):
                                answer = None
                            else:
                                status, answer = whole
                                if status == 200:
                                    status = ok
                        except BaseException as exc:
                            # If it cannot be converted to bytes, the exchange tries again and logs the error.
                            answer = None
                            if value is None:
                                error = exc
                                if isinstance(exc, HTTPError) and event.error is None:
                                    status, answer = whole_error(event, exc, server.pool.context)
                        if (
                            answer is None
                            or method == "HEAD"
                            or event.error is not error
                            or connection.state is not idle
                        ):
                            position = reader.position
                            if type(value) is Suspended:
                                connection.pipeline.suspended(request, event, value)
                            else:
                                connection.pipeline.conclude(request, event, value, error)
                            value = error = None
                            clock = perf_counter()
                            break
                        event.result = value
                        ended = perf_counter()
                        seconds = ended - clock
                        if not status:
                            if event.auto_done:
                                if event.waiters is None:  # PERF: the same as `done` without waiters
                                    event.is_done = True
                                else:
                                    event.done()
                            if seconds > notable and self._count_with_trace(request, route.observer, seconds):
                                notable = SLOW
                            else:
                                notable = SLOW
                                # PERF: catching a KeyError in a function this long costs as much as a request.
                                pending = samples.get(route.observer)
                                if pending is None:
                                    pending = samples[route.observer] = []
                                pending.append((method, seconds))
                        else:
                            first = closing(answer) if reader.is_over else answer
                            self._count_alone(request, event, status, seconds, first)
                            if error is not None:
                                forget_frames(error)
                                error = None
                    clock = ended
                    connection.last_active = now
                    began, position = position, reader.position
                    if reader.is_over:
                        answer = closing(answer)
                        size = position  # ignore the bytes that follow
                    # Responses to pipelined requests are written together, up to a limit.
                    if began and entries and entries[-1][1] is together_with:
                        together_with.append(answer)
                        if len(together_with) == MAX_UNWRITTEN:
                            outbox.flush()
                    elif position == size and not began:
                        entries.append((connection, answer))
                    else:
                        together_with = [answer]
                        entries.append((connection, together_with))
                    if position == size:
                        if reader.is_over:
                            connection.answered_last()
                        break
                    share -= 1
                    if not share or position > MAX_SHARED_BYTES or ended - entered > MAX_SHARED_TIME:
                        connection.intake.read_later(data[position:])
                        position = size
                        break
                if position < size:
                    connection.intake.read(data[position:])
                    clock = perf_counter()
            except BaseException as exc:
                error = None
                connection.fail(exc)


def whole_error(event: AnyEvent, error: HTTPError, context: Context) -> tuple[int, bytes | None]:
    """Return the status and the bytes of a raised response, and mark its event as failed.

    :param context: the context (contextvars) of the request, in which the response is created
    :returns: None for the bytes if the exchange must handle the error: they cannot be created, or it must be logged
    """
    try:
        response = context.run(error.response)
        whole = whole_response(response) if isinstance(response, Response) and error.status < 500 else None
    except BaseException:
        return 500, None
    if whole is None:
        return 500, None
    event.fail(error, outcome_of(error))
    return whole
