"""Conversion of the texts and values of an event to the types that a signature asks for. Pure functions.

A text is converted strictly: `int` takes digits, `float` a finite decimal number, `bool` the words of HTML forms and of
JSON. Everything else that is one text in JSON (UUID, Enum, date, datetime, Decimal, Literal ...) msgspec converts.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias, Union, get_args, get_origin

import msgspec

from ...router.convertors import MAX_INT_DIGITS

__all__ = [
    "Convert",
    "an",
    "is_optional",
    "name_of",
    "one_or_list",
    "text_convertor",
    "value_convertor",
    "without_none",
]

Convert: TypeAlias = "Callable[[Any], Any]"
"""Raises ValueError with what would be right."""

INT: Final = re.compile(rf"-?[0-9]{{1,{MAX_INT_DIGITS}}}")
FLOAT: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
BOOLS: Final = {
    "true": True, "1": True, "on": True, "yes": True, "false": False, "0": False, "off": False, "no": False,
}  # fmt: skip
ONE_TEXT = (
    msgspec.inspect.StrType,
    msgspec.inspect.IntType,
    msgspec.inspect.FloatType,
    msgspec.inspect.BoolType,
    msgspec.inspect.UUIDType,
    msgspec.inspect.EnumType,
    msgspec.inspect.LiteralType,
    msgspec.inspect.DateType,
    msgspec.inspect.DateTimeType,
    msgspec.inspect.TimeType,
    msgspec.inspect.TimeDeltaType,
    msgspec.inspect.DecimalType,
)


def _int(text: str) -> int:
    if text.isdigit() and text.isascii() and len(text) <= MAX_INT_DIGITS:  # PERF: a third of the expression's time
        return int(text)
    if INT.fullmatch(text) is None:
        raise ValueError("must be a whole number")
    return int(text)


def _float(text: str) -> float:
    number = float(text) if FLOAT.fullmatch(text) is not None and len(text) <= MAX_INT_DIGITS else math.inf
    if math.isinf(number):
        raise ValueError("must be a finite number")
    return number


def _bool(text: str) -> bool:
    value = BOOLS.get(text.lower())
    if value is None:
        raise ValueError("must be true or false (also 1, on, yes, or 0, off, no)")
    return value


def _str(text: str) -> str:
    return text


SIMPLE: Final[dict[Any, Callable[[str], Any]]] = {int: _int, float: _float, bool: _bool, str: _str}


def without_none(annotation: Any) -> Any:
    """Return an annotation without `| None`: `int` for `int | None`. Metadata of `Annotated` stay."""
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *extras = get_args(annotation)
        bare = without_none(inner)
        return annotation if bare is inner else Annotated[(bare, *extras)]
    if origin in (Union, types.UnionType):
        parts = [part for part in get_args(annotation) if part is not type(None)]
        if len(parts) < len(get_args(annotation)) and parts:
            return parts[0] if len(parts) == 1 else Union[tuple(parts)]  # noqa: UP007
    return annotation


def is_optional(annotation: Any) -> bool:
    """Whether an annotation includes None."""
    return annotation is None or without_none(annotation) is not annotation


def item_type(annotation: Any) -> Any:
    """Return the type of the items if an annotation is a list of them (`list`, `set`, `tuple[T, ...]`), else None."""
    inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    origin, parts = get_origin(inner), get_args(inner)
    if origin in (list, set, frozenset) and len(parts) == 1:
        return parts[0]
    if origin is tuple and len(parts) == 2 and parts[1] is Ellipsis:
        return parts[0]
    return None


@lru_cache(maxsize=1024)
def _text_convertor(annotation: Any) -> Callable[[str], Any] | None:
    simple = SIMPLE.get(annotation)
    if simple is not None:
        return simple
    if not _is_one_text(annotation):
        return None
    base = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    while hasattr(base, "__supertype__"):  # of a NewType
        base = base.__supertype__
    first = SIMPLE.get(base)
    may_be_infinite = first is None and _has_float(annotation)

    def convert(text: str) -> Any:
        value = text if first is None else first(text)
        try:
            value = msgspec.convert(value, annotation, strict=first is not None)
        except msgspec.ValidationError as exc:
            raise ValueError(in_words(exc)) from None
        if may_be_infinite and not _is_finite(value):
            raise ValueError("must be a finite number")
        return value

    return convert


def _is_finite(value: Any) -> bool:
    return value.is_finite() if isinstance(value, Decimal) else not isinstance(value, float) or math.isfinite(value)


def _has_float(annotation: Any) -> bool:
    """Whether a text such as `nan` may be such a value."""
    kind = _plain(msgspec.inspect.type_info(annotation))
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return any(isinstance(_plain(one), (msgspec.inspect.FloatType, msgspec.inspect.DecimalType)) for one in kinds)


def _is_one_text(annotation: Any) -> bool:
    try:
        kind = msgspec.inspect.type_info(annotation)
    except Exception:  # msgspec does not know it
        return False
    kinds = kind.types if isinstance(kind, msgspec.inspect.UnionType) else (kind,)
    return all(isinstance(_plain(one), ONE_TEXT) for one in kinds)


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def text_convertor(annotation: Any) -> Callable[[str], Any] | None:
    """Return a function that converts one text to a type; None if no text stands for such a value.

    The function raises ValueError with what would be right.
    """
    try:
        return _text_convertor(annotation)
    except TypeError:  # not hashable, as Annotated[int, [1]]
        return _text_convertor.__wrapped__(annotation)


def one_or_list(annotation: Any) -> tuple[Convert, bool] | None:
    """Return a function that converts one text, or a list of texts, and whether it takes a list; None if neither."""
    annotation = without_none(annotation)
    item = item_type(annotation)
    if item is None:
        one = text_convertor(annotation)
        return None if one is None else (one, False)
    one = text_convertor(item)
    if one is None:
        return None
    convert_one = one

    def convert(texts: list[str]) -> Any:
        values = []
        for number, text in enumerate(texts):
            try:
                values.append(convert_one(text))
            except ValueError as exc:
                raise ValueError(f"value {number + 1} {exc}") from None
        try:
            return msgspec.convert(values, annotation)
        except msgspec.ValidationError as exc:
            raise ValueError(in_words(exc)) from None

    return convert, True


def value_convertor(annotation: Any) -> Convert:
    """Return a function that checks a value of Python and converts it where msgspec does, as a dict to a Struct.

    Keys may be text, as in the JSON of a published event. A class that msgspec does not know takes its own instances.
    The function raises ValueError.
    """
    if annotation is Any:
        return lambda value: value
    try:
        kind = msgspec.inspect.type_info(annotation)
    except Exception:
        kind = None
    if kind is None or isinstance(kind, msgspec.inspect.CustomType):
        return _instance_check(annotation)

    def convert(value: Any) -> Any:
        try:
            return msgspec.convert(value, annotation, str_keys=True)
        except msgspec.ValidationError as exc:
            raise ValueError(in_words(exc)) from None

    return convert


def _instance_check(annotation: Any) -> Convert:
    kind = get_origin(annotation) or annotation

    def check(value: Any) -> Any:
        if isinstance(kind, type) and not isinstance(value, kind):
            raise ValueError(f"must be {kind.__name__}, not {type(value).__name__}")  # noqa: TRY004 - as of others
        return value

    return check


def in_words(error: Exception) -> str:
    """Return the message of msgspec on one line."""
    return " ".join(str(error).split())


def name_of(annotation: Any) -> str:
    """Return how an annotation is written."""
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def an(noun: str) -> str:
    """Return a noun with its article."""
    return f"an {noun}" if noun[:1].lower() in tuple("aeio") else f"a {noun}"
