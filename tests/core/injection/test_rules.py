"""What each parameter of a signature gets, for events that come from no request."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from tiny_listener import Context, Data, Depends, Event, EventDataError, Listener, Param, PathParamsError, RouteError


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Order(msgspec.Struct):
    n: int


@dataclass
class Point:
    x: int


class Place(TypedDict):
    street: str


class Own:
    """A class of the application, which asks the event for itself."""

    @classmethod
    def from_event(cls, event: Event) -> Own:
        if not event.data:
            raise EventDataError("no data")
        return cls()


class App(Listener):
    async def listen(self) -> None:
        """Nothing to open."""


def result(app: Listener, text: str, **data: Any) -> Any:
    async def main() -> Any:
        return await app.trigger_event(text, data=data)

    return asyncio.run(main())


PATH = [
    ("{v}", str, "a b", "a b"),
    ("{v}", int, "-7", -7),
    ("{v}", float, "1e3", 1000.0),
    ("{v}", bool, "Yes", True),
    ("{v}", bool, "off", False),
    ("{v}", uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("{v}", Color, "red", Color.RED),
    ("{v}", Level, "1", Level.LOW),
    ("{v}", dt.date, "2026-11-28", dt.date(2026, 11, 28)),
    ("{v}", Annotated[int, msgspec.Meta(ge=3)], "3", 3),
    ("{v}", int | None, "3", 3),
    ("{v}", Any, "3", "3"),
    ("{v:int}", int, "3", 3),
    ("{v:int}", float, "3", 3.0),
    ("{v:int}", Level, "1", Level.LOW),
    ("{v:uuid}", uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("{v:path}", str, "a/b", "a/b"),
    ("{v:text}", str, "a / b", "a / b"),
    ("{v:word}", str, "a/b", "a/b"),
]


@pytest.mark.parametrize(("pattern", "kind", "text", "value"), PATH)
def test_a_path_parameter_is_converted_to_its_annotation(pattern: str, kind: Any, text: str, value: Any) -> None:
    app = App()

    async def handler(v: Any) -> Any:
        return v

    handler.__annotations__["v"] = kind
    app.add_on_event_hook(handler, f"x {pattern}")
    found = result(app, f"x {text}")
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        (int, "1.5", "must be a whole number"),
        (int, "1_000", "must be a whole number"),
        (int, "٣", "must be a whole number"),
        (int, " 1", "must be a whole number"),
        (int, "9" * 641, "must be a whole number"),
        (float, "nan", "must be a finite number"),
        (float, "1e999", "must be a finite number"),
        (float, "1,5", "must be a finite number"),
        (bool, "2", "must be true or false"),
        (uuid.UUID, "x", "Invalid UUID"),
        (Color, "blue", "Invalid enum value 'blue'"),
        (Level, "2", "Invalid enum value 2"),
        (dt.date, "28.11.2026", "Invalid RFC3339 encoded date"),
        (Annotated[int, msgspec.Meta(ge=3)], "2", "Expected `int` >= 3"),
    ],
)
def test_a_text_that_does_not_fit_fails_the_event(kind: Any, text: str, right: str) -> None:
    app = App()

    async def handler(v: Any) -> None:
        """Never called."""

    handler.__annotations__["v"] = kind
    app.add_on_event_hook(handler, "x {v}")
    with pytest.raises(PathParamsError, match=rf"handler \(test_rules.py:\d+\) cannot handle .*path 'v': {right}"):
        result(app, f"x {text}")


async def upper(name: str) -> str:
    return name.upper()


def test_each_rule() -> None:
    app = App()

    @app.on_event("greet {name}")
    async def greet(  # type: ignore[no-untyped-def]  # noqa: PLR0917
        event: Event,
        ctx: Context,
        own: Own,
        nothing: Own | None,
        name,
        said: Annotated[str, Depends(upper)],
        also: Annotated[str, Param("name")],
        item: int,
        other: Annotated[int, Data("item")],
        missing: int = 5,
        constant: object = None,
        *,
        loud: str = Depends(upper),
    ) -> list[Any]:
        assert event.ctx is ctx
        return [type(own), type(nothing), name, said, also, item, other, missing, constant, loud]

    assert result(app, "greet bob", item=3) == [Own, Own, "bob", "BOB", "bob", 3, 3, 5, None, "BOB"]


def test_an_optional_class_is_none_for_an_event_without_it() -> None:
    app = App()

    @app.on_event("x")
    async def handler(own: Own | None) -> Own | None:
        return own

    @app.on_event("y")
    async def strict(own: Own) -> None:
        """Never called."""

    assert result(app, "x") is None
    with pytest.raises(EventDataError, match="no data"):
        result(app, "y")


@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [(Order, {"n": 1}, Order(1)), (Point, {"x": 1}, Point(1)), (Place, {"street": "a"}, {"street": "a"})],
)
def test_a_type_with_fields_is_all_of_the_data(kind: Any, data: dict[str, Any], value: Any) -> None:
    app = App()

    async def handler(payload: Any) -> Any:
        return payload

    handler.__annotations__["payload"] = kind
    app.add_on_event_hook(handler, "x")
    assert result(app, "x", **data) == value
    with pytest.raises(EventDataError, match=r"handler .*data: "):
        result(app, "x", **dict.fromkeys(data, b"?"))


def test_all_problems_of_an_event_are_told_together() -> None:
    app = App()

    async def dependency(first: int) -> int:
        raise AssertionError

    @app.on_event("x")
    async def handler(second: int, third: list[int], value: int = Depends(dependency)) -> None:
        """Never called."""

    with pytest.raises(
        EventDataError, match=r"data 'first': Expected `int`.*data 'second': missing.*data 'third' at \$|data 'third'"
    ) as caught:
        result(app, "x", first="1", third=["x"])
    assert str(caught.value).count("data '") == 3


class Plain:
    """Nothing that can be injected."""


MISTAKES: list[tuple[str, Any, Any, str]] = [
    ("x", Plain, ..., r"argument 'v' \(Plain\) cannot be injected.*Depends\(fn\), or from Annotated\[T, Data\]"),
    (
        "x",
        None,
        ...,
        r"argument 'v' has no annotation and no default: the pattern has no such parameter",
    ),
    ("x", list[Plain], ..., r"argument 'v' \(list\[.*Plain\]\) cannot be injected"),
    ("x {v:int}", str, ..., r"argument 'v' is a str, but \{v:int\} is an int: write v: int, or \{v\} in the pattern"),
    ("x {v:uuid}", int, ..., r"argument 'v' is an int, but \{v:uuid\} is a UUID"),
    ("x {v}", Plain, ..., r"argument 'v' is a path parameter, and no text of a path is a Plain"),
    ("x {v}", Order, ..., r"argument 'v' is a path parameter, and no text of a path is an Order"),
    ("x {v}", list[int], ..., r"argument 'v' is a path parameter"),
    ("x", ValueError, ..., r"argument 'v' is an exception \(ValueError\), which only a function of @app.on_error"),
]


@pytest.mark.parametrize(("pattern", "kind", "default", "message"), MISTAKES)
def test_what_can_never_be_filled_is_refused_at_registration(
    pattern: str, kind: Any, default: Any, message: str
) -> None:
    app = App()

    async def handler(v) -> None:  # type: ignore[no-untyped-def]
        """Never called."""

    if kind is not None:
        handler.__annotations__["v"] = kind
    with pytest.raises(RouteError, match=rf"handler \(test_rules.py:\d+\): the {message}"):
        app.add_on_event_hook(handler, pattern)
    assert not app.routes


@pytest.mark.parametrize(("name", "right"), [("event", "Event"), ("ctx", "Context"), ("request", "Request")])
def test_the_usual_names_are_known(name: str, right: str) -> None:
    app = App()
    scope: dict[str, Any] = {}
    exec(f"async def handler({name}): ...", scope)
    with pytest.raises(RouteError, match=f"the argument '{name}' has no annotation: write {name}: {right}"):
        app.add_on_event_hook(scope["handler"], "x")


def test_a_hook_says_where_its_arguments_come_from() -> None:
    app = App()
    with pytest.raises(RouteError, match=r"'name' \(str\) cannot be injected: a function for many routes says where"):

        @app.before_event
        async def before(name: str) -> None:
            """Never called."""

    @app.before_event
    async def marked(number: Annotated[int, Param("n")], shift: int = 2) -> None:
        seen.append(number + shift)

    seen: list[int] = []

    @app.on_event("x {n}")
    async def handler() -> None:
        """Nothing."""

    result(app, "x 5")
    with pytest.raises(PathParamsError, match="path 'n': must be a whole number"):
        result(app, "x five")
    assert seen == [7]


def test_two_whole_bodies_are_one_too_many() -> None:
    import tiny_listener.http  # noqa: F401

    app = App()
    with pytest.raises(RouteError, match=r"argument 'b' is the whole body, and so is 'a': make 'a' and 'b' fields of"):

        @app.on_event("x")
        async def handler(a: Order, b: Point) -> None:
            """Never called."""


def test_an_error_handler_asks_for_the_errors_that_it_handles() -> None:
    app = App()

    @app.on_error(ValueError)
    async def good(error: Exception, same: ValueError, narrow: UnicodeError | None) -> None:
        """Nothing."""

    with pytest.raises(RouteError, match="is KeyError, but the function handles ValueError: write ValueError, or"):

        @app.on_error(ValueError)
        async def bad(error: KeyError) -> None:
            """Never called."""
