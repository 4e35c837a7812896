"""The exceptions of the event framework.

ListenerError
├── RouteError             a pattern, a handler or a convertor cannot be registered
├── EventNotFound          no registered pattern matches the text of an event (HTTP: 404)
├── EventAlreadyExists     a route with this name is already registered
├── CannotLoad             the application cannot be loaded, for a reason outside its code
│   └── WrongOptions       options conflict with each other, the application or the system
├── EventAlreadyDone       the operation is possible only while the event runs
├── ContextNotFound        no context has this id
├── ContextAlreadyExists   a context with this id already exists
├── DuplicateListener      a listener is already running in this thread
├── ListenerNotFound       no listener is running in this thread
├── PathParamsError        a handler requires a path parameter that its pattern does not have
├── EventDataError         a handler requires a data item that its event does not have
├── HandlerExit            a handler raised SystemExit or KeyboardInterrupt
├── NotStored              a published event is not known to be stored
│   └── EventsOverloaded   ... because too many events are waiting
├── EventTooLarge          a published event is larger than allowed
├── CarrierError           the store of published events cannot be used
├── RemoteError            the handler of a request failed for good, wherever it ran
└── WouldDeadlock          a request would wait for a key that its own chain holds
"""

__all__ = [
    "CannotLoad",
    "CarrierError",
    "ContextAlreadyExists",
    "ContextNotFound",
    "DuplicateListener",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventDataError",
    "EventNotFound",
    "EventTooLarge",
    "EventsOverloaded",
    "HandlerExit",
    "ListenerError",
    "ListenerNotFound",
    "NotStored",
    "PathParamsError",
    "RemoteError",
    "RouteError",
    "WouldDeadlock",
    "WrongOptions",
]


class ListenerError(Exception):
    """Base class of all exceptions of tiny-listener."""

    @property
    def is_rejection(self) -> bool:
        """Whether it says that the event asked for something wrong, and not that its handler failed: the outcome of the
        event is then `rejected`, otherwise `error`.
        """
        return False


class RouteError(ListenerError):
    """A pattern, a handler or a convertor cannot be registered. The message names it and its location."""


class EventNotFound(ListenerError):  # noqa: N818 - the public name since 1.0
    """No registered pattern matches the text of this event."""


class EventAlreadyExists(ListenerError):  # noqa: N818
    """A route with this name is already registered."""


class EventAlreadyDone(ListenerError):  # noqa: N818
    """The event is done; the operation is possible only before that."""


class ContextNotFound(ListenerError):  # noqa: N818
    """No existing context has this id."""


class ContextAlreadyExists(ListenerError):  # noqa: N818
    """A context with this id already exists."""


class DuplicateListener(ListenerError):  # noqa: N818
    """A listener is already running in this thread."""


class ListenerNotFound(ListenerError):  # noqa: N818
    """No listener is running in this thread."""


class PathParamsError(ListenerError):
    """A handler or a hook requires a path parameter that the event's pattern does not have."""


class EventDataError(ListenerError):
    """A handler or a hook requires a data item that the event was triggered without."""


class CannotLoad(ListenerError):  # noqa: N818
    """The application cannot be loaded or run, for a reason outside its code. The text is one line."""


class WrongOptions(CannotLoad):
    """Options conflict with each other, or do nothing for this application or on this system. Exit code 2."""


class HandlerExit(ListenerError):  # noqa: N818
    """A handler or a hook raised SystemExit (`sys.exit()`, argparse, click) or KeyboardInterrupt. Its event fails, but
    the process continues. The cause is the original exception.

    :param where: the handler and its location
    :param error: the original exception
    """

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(
            f"{where} raised {type(error).__name__}({error}), which fails the event but does not end the process; "
            "to stop the listener, await graceful_shutdown()"
        )


class NotStored(ListenerError):  # noqa: N818
    """A published event is not known to be stored: the carrier did not confirm it in time, or could not store it.

    To publish it again with the same `id` is safe.
    """


class EventsOverloaded(NotStored):
    """The carrier has as many waiting events as it may have, and none was settled in time."""


class EventTooLarge(ListenerError):  # noqa: N818
    """A published event is larger than allowed. The message tells both sizes."""


class CarrierError(CannotLoad):
    """The store of published events cannot be used: its folder, its disk, its schema, or another server that holds it.
    The message says which, and what would be right.
    """


class RemoteError(ListenerError):
    """The handler of a request failed for good, or the request was not handled in time.

    :param type: the name of the exception class, such as `ValueError`
    :param text: its text
    """

    def __init__(self, type: str, text: str) -> None:  # noqa: A002
        super().__init__(f"{type}: {text}" if text else type)
        self.type = type
        self.text = text


class WouldDeadlock(ListenerError):  # noqa: N818
    """A request would never have its answer: its key is held by an event that waits for this very request."""
