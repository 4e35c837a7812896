"""What is wrong with a CloudEvent."""

from __future__ import annotations

from ..errors import ListenerError

__all__ = ["InvalidCloudEvent", "UnknownFormat"]


class InvalidCloudEvent(ListenerError, ValueError):  # noqa: N818
    """It breaks a requirement of CloudEvents 1.0. The message says which attribute is wrong, and what would be right.

    Over HTTP this is 400.
    """

    @property
    def is_rejection(self) -> bool:
        """See `ListenerError`."""
        return True


class UnknownFormat(InvalidCloudEvent):
    """The message is no CloudEvent, or is in an event format other than JSON. Over HTTP this is 415."""
