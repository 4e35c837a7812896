"""The body of a request as an argument: decoded and checked before the handler runs.

JSON is decoded by msgspec, or by pydantic for its models if the application has imported it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import msgspec

from ...core.injection.conversion import value_convertor
from ...core.injection.event_values import hint_of_item
from ...core.injection.markers import Argument, Marker, planners
from ...core.injection.planner import classes_of, is_payload
from ...core.injection.resolvers import Phase, Problem, Resolver, Unfit, fresh
from ...errors import RouteError
from ..request import Request

__all__ = ["Body", "BodyResolver"]

AT = re.compile(r"(.*?)(?: - at `(.*)`)?\Z", re.DOTALL)
"""A message of msgspec, and where in the value."""
NESTED = "the body is nested too deeply"


class BodyResolver(Resolver):
    """The body of the request, decoded; for an event that came from no request all of its data.

    :param argument: the argument
    """

    __slots__ = ("_argument", "_decode", "_payload", "annotation", "default", "has_default")
    phase = Phase.BODY
    waits = True
    may_fail = True
    is_whole_body: ClassVar[bool] = True

    def __init__(self, argument: Argument) -> None:
        self._argument = argument
        self.annotation = argument.annotation
        self.default = argument.default
        self.has_default = argument.has_default
        if has_models(argument.annotation):
            self._decode, self._payload = _pydantic(argument.annotation)
        else:
            self._decode, self._payload = _msgspec(argument), value_convertor(argument.annotation)

    async def __call__(self, event: Any) -> Any:
        """See `Resolver`.

        :raises Unfit: with 415, its content type is not JSON; 400, it is not JSON; 422, it does not match the type
        :raises BodyTooLargeError: it is longer than the route allows
        """
        request = event.data.get("request")
        if not isinstance(request, Request):
            payload = event.payload
            if not payload and self.has_default:
                return fresh(self.default)
            try:
                return self._payload(payload)
            except ValueError as exc:
                hint = hint_of_item(event.data, self._argument.kind)
                raise Unfit([Problem("data", "", "", f"{exc}{hint}")]) from None
        data = await request.body()
        if not data and self.has_default:
            return fresh(self.default)
        if not _is_json(request.headers.get("content-type", "")):
            message = "the body must be JSON; content-type: application/json"
            raise Unfit([Problem("body", "", "", message, 415)])
        try:
            return self._decode(data)
        except RecursionError:
            raise Unfit([Problem("body", "", "", NESTED, 400)]) from None


def _msgspec(argument: Argument) -> Callable[[bytes], Any]:
    try:
        decode = msgspec.json.Decoder(argument.annotation).decode
    except Exception as exc:
        raise _not_decodable(argument, f"{type(exc).__name__}: {exc}") from exc
    if (unknown := _find_unknown(msgspec.inspect.type_info(argument.annotation))) is not None:
        name = getattr(unknown, "__name__", unknown)
        raise _not_decodable(argument, f"JSON has no {name}: make it a msgspec.Struct or a dataclass")

    def checked(data: bytes) -> Any:
        try:
            return decode(data)
        except msgspec.ValidationError as exc:
            found = AT.match(" ".join(str(exc).split()))
            assert found is not None
            raise Unfit([Problem("body", "", found[2] or "", found[1])]) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise Unfit([Problem("body", "", "", f"the body is not JSON: {exc}", 400)]) from None

    return checked


def has_models(annotation: Any) -> bool:
    """Whether a type has a model of pydantic in it. Without pydantic nothing has."""
    pydantic = sys.modules.get("pydantic")
    if pydantic is None:
        return False
    if any(has_models(part) for part in get_args(annotation)):
        return True
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _pydantic(annotation: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    import pydantic  # noqa: PLC0415 - an optional dependency

    adapter = pydantic.TypeAdapter(annotation)

    def decode(data: bytes) -> Any:
        try:
            return adapter.validate_json(data)
        except pydantic.ValidationError as exc:
            raise Unfit([_problem(error) for error in exc.errors(include_url=False, include_input=False)]) from None

    def check(data: Any) -> Any:
        try:
            return adapter.validate_python(data)
        except pydantic.ValidationError as exc:
            problems = [_problem(error) for error in exc.errors(include_url=False, include_input=False)]
            raise ValueError("; ".join(f"{one.message} at {one.path}" for one in problems)) from None

    return decode, check


def _problem(error: Any) -> Problem:
    is_json = error["type"] != "json_invalid"
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    return Problem("body", "", f"${path}" if path else "", error["msg"], 422 if is_json else 400)


def _not_decodable(argument: Argument, why: str) -> RouteError:
    return argument.wrong(f"cannot be decoded from JSON ({why})")


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
    if content_type == "application/json":  # PERF: the common case
        return True
    kind = content_type.partition(";")[0].strip(" \t").lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


if TYPE_CHECKING:

    def Body(*, default: Any = ...) -> Any:  # noqa: N802
        """Take an argument from the whole body: `points: Annotated[list[int], Body]`.

        Not needed for Structs, dataclasses, TypedDicts and pydantic's models.
        """

else:

    class Body(Marker):
        """Take an argument from the whole body: `points: Annotated[list[int], Body]`.

        Not needed for Structs, dataclasses, TypedDicts and pydantic's models.
        """

        __slots__ = ()
        of_request: ClassVar[bool] = True

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            if self.name is not None:
                raise argument.wrong(f"is Body({self.name!r}), but it is the whole body, which has no name: write Body")
            return _OfRequest(argument)


class _OfRequest(BodyResolver):
    """A body that only requests have."""

    __slots__ = ()

    @property
    def of_requests(self) -> bool:
        """See `Resolver`."""
        return True


def _plan(argument: Argument) -> Resolver | None:
    if is_payload(argument.kind):
        return BodyResolver(argument)
    kinds = [kind for kind in classes_of(argument.kind) if kind is not type(None)]
    if kinds and all(has_models(kind) for kind in kinds):
        return BodyResolver(argument)
    return None


planners.insert(0, _plan)
