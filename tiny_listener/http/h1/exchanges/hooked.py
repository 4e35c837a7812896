"""A request of an application with response hooks: its response goes through them before it is written.

The hooks run as part of the response: in the handler's context variables, and cancelled when the client is gone. One
that fails makes a 500 of it, which no hook sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ....process.task_pool import Suspended
from ...errors import HTTPError
from ...response import DeferredResponse, Response
from ..states import State
from .exchange import Exchange
from .results import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from ....core.event import Event
    from ...routing import Refusal
    from ..connection import HTTPConnection
    from ..request import H1Request

__all__ = ["HookedExchange"]


class HookedExchange(Exchange):
    """The request in flight, and its response, which the hooks may change."""

    __slots__ = ("_is_own",)

    def __init__(self, connection: HTTPConnection, request: H1Request, target: Event[Any] | Refusal) -> None:
        super().__init__(connection, request, target)
        self._is_own = True  # the server or an HTTPError made the response

    def _response_to_value(self, event: Event[Any], value: Any) -> Response:
        self._is_own = value is None and event.error is not None
        return super()._response_to_value(event, value)

    def _failed(self, error: BaseException) -> Response:
        self._is_own = True
        return super()._failed(error)

    def _report(self, error: BaseException) -> None:
        self._log(super()._report, error)

    def _log(self, write: Callable[..., None], *args: Any) -> None:
        """Write to the log in the request's context variables, such as its id."""
        began = False

        def log() -> None:
            nonlocal began
            began = True
            write(*args)

        try:
            (self._context or self.connection.server.context.copy()).run(log)
        except RuntimeError:
            if began:
                raise
            write(*args)  # this runs in that context already

    def _respond(self, response: Response) -> None:
        """Run the hooks, then write the response. `_finished` follows, at once if nothing suspends."""
        pool = self.connection.server.pool
        if self._context is None:
            self._context = pool.new_context()
        try:
            outcome = pool.run(self._through_hooks(response), self._finished, self._context)
        except BaseException as exc:
            self._finished(None, exc)
            return
        if type(outcome) is not Suspended:
            self._finished(outcome, None)
            return
        self.was_suspended = True
        self.hooks = outcome
        self._go_on_in(State.RESPONDING)
        if self._is_cancelled:  # the client is gone already
            outcome.cancel()
        elif self.connection.is_disconnected:
            self.connection.departure.watch_stream()

    async def _through_hooks(self, response: Response) -> Response:
        """Return the response as it is to be sent.

        :raises BaseException: raised by a hook
        """
        request = self.request
        if isinstance(response, DeferredResponse):
            response = await self._prepared(response)
        known = request if request.target else None  # without a target no head was parsed
        hooks = self.connection.server.response_hooks
        try:
            return await hooks.run(response, known, request.method or "GET", is_own=self._is_own)
        except BaseException:
            self.connection.server.run_aside(self._close(response.body))
            raise

    async def _prepared(self, response: DeferredResponse) -> Response:
        try:
            return await prepare(response, self.request)
        except HTTPError as exc:
            self._is_own = True
            return self._refused(exc)
        except BaseException as exc:
            if self._is_cancelled:
                raise
            return self._failed(exc)

    def _finished(self, response: Any, error: BaseException | None) -> None:
        """The hooks have ended."""
        self.hooks = None
        if self.connection.pipeline.exchange is not self:
            return
        try:
            if error is not None and self._is_cancelled:
                self._stream_failed(error)
                self.end()
            else:
                super()._respond(response if error is None else self._failed(error))
        except BaseException as exc:
            self.connection.fail(exc)

    @property
    def is_streaming(self) -> bool:
        """See `Exchange`."""
        return self._task is not None or self.hooks is not None

    @property
    def is_suspended(self) -> bool:
        """See `Exchange`."""
        return self._handler is not None or self.is_streaming

    def cancel_response(self) -> None:
        """See `Exchange`; the hooks are part of the response."""
        if self.hooks is not None:
            self._is_cancelled = True
            self.hooks.cancel()
        super().cancel_response()
