"""The hooks that see each response before it is sent: `on_response` and `on_status`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

from ...core.injection import check_coro_func
from ..request import Request
from ..response import DeferredResponse, Response, as_response

__all__ = ["NO_HOOKS", "OnResponse", "OnStatus", "ResponseHooks"]

OnResponse: TypeAlias = "Callable[[Request | None, Response], Coroutine[Any, Any, Response | None]]"
OnStatus: TypeAlias = "Callable[..., Coroutine[Any, Any, Any]]"


class _StatusHook(NamedTuple):
    """An `on_status` hook.

    :ivar takes_response: whether it takes the response too
    """

    statuses: tuple[int, ...]
    fn: OnStatus
    takes_response: bool


class ResponseHooks:
    """The response hooks of a listener, in the order of registration."""

    __slots__ = ("_on_response", "_on_status", "present")

    def __init__(self) -> None:
        self._on_response: list[OnResponse] = []
        self._on_status: list[_StatusHook] = []
        self.present = False
        """Whether there is any hook."""

    def add_on_response(self, fn: OnResponse) -> None:
        """Run a hook for each response.

        :raises TypeError: it is not `async def`, or takes other arguments than the request and the response
        """
        check_coro_func(fn)
        if not _takes(fn, 2):
            raise TypeError(f"{_name(fn)} must take a request and a response: async def hook(request, response)")
        self._on_response.append(fn)
        self.present = True

    def add_on_status(self, statuses: tuple[int, ...], fn: OnStatus) -> None:
        """Let a hook make the bodies of responses with one of these statuses.

        :raises TypeError: it is not `async def`, or takes other arguments than the request, and perhaps the response
        """
        check_coro_func(fn)
        takes_response = _takes(fn, 2)
        if not takes_response and not _takes(fn, 1):
            raise TypeError(f"{_name(fn)} must take a request, and may take a response: async def page(request)")
        self._on_status.append(_StatusHook(statuses, fn, takes_response))
        self.present = True

    async def run(self, response: Response, request: Request | None, method: str, *, is_own: bool) -> Response:
        """Return what the hooks make of a response. It is copied first, because a handler may return one object for
        several requests.

        :param response: is prepared
        :param request: None if no head could be parsed; then `method` is GET or HEAD
        :param is_own: whether the server or an `HTTPError` made it
        :raises TypeError: a hook returned something else
        :raises BaseException: raised by a hook
        """
        response = response.copy()
        if is_own:
            for statuses, fn, takes_response in self._on_status:
                if response.status in statuses:
                    value = await (fn(request, response) if takes_response else fn(request))
                    if value is not None and value is not response:
                        response = await _with_body(response, value, method)
        for hook in self._on_response:
            returned = await hook(request, response)
            if returned is not None:
                if not isinstance(returned, Response):
                    raise TypeError(
                        f"{_name(hook)} returned {type(returned).__name__}: an on_response hook returns a Response, "
                        "or None for the one that it was given"
                    )
                response = await _ready(returned, request, method)
        return response


async def _with_body(response: Response, value: Any, method: str) -> Response:
    """Return the response for the value of an `on_status` hook: its status stays that of `response`, unless it is a
    `Response` with another than 200; fields of `response` that it does not have itself stay, such as Allow.
    """
    # RFC 9110 section 13.2.1: conditions and ranges are about a 200. A request without them prepares the page.
    made = (await _ready(as_response(value), None, method)).copy()
    if made.status == 200:
        made.status = response.status
    names = {name.lower() for name, _ in made.fields} | {b"content-type"}
    made.fields += [field for field in response.fields if field[0].lower() not in names]
    return made


async def _ready(response: Response, request: Request | None, method: str) -> Response:
    """Return a response that may be sent, prepared if it has to be."""
    if not isinstance(response, DeferredResponse):
        return response
    if request is None:
        request = Request()
        request.method, request.target, request.version, request.fields = method, "", 1, []
    return await response.prepare(request)


def _takes(fn: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with this number of arguments."""
    try:
        inspect.signature(fn).bind(*range(count))
    except TypeError:
        return False
    return True


def _name(fn: Callable[..., Any]) -> str:
    return f"{getattr(fn, '__qualname__', repr(fn))}()"


NO_HOOKS = ResponseHooks()
"""Those of a listener that knows none."""
