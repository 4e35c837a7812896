"""All private names of asyncio that this project uses. If a new Python breaks them, one module fails and says what is
missing.

`_enter_task` and `_leave_task` run a step of a coroutine as another task (`asyncio.current_task()`), outside of that
task's own step. They are documented for authors of third-party task implementations (Extending asyncio, "Task lifetime
support"), as `asyncio.tasks._enter_task`. So is `_unregister_task`, which removes a task from `all_tasks()`. CPython
3.11 to 3.14 have them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

try:
    from asyncio import _set_running_loop as set_running_loop
    from asyncio.tasks import _enter_task as enter_task
    from asyncio.tasks import _leave_task as leave_task
    from asyncio.tasks import _unregister_task as unregister_task
except ImportError as exc:  # pragma: no cover - not a supported Python
    raise ImportError(
        f"asyncio of Python {sys.version.split()[0]} has changed ({exc}): "
        "tiny-listener needs it to run the first step of a handler as a waiting task; "
        "use Python 3.11 to 3.14, or a newer tiny-listener"
    ) from exc

__all__ = ["enter_task", "leave_task", "release", "set_running_loop", "unregister_task"]


def release(awaited: Any) -> None:
    """Cancel what a coroutine awaits, as its task does when it is cancelled while it waits.

    :param awaited: what the coroutine yielded; anything but a future is ignored
    """
    if asyncio.isfuture(awaited):
        # This flag means "yielded by await"; a task resets it when it starts waiting for the future.
        awaited._asyncio_future_blocking = False  # noqa: SLF001
        awaited.cancel()
