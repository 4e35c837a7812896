"""One event: its route, path parameters, data, result and outcome."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic

from ..errors import EventAlreadyDone
from .aliases import CTX

if TYPE_CHECKING:
    from .aliases import PathParams
    from .listener import Listener
    from .observer import Outcome
    from .registration import Route

__all__ = ["Event"]


class Event(Generic[CTX]):
    """An event, passed to hooks and handler.

    :param ctx: the context it belongs to; None: a new one is created on first use
    :param route: the route that its text matched
    :param data: its data, by name
    :param params: converted path parameters, by name
    :param listener: needed only if `ctx` is None
    """

    __slots__ = (
        "_cache",
        "_ctx",
        "auto_done",
        "data",
        "error",
        "is_done",
        "listener",
        "outcome",
        "params",
        "result",
        "route",
        "waiters",
    )

    route: Route
    """The route that its text matched."""
    listener: Listener[CTX]
    """The listener that handles it."""
    data: dict[str, Any]
    """Data from the source or from `trigger_event(data=...)`."""
    params: PathParams
    """Converted path parameters, by name."""
    result: Any
    """The value that the handler returned, or the error handler after an error; None until then."""
    error: BaseException | None
    """The exception that the handler or a hook raised."""
    outcome: Outcome
    """How the handling ended; "ok" until it fails."""

    auto_done: bool
    """Whether the event is marked as done when its handling ends; see `prevent_auto_done`."""
    is_done: bool
    """Whether the event is done: its handling ended, or `done()` was called."""
    waiters: list[asyncio.Future[None]] | None
    """Resolved when the event is done; None without waiters."""
    _ctx: CTX | None
    _cache: dict[Any, Any] | None

    def __init__(
        self,
        ctx: CTX | None,
        route: Route,
        data: dict[str, Any] | None = None,
        params: PathParams | None = None,
        listener: Listener[CTX] | None = None,
    ) -> None:
        self.route = route
        self.data = {} if data is None else data
        self.params = {} if params is None else params
        self.listener = ctx.listener if ctx is not None else listener  # type: ignore[assignment]
        self.result = None
        self.error = None
        self.outcome = "ok"
        self.is_done = False
        self.auto_done = True
        self.waiters = None
        self._ctx = ctx
        self._cache = None

    @property
    def ctx(self) -> CTX:
        """The context of the event."""
        if self._ctx is None:
            # Created on first use, so that an event that never uses its context does not pay for one.
            self._ctx = self.listener.new_ctx()
            self._ctx.adopt(self)
        return self._ctx

    @property
    def cache(self) -> dict[Any, Any]:
        """Results of dependencies by function: each runs once for an event, see `Depends`."""
        if self._cache is None:
            self._cache = {}
        return self._cache

    # --- what only a published event has; see `Listener.publish` ---

    @property
    def id(self) -> str | None:
        """The id of a published event: the same for all its attempts. None for others."""
        return None

    @property
    def key(self) -> str | None:
        """The key that it was published with."""
        return None

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return 1

    @property
    def redelivered(self) -> bool:
        """Whether it may have been started before: after a failure, a crash or a drain."""
        return False

    @property
    def published_at(self) -> float | None:
        """When it was published, in seconds since 1970."""
        return None

    @property
    def attributes(self) -> dict[str, str]:
        """Its further attributes, such as `traceparent`."""
        return {}

    @property
    def payload(self) -> Any:
        """All of its data: that of a published event may be something else than a dict."""
        return self.data

    @property
    def is_request(self) -> bool:
        """Whether the event came from a request of a source such as HTTP."""
        return getattr(self.data.get("request"), "is_request", False) is True

    def sibling(self, route: Route) -> Event[CTX]:
        """Return an event of another route with the same context, data and parameters."""
        if self._ctx is not None:
            return self._ctx.new_event(route, self.data, self.params)
        return Event(None, route, self.data, self.params, self.listener)

    def prevent_auto_done(self) -> None:
        """Let the application call `done()`, which may be long after the handler has returned.

        :raises EventAlreadyDone: the event is already done
        """
        if self.is_done:
            raise EventAlreadyDone(
                f"Event {self.route.path!r} is done: call prevent_auto_done() while its handler runs"
            )
        self.auto_done = False

    def fail(self, error: BaseException, outcome: Outcome | None = None) -> None:
        """Store the exception that the handler or a hook raised.

        After `prevent_auto_done()` an application calls it instead of `done()`, without an outcome: the event is done,
        and it has failed.
        """
        self.error = error
        if outcome is not None:
            self.outcome = outcome
            return
        from .dispatch import outcome_of  # noqa: PLC0415 - dispatch needs this class

        self.outcome = outcome_of(error)
        self.done()

    def defers(self, error: BaseException) -> bool:
        """Whether the error handlers wait, because the event will be tried again."""
        return False

    def comes_again(self, waiter: Event[Any]) -> bool:
        """Whether this is an attempt that failed, after which another one follows that the waiter can wait for."""
        return False

    def done(self) -> None:
        """Mark the event as done and wake its waiters. A second call has no effect."""
        if self.is_done:
            return
        self.is_done = True
        if self.waiters:
            for waiter in self.waiters:
                if not waiter.done():
                    waiter.set_result(None)
            self.waiters = None

    async def wait_until_done(self) -> None:
        """Wait until the event is done."""
        if self.is_done:
            return
        waiter = asyncio.get_running_loop().create_future()
        if self.waiters is None:
            self.waiters = []
        self.waiters.append(waiter)
        try:
            await waiter
        finally:
            if self.waiters is not None:
                self.waiters.remove(waiter)

    async def wait_event_done(self, name: str, n: int = 1, timeout: float | None = None) -> list[Any]:  # noqa: ASYNC109
        """Wait for `n` events of another route in this event's context, and return their results.

        :param name: the name of the route, by default that of its handler
        :param n: number of events: the first `n` that were triggered
        :param timeout: seconds; None for no limit
        :raises EventNotFound: no route has this name
        :raises TimeoutError: fewer than `n` were done in time
        """
        route = self.listener.get_route(name)
        async with asyncio.timeout(timeout):
            events: list[Event[Any]] = []
            # When they are done, some may turn out to be attempts that failed, after which another one follows.
            while events != (found := await self.ctx.wait_for_events(route, n, self)):
                events = found
                for event in events:
                    await event.wait_until_done()
        return [event.result for event in events]

    async def __call__(self, params: PathParams | None = None) -> Any:
        """Run the handler without hooks, and store its result.

        :param params: path parameters to use instead of those from the text
        :raises EventAlreadyDone: the event is already done
        """
        if self.is_done:
            raise EventAlreadyDone(f"Event {self.route.path!r} is done: trigger a new one")
        if params is not None:
            self.params = params
        try:
            self.result = await self.route.call(self)
        finally:
            if self.route.has_exits:
                from .injection import clean_up  # noqa: PLC0415 - injection needs this class

                await clean_up(self)
        return self.result

    def __repr__(self) -> str:
        return f"{type(self).__name__}(route={self.route.path!r}, params={self.params!r}, is_done={self.is_done})"
