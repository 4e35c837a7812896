"""tiny-listener: an event server. One router, one hook system and one set of metrics for events from any source."""

from importlib.metadata import PackageNotFoundError, version

from .core.context import Context, Scope
from .core.dispatch import EventTask
from .core.event import Event
from .core.injection import Data, Depends, Hook, Param, check_coro_func, depend
from .core.listener import Listener
from .core.publishing import Publication
from .core.registration import EventGroup, NamedEvent, Route
from .core.runtime import get_current_running_listener, is_main_thread
from .core.source import Source
from .errors import (
    CarrierError,
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    EventsOverloaded,
    EventTooLarge,
    HandlerExit,
    ListenerError,
    ListenerNotFound,
    NotStored,
    PathParamsError,
    RemoteError,
    RouteError,
    WouldDeadlock,
)
from .events.policy import Reject, Retry, RetryLater
from .net.loop import new_event_loop
from .process.importing import import_from_string
from .router import Convertor, compile_path, register_convertor

try:
    __version__ = version("tiny-listener")
except PackageNotFoundError:  # pragma: no cover - run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "CarrierError",
    "Context",
    "ContextAlreadyExists",
    "ContextNotFound",
    "Convertor",
    "Data",
    "Depends",
    "DuplicateListener",
    "Event",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventDataError",
    "EventGroup",
    "EventNotFound",
    "EventTask",
    "EventTooLarge",
    "EventsOverloaded",
    "HandlerExit",
    "Hook",
    "Listener",
    "ListenerError",
    "ListenerNotFound",
    "NamedEvent",
    "NotStored",
    "Param",
    "PathParamsError",
    "Publication",
    "Reject",
    "RemoteError",
    "Retry",
    "RetryLater",
    "Route",
    "RouteError",
    "Scope",
    "Source",
    "WouldDeadlock",
    "__version__",
    "check_coro_func",
    "compile_path",
    "depend",
    "get_current_running_listener",
    "import_from_string",
    "is_main_thread",
    "new_event_loop",
    "register_convertor",
]
