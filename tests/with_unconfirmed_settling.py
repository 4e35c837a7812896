"""Runs the command with a carrier that confirms, and starts the next event of a key, before it has stored that the one
before is settled: `python tests/with_unconfirmed_settling.py OPTIONS`. The oracle of events_chaos.py must see it.
"""

from __future__ import annotations

import sys
from typing import Any

from tiny_listener.cli.main import main
from tiny_listener.events.engine import Effects
from tiny_listener.events.service import EventService

DELAY = 0.3
"""Seconds by which the store is behind."""


class Hasty(EventService):
    """Sends first, and writes later."""

    def _write(self, effects: Effects) -> None:
        self._send(effects)
        self._later: list[Any] = getattr(self, "_later", [])
        if not self._later:
            self._loop.call_later(DELAY, self._catch_up)
        self._later += effects.ops

    def _catch_up(self) -> None:
        ops, self._later = self._later, []
        self.store.commit(ops)


if __name__ == "__main__":
    from tiny_listener.events import service

    service.EventService = Hasty  # type: ignore[misc]
    main(sys.argv[1:])
