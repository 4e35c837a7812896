"""Transactions of the store: in the loop, in a thread, or elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .store.ops import Op, Store, StoreFailed

if TYPE_CHECKING:
    from .engine import Effects
    from .remote import Remote

__all__ = ["Transactions"]

Ended = Callable[["Effects", "StoreFailed | None"], None]


class Transactions:
    """Writes effects, one transaction at a time.

    :param in_thread: whether in a thread, because the loop has other work too
    :param ended: called with effects, when they are written, or were not
    :ivar number: of the transactions since the start
    :ivar seconds: the time that they took
    """

    def __init__(self, ended: Ended, *, in_thread: bool) -> None:
        self._ended: Final = ended
        self._executor: Final = ThreadPoolExecutor(1, "tiny-listener-events") if in_thread else None
        self._writing: asyncio.Future[Any] | None = None
        self.number = 0
        self.seconds = 0.0

    def write(self, store: Store, effects: Effects) -> None:
        """Write effects. What ends them is called here already if there is no thread."""
        if self._executor is None:
            self._ended(effects, self._commit(store, effects.ops))
            return
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._executor, self._commit, store, effects.ops)
        writing.add_done_callback(lambda future: self._ended(effects, future.result()))

    def _commit(self, store: Store, ops: list[Op]) -> StoreFailed | None:
        started = time.perf_counter()
        try:
            store.commit(ops)
        except StoreFailed as exc:
            return exc
        finally:
            self._count(started)
        return None

    def _count(self, started: float) -> None:
        self.number += 1
        self.seconds += time.perf_counter() - started

    def write_elsewhere(self, remote: Remote, effects: Effects) -> None:
        """Write effects to a store that other servers share."""
        self._writing = asyncio.ensure_future(self._write_elsewhere(remote, effects))

    async def _write_elsewhere(self, remote: Remote, effects: Effects) -> None:
        started = time.perf_counter()
        await remote.write(effects.ops)
        self._count(started)
        self._ended(effects, None)

    @property
    def takes_time(self) -> bool:
        """Whether something else may arrive during a transaction."""
        return self._executor is not None or self._writing is not None

    async def read(self, work: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Read from the store, where its transactions run too."""
        if self._executor is None:
            found = work(*args, **options)
            return await found if isinstance(found, Awaitable) else found
        return await asyncio.get_running_loop().run_in_executor(self._executor, partial(work, *args, **options))

    def do_later(self, work: Callable[..., Any], *args: Any) -> None:
        """Do something with the store, where its transactions run too."""
        if self._executor is None:
            work(*args)
        else:
            self._executor.submit(work, *args)

    def close(self) -> None:
        """End the thread."""
        if self._writing is not None:
            self._writing.cancel()
        if self._executor is not None:
            self._executor.shutdown()
