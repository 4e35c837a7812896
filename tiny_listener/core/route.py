"""A route: a pattern, its handler, and the handler's injection plan."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..errors import RouteError
from ..router import Convertor, Pattern, compile_path, parse_pattern
from .injection import Hook, check_coro_func, plan
from .observer import NULL_OBSERVER
from .signatures import function_name, is_async_gen_func, where

if TYPE_CHECKING:
    import re

    from .aliases import Call, CoroFunc, PathParams
    from .observer import RouteObserver

__all__ = ["Route"]


class Route:
    """A pattern and its handler.

    :param path: the pattern, such as `"GET:/user/{username}"`
    :param fn: the handler, `async def`; for an async generator function the iterator becomes the result, a stream
    :param opts: options of the application, stored as `opts`
    :param name: the name of the route; by default that of the handler
    :raises RouteError: the pattern is malformed, or an argument of the handler cannot be injected
    :raises PathParamsError: the handler uses a path parameter that the pattern does not have
    :raises TypeError: the handler is not `async def`
    """

    __slots__ = ("_regex", "call", "fn", "hook", "is_http", "name", "observer", "opts", "path", "pattern")

    def __init__(self, path: str, fn: CoroFunc, opts: dict[str, Any] | None = None, name: str | None = None) -> None:
        self.path: Final = path
        self.fn: Final = fn
        self.opts: Final[dict[str, Any]] = {} if opts is None else opts
        self.name: Final = name or function_name(fn)
        self.pattern: Final = self._parse()
        self._regex: re.Pattern[str] | None = None
        self.is_http = False
        """Whether the route is known to match HTTP requests; see `http.routing.is_http`."""
        self.observer: RouteObserver = NULL_OBSERVER.route_added(self)
        self.hook: Final = _AsyncGenHook(fn, self.convertors) if is_async_gen_func(fn) else Hook(fn, self.convertors)
        self.call: Call = self.hook.call

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


class _AsyncGenHook(Hook):
    """An async generator handler. Its iterator is the event's result."""

    __slots__ = ()

    def __init__(self, fn: Callable[..., Any], params: Mapping[str, Convertor]) -> None:
        async def stream(event: Any) -> Any:
            result = call(event)
            return await result if inspect.isawaitable(result) else result

        call = plan(fn, params)
        super().__init__(check_coro_func(stream), None)
        self.call = stream
        self.fn = fn  # type: ignore[misc]
        self.name = function_name(fn)  # type: ignore[misc]
