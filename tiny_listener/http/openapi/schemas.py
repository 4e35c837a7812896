"""JSON Schemas of the types in signatures: msgspec describes its own, pydantic its models."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ...core.injection.signatures import EMPTY
from ..injection.bodies import has_models

__all__ = ["Schema", "Schemas"]

Schema: TypeAlias = dict[str, Any]

TEMPLATE = "#/components/schemas/{name}"


class Schemas:
    """Collects types, then describes all of them, so that each has one name.

    A type is asked for twice: by `want` before, by `of` after `resolve`.
    """

    def __init__(self) -> None:
        self._wanted: list[Any] = []
        self._known: list[tuple[Any, Schema]] = []
        self.components: dict[str, Schema] = {}
        """The named schemas."""

    def want(self, annotation: Any) -> None:
        """Add a type."""
        if not any(annotation is one for one in self._wanted):
            self._wanted.append(annotation)

    def resolve(self) -> None:
        """Describe the types that were added."""
        plain = [one for one in self._wanted if not has_models(one) and _is_described(one)]
        found, components = msgspec.json.schema_components(plain, ref_template=TEMPLATE)
        self._known += zip(plain, found, strict=True)
        self.components |= components
        for one in self._wanted:
            if has_models(one):
                self._known.append((one, self._of_models(one)))

    def _of_models(self, annotation: Any) -> Schema:
        import pydantic  # noqa: PLC0415 - an optional dependency

        schema = pydantic.TypeAdapter(annotation).json_schema(ref_template=TEMPLATE.replace("{name}", "{model}"))
        for name, definition in schema.pop("$defs", {}).items():
            self.components.setdefault(name, definition)
        title = schema.get("title")
        if "properties" not in schema or title is None or self.components.get(title, schema) != schema:
            return schema
        self.components[title] = schema
        return {"$ref": TEMPLATE.format(name=title)}

    def of(self, annotation: Any) -> Schema:
        """Return the schema of a type; {}, which is any value, for one that cannot be described."""
        return next((dict(schema) for one, schema in self._known if one is annotation), {})


def _is_described(annotation: Any) -> bool:
    if annotation is EMPTY or annotation is Any:
        return False
    try:
        msgspec.json.schema_components([annotation], ref_template=TEMPLATE)
    except Exception:  # a class of the application, a type that JSON has no form for
        return False
    return True
