"""Runs a listener in the current thread until it stops or a signal stops it; `Host` describes the process around it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import DuplicateListener, ListenerError, ListenerNotFound
from ..net.loop import ServerLoop
from ..process.after_fork import forget_server, remember_server
from ..process.last_resort import on_forced_exit
from ..process.run_loop import close_loop, run_main
from .lifecycle import State
from .observer import NULL_OBSERVER, Observer

if TYPE_CHECKING:
    from ..net.provider import SocketProvider
    from ..process.last_resort import LastResort
    from .listener import Listener
    from .publishing.provider import CarrierProvider

__all__ = ["Host", "StopSignals", "get_current_running_listener", "is_main_thread", "run_listener"]

_running: dict[int, Listener[Any]] = {}


@dataclass(slots=True)
class Host:
    """What the process provides to a listener: sockets, callbacks and limits."""

    observer: Observer = NULL_OBSERVER
    sockets: SocketProvider | None = None
    on_ready: Callable[[], None] = field(default=lambda: None)
    """Called once, when the listener is ready to take events."""
    signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM)
    """Signals that begin a graceful shutdown; a second one ends it at once."""
    graceful_timeout: float = 30.0
    """Seconds that events in flight may take once the drain has begun."""
    drain_delay: float = 0.0
    """Seconds from the beginning of a shutdown until nothing new is accepted."""
    slot: int = 0
    """The stable number of this worker: 0 to N - 1."""
    last_resort: LastResort | None = None
    """Ends the process if a stop takes too long; None if `run()` must return to the application."""
    carrier: CarrierProvider | None = None
    """The way to the carrier of published events; None: there is none."""


def run_listener(listener: Listener[Any]) -> None:
    """Run a listener in this thread; see `Listener.run`."""
    ident = threading.get_ident()
    if ident in _running:
        raise DuplicateListener(f"Only one listener can run in a thread; {_running[ident]!r} runs here")
    _running[ident] = listener
    loop = server = take_back = None
    try:
        loop = listener.setup_event_loop()
        _share_sockets(loop, listener)
        asyncio.set_event_loop(loop)
        take_back = on_forced_exit(getattr(loop, "remove_files", lambda: None))
        server = remember_server(loop, lambda: getattr(loop, "addresses", ()))
        listener.install_signal_handlers()
        run_main(loop, listener.main(), partial(_leave, listener))
    finally:
        if loop is not None:
            close_loop(loop, listener.lifecycle.time_left(loop.time()))
        if server is not None:
            forget_server(server)
        if take_back is not None:
            take_back()
        del _running[ident]


def _leave(listener: Listener[Any], exit_code: int) -> None:
    """Begin a shutdown after the application ended the loop. The loop runs again to finish what is in flight."""
    if listener.host.last_resort is not None:
        listener.host.last_resort.exit_code = exit_code
    listener.lifecycle.begin_stop(listener.host)


def _share_sockets(loop: asyncio.AbstractEventLoop, listener: Listener[Any]) -> None:
    """Make the loop get its listening sockets from the supervisor, if there is one."""
    if listener.host.sockets is None:
        return
    if not isinstance(loop, ServerLoop):
        raise ListenerError(
            f"{type(listener).__name__}.setup_event_loop() returned a {type(loop).__qualname__}, which would bind "
            "separate sockets in each worker: return super().setup_event_loop(), or "
            "tiny_listener.new_event_loop(), to run more than one worker"
        )
    loop.socket_provider = listener.host.sockets


class StopSignals:
    """Begins the graceful shutdown of a listener on a signal; a second signal ends it at once."""

    def __init__(self, listener: Listener[Any]) -> None:
        self._listener = listener
        self._was_signalled = False
        self._stopping: asyncio.Future[None] | None = None  # the loop keeps only weak references to tasks

    def install(self) -> None:
        """Handle the signals of the listener's host. Does nothing outside the main thread."""
        if not is_main_thread():
            return
        loop, host = asyncio.get_event_loop(), self._listener.host
        if host.last_resort is not None:
            host.last_resort.catch(host.signals)
            host.last_resort.hand_to(loop, self._on_signal)
            return
        for sig in host.signals:
            loop.add_signal_handler(sig, self._on_signal, sig)

    def _on_signal(self, sig: signal.Signals, at_once: bool | None = None) -> None:
        """Handle a signal. `at_once` comes from the last resort, which counts signals; otherwise count them here."""
        hurry = self._was_signalled if at_once is None else at_once
        self._was_signalled = True
        self._stopping = asyncio.ensure_future(self._stop(sig, hurry=hurry))

    async def _stop(self, sig: signal.Signals, *, hurry: bool) -> None:
        life = self._listener.lifecycle
        if life.state is State.STARTING:
            life.begin_stop(self._listener.host, cut=True)
        elif hurry or not life.is_stopping:
            await self._listener.graceful_shutdown(sig)


def get_current_running_listener() -> Listener[Any]:
    """Return the listener that runs in this thread.

    :raises ListenerNotFound: no listener runs in this thread
    """
    try:
        return _running[threading.get_ident()]
    except KeyError:
        raise ListenerNotFound("No listener runs in this thread: call this from a handler, or from listen()") from None


def is_main_thread() -> bool:
    """Whether this is the main thread, where signals can be handled."""
    return threading.current_thread() is threading.main_thread()
