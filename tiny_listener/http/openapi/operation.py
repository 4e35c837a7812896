"""One operation: the parameters, the body and the responses of a route for requests."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin

import msgspec

from ...cloudevents import CloudEvent
from ...core.injection.codegen import Filled
from ...core.injection.conversion import without_none
from ...core.injection.dependencies import DependencyResolver
from ...core.injection.resolvers import ItemResolver
from ...core.injection.signatures import EMPTY, is_async_gen_func, resolve_annotation
from ...router.pattern import Param
from ..injection.bodies import BodyResolver
from ..injection.invalid import TITLES
from ..response import Response
from .schemas import Schema, Schemas, has_json

if TYPE_CHECKING:
    from ...core.registration import Route

__all__ = ["Operation"]

PLACES = ("query", "header", "cookie")
TEXT = "text/plain"
PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "name", "path", "message"],
                "properties": {name: {"type": "string"} for name in ("in", "name", "path", "message")},
            },
        },
    },
}
"""What `InvalidRequest` answers (RFC 9457)."""
OF_CONVERTORS: dict[Any, Schema] = {
    "int": {"type": "integer", "minimum": 0},
    "float": {"type": "number", "minimum": 0},
    "uuid": {"type": "string", "format": "uuid"},
}


class _Answer(NamedTuple):
    """A kind of response that a handler returns: its media type, None without a body, and its type."""

    status: int
    media: str | None
    annotation: Any = EMPTY
    is_vague: bool = False
    """Whether the annotation says no more than that there is a response."""


class Operation:
    """Describes a route.

    :param route: of requests
    :param schemas: gets the types that the description needs; call `describe` when they are resolved
    """

    def __init__(self, route: Route, schemas: Schemas) -> None:
        self._route = route
        self._schemas = schemas
        self._items: dict[tuple[str, str], ItemResolver] = {}
        self._body: BodyResolver | None = None
        for filled in route.hook.fill():
            self._note(filled)
        self._answers = list(_answers(route.fn))
        for item in self._items.values():
            schemas.want(without_none(item.annotation))
        if self._body is not None:
            schemas.want(self._body.annotation)
        for answer in self._answers:
            schemas.want(answer.annotation)
        for given in route.opts.get("responses", {}).values():
            schemas.want(given)

    def _note(self, filled: Filled) -> None:
        resolver = filled.resolver
        if isinstance(resolver, DependencyResolver):
            for one in resolver.filled:
                self._note(one)
        elif isinstance(resolver, BodyResolver):
            self._body = self._body or resolver
        elif isinstance(resolver, ItemResolver) and resolver.place in (*PLACES, "path"):
            self._items.setdefault((resolver.place, resolver.name), resolver)

    def describe(self, names: list[str]) -> Schema:
        """Return the operation object.

        :param names: of the path parameters in the document, in the order of the pattern
        """
        route = self._route
        options = route.opts
        summary, description = _texts(route.fn)
        group = route.name.rpartition(".")[0]
        operation: Schema = {
            "operationId": route.name,
            "summary": options.get("summary", summary),
            "description": options.get("description", description),
            "tags": list(options.get("tags", [group] if group else [])),
            "deprecated": options.get("deprecated", False),
            "parameters": [*self._path_parameters(names), *self._other_parameters()],
        }
        operation = {key: value for key, value in operation.items() if value}
        if self._body is not None:
            body: Schema = {"content": {"application/json": {"schema": self._schemas.of(self._body.annotation)}}}
            operation["requestBody"] = body if self._body.has_default else body | {"required": True}
        operation["responses"] = self._responses()
        return operation

    def _path_parameters(self, names: list[str]) -> Iterator[Schema]:
        tokens = self._route.pattern.tokens
        convertors = {token.name: token.convertor_name for token in tokens if isinstance(token, Param)}
        for name, own in zip(names, convertors, strict=True):
            item = self._items.get(("path", own))
            schema = self._schemas.of(without_none(item.annotation)) if item is not None else {}
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "schema": schema or OF_CONVERTORS.get(convertors[own], {"type": "string"}),
            }

    def _other_parameters(self) -> Iterator[Schema]:
        for (place, name), item in self._items.items():
            if place == "path":
                continue
            schema = self._schemas.of(without_none(item.annotation)) or {"type": "string"}
            if item.has_default and (default := _plain(item.default)) is not None:
                schema = schema | {"default": default}
            about = {"description": schema["description"]} if "description" in schema else {}
            schema = {key: value for key, value in schema.items() if key != "description"}
            yield {"name": name, "in": place, **about, "required": not item.has_default, "schema": schema}

    def _responses(self) -> Schema:
        found: dict[str, Schema] = {}
        given_statuses = self._route.opts.get("responses", {})
        says_success = any(status < 400 for status in given_statuses)
        for answer in self._answers:
            if answer.is_vague and says_success:
                continue
            response = found.setdefault(str(answer.status), {"description": phrase_of(answer.status)})
            if answer.media is not None:
                schema = self._schemas.of(answer.annotation)
                content = response.setdefault("content", {}).setdefault(answer.media, {"schema": {}})
                content["schema"] = _either(content["schema"], schema)
        if self._body is not None or any(place != "path" for place, _ in self._items):
            statuses = (400, 415, 422) if self._body is not None else (400, 422)
            for status in statuses:
                content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
                found[str(status)] = {"description": phrase_of(status), "content": content}
        if self._route.convertors:
            found["404"] = {"description": phrase_of(404), "content": {TEXT: {"schema": {"type": "string"}}}}
        for status, given in given_statuses.items():
            if isinstance(given, str):
                found[str(status)] = {"description": given}
            else:
                content = {"application/json": {"schema": self._schemas.of(given)}}
                found[str(status)] = {"description": phrase_of(status), "content": content}
        return dict(sorted(found.items()))


def phrase_of(status: int) -> str:
    """Return what a status means, in the words of RFC 9110."""
    known = status in HTTPStatus._value2member_map_
    return TITLES.get(status) or (HTTPStatus(status).phrase if known else "A response")


def _either(first: Schema, second: Schema) -> Schema:
    if not first or first == second:
        return second
    return {"anyOf": [*first.get("anyOf", [first]), second]}


def _texts(fn: Any) -> tuple[str, str]:
    """Return the first line of a docstring, and the rest."""
    head, _, rest = (inspect.getdoc(fn) or "").partition("\n")
    return head, rest.strip()


def _plain(value: Any) -> Any:
    try:
        plain = msgspec.to_builtins(value)
    except Exception:
        return None
    return plain if has_json(plain) else None


def _answers(fn: Any) -> Iterator[_Answer]:
    """Iterate over what the annotation of a handler says that it returns."""
    if is_async_gen_func(fn):
        yield _Answer(200, TEXT, str)
        return
    annotation = resolve_annotation(fn, "return")
    for part in _parts(annotation):
        kind = get_origin(part) or part
        if part is None or part is type(None):
            yield _Answer(204, None)
        elif part in (EMPTY, Any) or (isinstance(kind, type) and issubclass(kind, (Response, CloudEvent))):
            yield _Answer(200, None, is_vague=True)
        elif isinstance(kind, type) and issubclass(kind, str):
            yield _Answer(200, TEXT, str)
        elif isinstance(kind, type) and issubclass(kind, (bytes, bytearray, memoryview)):
            yield _Answer(200, "application/octet-stream", str)
        elif isinstance(kind, type) and issubclass(kind, AsyncIterator):
            yield _Answer(200, TEXT, str)
        else:
            yield _Answer(200, "application/json", part)


def _parts(annotation: Any) -> Iterator[Any]:
    origin = get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    elif origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    else:
        yield annotation
