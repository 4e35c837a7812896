"""Bodies of JSON that handlers ask for by type: decoded, and checked, before the handler runs.

Importing this module lets the plans of all handlers know them, see `hook.planners`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ...core.codegen import AsyncResolver
from ...core.injection import Argument, classes_of, planners
from ...errors import EventDataError, RouteError
from ..errors import HTTPError
from ..request import Request, decode_json

__all__ = ["Body"]


class _BodyMarker:
    __slots__ = ()

    def __repr__(self) -> str:
        return "Body"


Body: Final = _BodyMarker()
"""Says that an argument is the request's body: `points: Annotated[list[int], Body]`. msgspec Structs and dataclasses
need it not."""


class _TypedBody(AsyncResolver):
    """Decodes the body of the request for one argument."""

    __slots__ = ("_argument", "_decode", "_is_marked")

    def __init__(self, argument: Argument, *, is_marked: bool) -> None:
        self._argument = argument
        self._is_marked = is_marked
        try:
            self._decode = msgspec.json.Decoder(argument.annotation).decode
        except Exception as exc:
            raise _not_decodable(argument, f"{type(exc).__name__}: {exc}") from exc
        if (unknown := _find_unknown(msgspec.inspect.type_info(argument.annotation))) is not None:
            name = getattr(unknown, "__name__", unknown)
            raise _not_decodable(argument, f"JSON has no {name}: make it a msgspec.Struct or a dataclass")

    async def __call__(self, event: Any) -> Any:
        """See `AsyncResolver`.

        :raises HTTPError: 415, the body is not said to be JSON; 400, it is not; 422, it does not fit the type
        """
        argument = self._argument
        request = event.data.get("request")
        if not isinstance(request, Request):
            if self._is_marked:
                raise EventDataError(f"The event {event.route.path!r} came from no HTTP request, so it has no body")
            return argument.value
        data = await request.body()
        if not data and argument.has_default:
            return argument.value
        if not _is_json(request.headers.get("content-type", "")):
            raise HTTPError(
                415, "the body is to be JSON; content-type: application/json", {"accept": "application/json"}
            )
        return decode_json(self._decode, data)


def _not_decodable(argument: Argument, why: str) -> RouteError:
    return RouteError(f"{argument.where}: no JSON can be decoded for the argument {argument.name!r} ({why})")


def _find_unknown(root: msgspec.inspect.Type) -> Any:
    """Return a type within this one that msgspec has no JSON for, or None.

    It makes a decoder for such a type all the same, which refuses whatever comes: `dec_hook` is not there.
    """
    seen, todo = [root], [root]
    while todo:
        kind = todo.pop()
        if isinstance(kind, msgspec.inspect.CustomType):
            return kind.cls
        for part in _parts(kind):
            if all(part is not known for known in seen):  # a Struct may hold itself
                seen.append(part)
                todo.append(part)
    return None


def _parts(kind: Any) -> Iterator[msgspec.inspect.Type]:
    """Iterate over the types that the description of a type names."""
    for name in kind.__struct_fields__:
        value = getattr(kind, name)
        for one in value if isinstance(value, tuple) else (value,):
            inner = one.type if isinstance(one, msgspec.inspect.Field) else one
            if isinstance(inner, msgspec.inspect.Type):
                yield inner


def _is_json(content_type: str) -> bool:
    """Whether a media type is JSON (RFC 8259 section 11, RFC 6839 section 3.1), whatever its parameters."""
    kind = content_type.partition(";")[0].strip(" \t").lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _plan(argument: Argument) -> AsyncResolver | None:
    is_marked = any(extra is Body for extra in argument.extras)
    if is_marked or any(
        issubclass(kind, msgspec.Struct) or dataclasses.is_dataclass(kind) for kind in classes_of(argument.annotation)
    ):
        return _TypedBody(argument, is_marked=is_marked)
    return None


planners.append(_plan)
