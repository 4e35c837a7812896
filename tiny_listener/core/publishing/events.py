"""A published event, as its handler gets it."""

from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from ...errors import ListenerError
from ..event import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...events.messages import Deliver
    from ..aliases import PathParams
    from ..listener import Listener
    from ..observer import Outcome
    from ..registration import Route

__all__ = ["CURRENT", "PublishedEvent"]

CURRENT: Final[ContextVar[PublishedEvent | None]] = ContextVar("tiny_listener.published", default=None)
"""The published event whose handler runs in this context."""


class PublishedEvent(Event[Any]):
    """An event that the carrier has delivered.

    :param delivery: what the carrier said of it
    :param payload: its data, decoded
    :param is_last: returns whether an error is the last failure: its attempts are over
    :param settle: called once, when it is done; None for the event of one subscriber, which settles nothing
    """

    __slots__ = ("_payload", "_settle", "_thread", "delivery", "holds", "is_last")

    def __init__(
        self,
        ctx: Any,
        route: Route,
        data: dict[str, Any],
        params: PathParams,
        listener: Listener[Any],
        *,
        delivery: Deliver,
        payload: Any,
        is_last: Callable[[BaseException], bool],
        settle: Callable[[PublishedEvent], None] | None,
        holds: tuple[str, ...] = (),
    ) -> None:
        super().__init__(ctx, route, data, params, listener)
        self.delivery: Final = delivery
        self.holds: Final = holds
        """The keys that this event holds: its own, and those of the requests that wait for it."""
        self.is_last: Final = is_last
        self._payload: Final = payload
        self._settle = settle
        self._thread: Final = get_ident()

    @property
    def id(self) -> str | None:
        """See `Event`."""
        return self.delivery.envelope.id

    @property
    def key(self) -> str | None:
        """See `Event`."""
        return self.delivery.envelope.key

    @property
    def attempt(self) -> int:
        """See `Event`."""
        return self.delivery.attempt

    @property
    def redelivered(self) -> bool:
        """See `Event`."""
        return self.delivery.redelivered

    @property
    def published_at(self) -> float | None:
        """See `Event`."""
        return self.delivery.envelope.published_at

    @property
    def attributes(self) -> dict[str, str]:
        """See `Event`."""
        return self.delivery.envelope.attributes

    @property
    def payload(self) -> Any:
        """See `Event`."""
        return self._payload

    def defers(self, error: BaseException) -> bool:
        """See `Event`: while it is tried again, its error handlers wait."""
        return not self.is_last(error)

    def sibling(self, route: Route) -> Event[Any]:
        """See `Event`."""
        one = PublishedEvent(
            self._ctx,
            route,
            self.data,
            self.params,
            self.listener,
            delivery=self.delivery,
            payload=self._payload,
            is_last=self.is_last,
            settle=None,
            holds=self.holds,
        )
        if self._ctx is not None:
            self._ctx.adopt(one)
        return one

    def fail(self, error: BaseException, outcome: Outcome | None = None) -> None:
        """See `Event`.

        :raises ListenerError: this is another thread than that of the listener
        """
        self._check_thread()
        super().fail(error, outcome)

    def done(self) -> None:
        """See `Event`. The carrier is told.

        :raises ListenerError: this is another thread than that of the listener
        """
        self._check_thread()
        was_done = self.is_done
        super().done()
        if not was_done and self._settle is not None:
            self._settle(self)

    def comes_again(self, waiter: Event[Any]) -> bool:
        """See `Event`. A subscriber does not wait for the next attempt of another one: it is a part of this one."""
        if not self.is_done or self.error is None or getattr(waiter, "delivery", None) is self.delivery:
            return False
        return self.defers(self.error)

    def disown(self) -> None:
        """Remove the events of this attempt, those of subscribers too, from the context: another attempt follows."""
        if self._ctx is not None:
            self._ctx.disown(lambda one: getattr(one, "delivery", None) is self.delivery)

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise ListenerError(
                f"the event {self.route.path!r} cannot be settled in another thread than that of the listener: call "
                "done() or fail() there, by loop.call_soon_threadsafe()"
            )
