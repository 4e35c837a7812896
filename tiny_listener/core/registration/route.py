"""A route: a pattern, its handler, the handler's injection plan, and the hooks that concern it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...errors import RouteError
from ...router import Convertor, Pattern, compile_path, parse_pattern
from ..injection import Dependency, HandlerHook, Hook, Place, request_patterns
from ..injection.signatures import function_name, where
from ..observer import NULL_OBSERVER

if TYPE_CHECKING:
    import re

    from ..aliases import Call, CoroFunc, PathParams
    from ..hooks import Hooks
    from ..observer import RouteObserver

__all__ = ["Route"]


class Route:
    """A pattern and its handler.

    :param path: the pattern, such as `"GET:/user/{username}"`
    :param fn: the handler, `async def`; for an async generator function the iterator becomes the result, a stream
    :param opts: options, stored as `opts`
    :param name: the name of the route; by default that of the handler
    :param is_http: whether requests may match it though its pattern begins with an unknown method
    :param scopes: the hooks that concern it: those of the listener, of its group, of the group within
    :param dependencies: run before the handler
    :raises RouteError: the pattern is malformed, or an argument of the handler cannot be injected
    :raises PathParamsError: the handler uses a path parameter that the pattern does not have
    :raises TypeError: the handler is not `async def`
    """

    __slots__ = (
        "_regex",
        "after",
        "before",
        "call",
        "fn",
        "has_exits",
        "hook",
        "is_http",
        "is_plain",
        "label",
        "name",
        "observer",
        "on_error",
        "opts",
        "path",
        "pattern",
        "scopes",
        "timeout",
    )

    def __init__(
        self,
        path: str,
        fn: CoroFunc,
        opts: dict[str, Any] | None = None,
        name: str | None = None,
        *,
        is_http: bool = False,
        scopes: Sequence[Hooks] = (),
        dependencies: Sequence[Dependency] = (),
    ) -> None:
        self.path: Final = path
        self.label = path
        """Its name in metrics: the pattern, for a subscriber with its own name."""
        self.fn: Final = fn
        self.opts: Final[dict[str, Any]] = {} if opts is None else opts
        self.name: Final = name or function_name(fn)
        self.pattern: Final = self._parse()
        self._regex: re.Pattern[str] | None = None
        self.is_http = is_http or any(is_one(path) for is_one in request_patterns)
        """Whether the route is known to match HTTP requests; see `http.routing.is_http`."""
        self.observer: RouteObserver = NULL_OBSERVER.route_added(self)
        self.hook: Final = HandlerHook(
            fn, place=Place(self.convertors, is_http=self.is_http), dependencies=dependencies
        )
        self.call: Call = self.hook.call
        self.timeout: float | None = self.opts.get("timeout")
        """Seconds that the handler may take; None: no limit."""
        self.scopes: Final = tuple(scopes)
        self.before: tuple[Hook, ...] = ()
        """The hooks to run before the handler: those of the listener first."""
        self.after: tuple[Hook, ...] = ()
        """The hooks to run after it: those of the innermost group first."""
        self.on_error: tuple[tuple[type[BaseException], Hook], ...] = ()
        """The error handlers, those of the innermost group first."""
        self.has_exits = False
        """Whether an event may leave dependencies to clean up."""
        self.is_plain = True
        """Whether an event is the call of the handler and nothing else."""
        self.plan_hooks()

    def plan_hooks(self, *, may_exit: bool = False) -> None:
        """Take the hooks of its scopes that concern it.

        :param may_exit: whether any of its dependencies may be replaced by one with a cleanup
        """
        self.before = tuple(hook for scope in self.scopes for hook in scope.before if self._is_for_us(hook))
        self.after = tuple(hook for scope in self.scopes[::-1] for hook in scope.after if self._is_for_us(hook))
        self.on_error = tuple(
            pair for scope in self.scopes[::-1] for pair in scope.on_error if self._is_for_us(pair[1])
        )
        hooks = (*self.before, *self.after, *(hook for _, hook in self.on_error))
        self.has_exits = may_exit or self.hook.has_exits or any(hook.has_exits for hook in hooks)
        is_watched = any(scope.watchers for scope in self.scopes)
        self.is_plain = not (hooks or is_watched or self.has_exits or self.timeout is not None)

    def _is_for_us(self, hook: Hook) -> bool:
        """Whether a hook may concern events of this route: not if it asks for what only requests have."""
        return self.is_http or not hook.of_requests

    @property
    def where(self) -> str:
        """The handler and its place in the source, such as `hello (http_web.py:12)`."""
        return where(self.fn) if callable(self.fn) else repr(self.fn)

    @property
    def convertors(self) -> Mapping[str, Convertor]:
        """The convertors of the pattern's parameters by name, in order."""
        return self.pattern.convertors

    @property
    def path_regex(self) -> re.Pattern[str]:
        """A regular expression equivalent to the pattern."""
        if self._regex is None:
            self._regex = compile_path(self.path)[0]
        return self._regex

    def match(self, path: str) -> PathParams | None:
        """Return the converted parameters if the pattern matches all of `path`, else None."""
        found = self.path_regex.match(path)
        if found is None:
            return None
        try:
            return {name: self.convertors[name].convert(text) for name, text in found.groupdict().items()}
        except ValueError:  # an application's convertor rejects the text
            return None

    def _parse(self) -> Pattern:
        try:
            return parse_pattern(self.path)
        except RouteError as exc:
            raise RouteError(f"{self.where}: {exc}") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(path={self.path!r}, name={self.name!r}, opts={self.opts!r})"
