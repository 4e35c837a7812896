"""tiny-listener: an event server. One router, one hook system and one set of metrics for events from any source."""

from importlib.metadata import PackageNotFoundError, version

from .context import Context, Scope
from .dispatch import EventTask
from .errors import (
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    HandlerExit,
    ListenerError,
    ListenerNotFound,
    PathParamsError,
    RouteError,
)
from .event import Event
from .hook import Data, Depends, Hook, Param, check_coro_func, depend
from .importing import import_from_string
from .listener import Listener, get_current_running_listener, is_main_thread
from .loop import new_event_loop
from .route import Route
from .router import Convertor, compile_path, register_convertor

try:
    __version__ = version("tiny-listener")
except PackageNotFoundError:  # pragma: no cover - run from a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
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
    "EventNotFound",
    "EventTask",
    "HandlerExit",
    "Hook",
    "Listener",
    "ListenerError",
    "ListenerNotFound",
    "Param",
    "PathParamsError",
    "Route",
    "RouteError",
    "Scope",
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
