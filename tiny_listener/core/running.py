"""Which listener runs in which thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..errors import DuplicateListener, ListenerNotFound

if TYPE_CHECKING:
    from .listener import Listener

__all__ = ["begin_to_run", "get_current_running_listener", "is_main_thread", "run_no_more"]

_running: dict[int, Listener[Any]] = {}


def begin_to_run(listener: Listener[Any]) -> None:
    """A listener runs in this thread from now on.

    :raises DuplicateListener: one does already
    """
    ident = threading.get_ident()
    if ident in _running:
        raise DuplicateListener(f"Only one listener can run in a thread; {_running[ident]!r} runs here")
    _running[ident] = listener


def run_no_more() -> None:
    """The listener of this thread has ended."""
    del _running[threading.get_ident()]


def get_current_running_listener() -> Listener[Any]:
    """Return the listener that runs in this thread.

    :raises ListenerNotFound: none does
    """
    try:
        return _running[threading.get_ident()]
    except KeyError:
        raise ListenerNotFound("No listener runs in this thread: call this from a handler, or from listen()") from None


def is_main_thread() -> bool:
    """Whether this is the main thread, where signals can be handled."""
    return threading.current_thread() is threading.main_thread()
