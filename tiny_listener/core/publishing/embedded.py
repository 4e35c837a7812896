"""The carrier within the process of the listener: with `--workers 1`, with `app.run()`, and in tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...events.settings import EventSettings

if TYPE_CHECKING:
    from ...events.service import EventService

__all__ = ["EmbeddedCarrier", "default_carrier", "in_memory"]


LAST_WORDS: Final = 1.0
"""Seconds that the end of the link may take."""


class EmbeddedCarrier:
    """Connects a listener with a carrier in its own loop. Its transactions run in a thread.

    :param settings: where events are stored, and the limits
    :param at_start: whether it starts with the listener, even if nothing is published
    :param on_start: called when it has started
    :ivar service: the carrier; None: it was not needed yet
    """

    def __init__(
        self, settings: EventSettings, *, at_start: bool = False, on_start: Callable[[], None] = lambda: None
    ) -> None:
        self.settings: Final = settings
        self.service: EventService | None = None
        self._at_start: Final = at_start
        self._on_start: Final = on_start
        self._is_linked = False

    def want(self, on_link: Callable[[socket.socket], None], *, starts: bool) -> None:
        """See `CarrierProvider`. It also starts if events of an earlier run wait.

        :raises CarrierError: the store cannot be opened
        """
        if self.service is None:
            if not (starts or self._at_start or self._has_store()):
                return
            from ...events.service import EventService  # noqa: PLC0415 - it needs sqlite3

            service = EventService(self.settings, in_thread=self.settings.folder is not None)
            service.start()
            self.service = service
            self._on_start()
        if not self._is_linked:
            self._is_linked = True
            theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            self.service.attach(theirs, 0)
            on_link(ours)

    def _has_store(self) -> bool:
        return self.settings.folder is not None and Path(self.settings.folder, "events.db").exists()

    async def close(self) -> None:
        """Close the store, once the listener has closed its link: what it gave back last is stored, too."""
        service, self.service = self.service, None
        self._is_linked = False
        if service is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(service.unlinked(), LAST_WORDS)
            await service.close()


def in_memory() -> EmbeddedCarrier:
    """Return a carrier for tests, which writes nothing to a disk."""
    return EmbeddedCarrier(EventSettings(folder=None))


def default_carrier() -> EmbeddedCarrier:
    """Return the carrier of a program that runs its listener itself: with a store in the state folder of its user."""
    from ...events.store.folder import default_folder  # noqa: PLC0415

    main = getattr(sys.modules.get("__main__"), "__file__", None)
    name = Path(main).stem if main else "python"
    return EmbeddedCarrier(EventSettings(str(default_folder(name, os.environ))))
