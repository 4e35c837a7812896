"""JSON Schemas of the types in signatures: msgspec describes its own, pydantic its models."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

from ...core.injection.signatures import EMPTY
from ..injection.bodies import has_models

__all__ = ["Schema", "Schemas"]

Schema: TypeAlias = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"
NAME = re.compile(r"[A-Za-z0-9._-]+")
"""Names of components (OpenAPI 3.1.1, section 4.8.7)."""


class Schemas:
    """Collects types, then describes all of them, so that each has one name.

    A type is asked for twice: by `want` before, by `of` after `resolve`.

    :param components: schemas that have their names already
    """

    def __init__(self, components: dict[str, Schema]) -> None:
        self._wanted: list[Any] = []
        self._known: list[tuple[Any, Schema]] = []
        self.components = dict(components)
        """The named schemas."""

    def want(self, annotation: Any) -> None:
        """Add a type."""
        if not any(annotation is one for one in self._wanted):
            self._wanted.append(annotation)

    def resolve(self) -> None:
        """Describe the types that were added."""
        plain = [one for one in self._wanted if not has_models(one) and _is_described(one)]
        try:
            self._add(plain)
        except (
            KeyError,
            RecursionError,
        ):  # msgspec tells two classes apart by module and qualified name, which those of a factory share
            for one in plain:
                self._add([one])
        for one in self._wanted:
            if has_models(one):
                self._known.append((one, self._of_models(one)))

    def _add(self, annotations: list[Any]) -> None:
        found, components = msgspec.json.schema_components(annotations, ref_template=TEMPLATE)
        self._known += zip(annotations, self._named(list(found), components), strict=True)

    def _of_models(self, annotation: Any) -> Schema:
        import pydantic  # noqa: PLC0415 - an optional dependency

        schema = pydantic.TypeAdapter(annotation).json_schema(ref_template=TEMPLATE.replace("{name}", "{model}"))
        components = schema.pop("$defs", {})
        title = schema.get("title")
        if "properties" in schema and title is not None and NAME.fullmatch(title):
            components[title], schema = schema, {"$ref": _reference(title)}
        return self._named([schema], components)[0]

    def _named(self, schemas: list[Schema], components: dict[str, Schema]) -> list[Schema]:
        """Add components, those whose names other types have by names of their own. Return the schemas with these."""
        components = {name: _sendable(schema) for name, schema in components.items()}
        names: dict[str, str] = {}
        known: dict[str, str] | None = None
        while known != names:  # a component that refers to a renamed one may be another than that of its name
            known = dict(names)
            for name, schema in components.items():
                own = names.get(_reference(name), _reference(name)).rpartition("/")[2]
                renamed, number = _renamed(schema, names), 1
                while self.components.get(own, renamed) != renamed:
                    number += 1
                    own = f"{name}_{number}"
                if own != name:
                    names[_reference(name)] = _reference(own)
        for name, schema in components.items():
            own = names.get(_reference(name), _reference(name)).rpartition("/")[2]
            self.components[own] = _renamed(schema, names)
        return [_renamed(_sendable(schema), names) for schema in schemas]

    def of(self, annotation: Any) -> Schema:
        """Return the schema of a type; {}, which is any value, for one that cannot be described."""
        return next((dict(schema) for one, schema in self._known if one is annotation or one == annotation), {})


def _reference(name: str) -> str:
    return TEMPLATE.format(name=name)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a part of a schema with other references: those of `$ref`, and of a discriminator's mapping."""
    if isinstance(value, dict):
        return {key: _renamed(part, names) for key, part in value.items()}
    if isinstance(value, list):
        return [_renamed(part, names) for part in value]
    return names.get(value, value) if isinstance(value, str) else value


def _sendable(schema: Any) -> Any:
    """Return a part of a schema without defaults that JSON has no form for, such as infinity."""
    if isinstance(schema, list):
        return [_sendable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _sendable(part) for name, part in value.items()} if key == "properties" else _sendable(value)
        for key, value in schema.items()
        if key != "default" or has_json(value)
    }


def has_json(value: Any) -> bool:
    """Whether JSON can say a value of built-in types."""
    try:
        return bool(msgspec.json.decode(msgspec.json.encode(value)) == value)
    except Exception:
        return False


def _is_described(annotation: Any) -> bool:
    if annotation is EMPTY or annotation is Any:
        return False
    try:
        msgspec.json.schema_components([annotation], ref_template=TEMPLATE)
    except Exception:  # a class of the application, a type that JSON has no form for
        return False
    return True
