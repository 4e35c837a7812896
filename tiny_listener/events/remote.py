"""A store that several servers share, such as a stream of NATS. It gives this server the events of some keys."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from .engine.effects import Effects
from .messages import Deliver, FromCarrier, Publish, ToCarrier
from .store.ops import Contents, DeadLetter, Op

if TYPE_CHECKING:
    from .service import EventService

__all__ = ["Remote", "leave_out", "publish_elsewhere"]


class Remote(Protocol):
    """Stores events elsewhere. `Store` explains what has the same name there."""

    id: str
    name: str
    """As the status shows it."""

    def load(self, now: float, dedup_window: float) -> Contents:
        """Return what is known at the start: dead letters and halted keys, but no events, which come later."""

    def serve(self, service: EventService) -> None:
        """Begin to feed the engine of a carrier, by `EventService.add` and `EventService.drop`."""

    @property
    def failure(self) -> str | None:
        """Why nothing can be stored or settled by now; None: it can."""

    @property
    def partitions_owned(self) -> int:
        """Of the keys, those that this server has."""

    @property
    def is_sure(self) -> bool:
        """Whether what is here is surely still ours. Nothing is started while it is not."""

    def publish(self, number: int, message: Publish) -> None:
        """Store an event, and tell its publisher, by `EventService.tell`.

        :param number: of its link
        """

    def forget(self, number: int) -> None:
        """A link is closed."""

    def results(self, messages: Iterable[FromCarrier]) -> None:
        """Send results to the servers whose requests they answer."""

    async def write(self, ops: list[Op]) -> None:
        """Write operations on events that came from here. It takes as long as it takes: until there is a connection."""

    async def dead_letters(
        self,
        *,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
        id: str | None = None,  # noqa: A002
    ) -> list[DeadLetter]:
        """See `Store.dead_letters`."""

    async def dead_counts(self) -> dict[str, int]:
        """Return the number of dead letters of all servers, by reason.

        :raises CarrierError: that is not known by now
        """

    async def last_dead(self) -> int:
        """Return the number of the last dead letter by now."""

    async def put_back(self, letter: DeadLetter) -> None:
        """Publish a dead letter again, and delete it."""

    async def size(self, unsettled: int) -> int:
        """See `Store.size`."""

    def tidy(self, now: float) -> Any:
        """See `Store.tidy`."""

    async def close(self) -> None:
        """Give up what this server has, and disconnect."""


def publish_elsewhere(remote: Remote, number: int, messages: list[ToCarrier]) -> list[ToCarrier]:
    """Publish what is to be published. Return the other messages.

    :param number: of the link that they came by
    """
    rest: list[ToCarrier] = []
    for message in messages:
        if isinstance(message, Publish):
            remote.publish(number, message)
        else:
            rest.append(message)
    return rest


def leave_out(effects: Effects, known: Container[int]) -> None:
    """Leave out the events that were dropped while the effects were written.

    :param known: the numbers of those that are left
    """
    for messages in effects.sends.values():
        messages[:] = [one for one in messages if not isinstance(one, Deliver) or one.seq in known]
