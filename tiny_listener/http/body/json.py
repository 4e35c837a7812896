"""JSON bodies that handlers ask for by type: decoded and validated before the handler runs.

Importing this module registers a planner for all handlers, see `injection.planners`.
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
"""Marks an argument as the body of the request: `points: Annotated[list[int], Body]`. Not needed for msgspec Structs
and dataclasses."""


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

        :raises HTTPError: 415, its content type is not JSON; 400, it is not JSON; 422, it does not match the type
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
                415, "the body must be JSON; content-type: application/json", {"accept": "application/json"}
            )
        return decode_json(self._decode, data)


def _not_decodable(argument: Argument, why: str) -> RouteError:
    return RouteError(f"{argument.where}: no JSON can be decoded for the argument {argument.name!r} ({why})")


def _find_unknown(root: msgspec.inspect.Type) -> Any:
    """Return a type within this one that msgspec cannot decode from JSON, or None.

    msgspec makes a decoder for such a type anyway, which rejects every input, because there is no `dec_hook`.
    """
    seen, todo = [root], [root]
    while todo:
        kind = todo.pop()
        if isinstance(kind, msgspec.inspect.CustomType):
            return kind.cls
        for part in _parts(kind):
            if all(part is not known for known in seen):  # a Struct may contain itself
                seen.append(part)
                todo.append(part)
    return None


def _parts(kind: Any) -> Iterator[msgspec.inspect.Type]:
    """Iterate over the types in the description of a type."""
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
