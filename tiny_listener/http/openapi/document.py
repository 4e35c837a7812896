"""The whole document: all routes for requests of a listener."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ...router.pattern import Literal
from ..routing import is_http
from .operation import PROBLEM, Operation
from .schemas import Schema, Schemas

if TYPE_CHECKING:
    from ...core.listener import Listener
    from ...core.registration import Route

__all__ = ["Info", "describe"]

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
"""Those that a path item may have (OpenAPI 3.1.1, section 4.8.9.1)."""


@dataclass(frozen=True, slots=True)
class Info:
    """What the document says of itself.

    :ivar title: of the application
    :ivar version: of the application, not of OpenAPI
    :ivar description: Markdown
    """

    title: str = "API"
    version: str = "0.1.0"
    description: str = ""


def describe(listener: Listener[Any], info: Info) -> Schema:
    """Return the OpenAPI 3.1 document of a listener, as JSON values.

    It has the routes for requests whose method OpenAPI knows, unless `include_in_schema=False`.
    """
    schemas = Schemas({"Problem": PROBLEM})
    operations = [(route, Operation(route, schemas)) for route in _described(listener)]
    schemas.resolve()
    paths: dict[str, Schema] = {}
    names_of: dict[str, tuple[str, list[str]]] = {}
    for route, operation in operations:
        method, template, names = _template(route)
        # Templates that differ in names only are one path: the first names count.
        shape = template.format_map(dict.fromkeys(names, "{}"))
        template, names = names_of.setdefault(shape, (template, names))
        paths.setdefault(template, {})[method] = operation.describe(names)
    about: Schema = {"title": info.title, "version": info.version}
    if info.description:
        about["description"] = info.description
    return {"openapi": "3.1.1", "info": about, "paths": paths, "components": {"schemas": schemas.components}}


def _described(listener: Listener[Any]) -> Iterator[Route]:
    for route in listener.routes.values():
        if is_http(route) and route.opts.get("include_in_schema", True):
            method = route.path.partition(":")[0].lower()
            if method in METHODS:
                yield route


def _template(route: Route) -> tuple[str, str, list[str]]:
    """Return the method of a route, its path template, and the names of its parameters."""
    parts, names = [], []
    for token in route.pattern.tokens:
        if isinstance(token, Literal):
            parts.append(quote(token.text, safe="/:@!$&'()*+,;=-._~"))
        else:
            parts.append(f"{{{token.name}}}")
            names.append(token.name)
    method, _, path = "".join(parts).partition(":")
    return method.lower(), path, names
