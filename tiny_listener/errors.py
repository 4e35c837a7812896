"""The errors of the event framework, as a tree.

ListenerError
├── RouteError             a pattern, a handler or a convertor that cannot be registered
├── EventNotFound          no registered pattern matches the text of an event (HTTP: 404)
├── EventAlreadyExists     a second route of the same name
├── CannotLoad             an application that cannot be loaded, by no fault of its code
│   └── WrongOptions       options that contradict each other, the application or the system
├── EventAlreadyDone       a step that is only possible while an event runs
├── ContextNotFound        no context has this id
├── ContextAlreadyExists   a second context with the same id
├── DuplicateListener      a second listener that runs in the same thread
├── ListenerNotFound       no listener runs in this thread
├── PathParamsError        a handler asks for a path parameter that its pattern lacks
├── EventDataError         a handler asks for a data item that its event lacks
└── HandlerExit            a handler raised SystemExit or KeyboardInterrupt
"""

__all__ = [
    "CannotLoad",
    "ContextAlreadyExists",
    "ContextNotFound",
    "DuplicateListener",
    "EventAlreadyDone",
    "EventAlreadyExists",
    "EventDataError",
    "EventNotFound",
    "HandlerExit",
    "ListenerError",
    "ListenerNotFound",
    "PathParamsError",
    "RouteError",
    "WrongOptions",
]


class ListenerError(Exception):
    """The root of all errors that tiny-listener raises on its own account."""


class RouteError(ListenerError):
    """A pattern, a handler or a convertor cannot be registered; the message names it and the place."""


class EventNotFound(ListenerError):  # noqa: N818 - the public name since 1.0
    """No registered pattern matches the text of this event."""


class EventAlreadyExists(ListenerError):  # noqa: N818
    """A route of this name is registered already."""


class EventAlreadyDone(ListenerError):  # noqa: N818
    """The event is done; what was asked is possible only before that."""


class ContextNotFound(ListenerError):  # noqa: N818
    """No living context has this id."""


class ContextAlreadyExists(ListenerError):  # noqa: N818
    """A living context has this id already."""


class DuplicateListener(ListenerError):  # noqa: N818
    """A listener runs in this thread already."""


class ListenerNotFound(ListenerError):  # noqa: N818
    """No listener runs in this thread."""


class PathParamsError(ListenerError):
    """A handler or a hook asks for a path parameter that the pattern of the event lacks."""


class EventDataError(ListenerError):
    """A handler or a hook asks for a data item that the event was triggered without."""


class CannotLoad(ListenerError):  # noqa: N818
    """The application cannot be loaded or run, and no code of its own is to blame; the text is one line."""


class WrongOptions(CannotLoad):
    """Options that contradict each other, or that the application or the system has no use for; exit code 2."""


class HandlerExit(ListenerError):  # noqa: N818
    """A handler or a hook raised SystemExit (`sys.exit()`, argparse, click) or KeyboardInterrupt: its event fails, the
    process goes on. The cause is the exception that was raised.

    :param where: the handler and where it stands
    :param error: what was raised
    """

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(
            f"{where} raised {type(error).__name__}({error}), which ends its event and not the process; "
            "to stop the listener, await graceful_shutdown()"
        )
