"""Options of routes, and the usual mistakes with decorators: each has a message that says what would be right."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tiny_listener import EventGroup, Listener, RouteError
from tiny_listener.core.registration.options import EVENT_CHECKS
from tiny_listener.http import Group, HTTPListener, HTTPOptions
from tiny_listener.http.registration.options import HTTP_CHECKS


async def handler() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("timout", 3, "a route has no option 'timout'; did you mean 'timeout'? (options: cancel_on_disconnect, "),
        ("color", "red", "a route has no option 'color' (options: "),
        ("timeout", 0, "the option timeout must be a number of seconds above 0, not 0"),
        ("timeout", "3", "the option timeout must be a number of seconds above 0, not '3'"),
        ("timeout", True, "the option timeout must be a number of seconds above 0, not True"),
        ("max_body", -1, "the option max_body must be a number of bytes, not -1"),
        ("max_body", 1.5, "the option max_body must be a number of bytes, not 1.5"),
        ("cancel_on_disconnect", 1, "the option cancel_on_disconnect must be True or False, not 1"),
        ("summary", 1, "the option summary must be a text, not 1"),
        ("tags", "a", "the option tags must be a list of texts, not 'a'"),
        ("responses", {"404": "x"}, "the option responses must be a dict whose keys are statuses, from 100 to 599"),
        ("extra", 3, "the option extra must be a dict, not 3"),
    ],
)
def test_an_option_that_is_wrong(name: str, value: Any, message: str) -> None:
    for registrar in (HTTPListener(), Group()):
        with pytest.raises(RouteError, match=re.escape(message)) as caught:
            registrar.get("/", **{name: value})(handler)
        assert str(caught.value).startswith("handler (test_options.py:")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout", 0.001), ("timeout", 3), ("max_body", 0), ("cancel_on_disconnect", True), ("summary", ""),
        ("tags", ["a"]), ("tags", ()), ("responses", {404: "Gone"}), ("extra", {"color": "red"}),
        ("include_in_schema", False), ("deprecated", True), ("description", "x"),
    ],
)  # fmt: skip
def test_an_option_that_is_right(name: str, value: Any) -> None:
    app = HTTPListener()
    app.get("/", **{name: value})(handler)
    assert app.routes["handler"].opts == {name: value}


def test_every_option_has_a_type_for_checkers_and_a_check() -> None:
    assert set(HTTP_CHECKS) == set(HTTPOptions.__annotations__)
    assert set(EVENT_CHECKS) & set(HTTP_CHECKS) == {"timeout", "extra"}


def test_options_of_requests_are_for_requests() -> None:
    message = "a route that is not one of requests has no option 'max_body'"
    with pytest.raises(RouteError, match=message):
        HTTPListener().on_event("order {id}", max_body=3)(handler)
    HTTPListener().on_event("GET:/", max_body=3)(handler)
    for registrar in (Listener(), EventGroup()):
        with pytest.raises(RouteError, match="a route has no option 'max_body'"):
            registrar.add_on_event_hook(handler, "GET:/", max_body=3)


def test_a_stream_has_no_timeout() -> None:
    with pytest.raises(RouteError, match=r"stream .*timeout= limits the call of a handler, and a stream outlives it"):

        @HTTPListener().get("/", timeout=3)
        async def stream() -> AsyncIterator[str]:
            yield "x"


def test_decorators_without_their_parentheses() -> None:
    app = HTTPListener()
    for decorator, example in (("get", "/path"), ("post", "/path"), ("on_event", "order {id}")):
        message = f"@app.{decorator} needs parentheses, for handler (test_options.py:{handler.__code__.co_firstlineno})"
        with pytest.raises(TypeError, match=re.escape(f'{message}: write @app.{decorator}("{example}")')):
            getattr(app, decorator)(handler)
    with pytest.raises(TypeError, match=r"on_error of handler .*takes an exception class: write @app.on_error\(Value"):
        app.on_error(handler)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"handler\(\) was called: pass the function handler itself"):
        app.add_before_event_hook(handler())  # type: ignore[arg-type]
    assert not app.routes


def test_plain_functions_are_told_the_way() -> None:
    def plain() -> None: ...

    for register in (HTTPListener().get("/"), HTTPListener().before_event, Group().post("/")):
        with pytest.raises(
            TypeError, match=r"plain .*must be declared with `async def`; run blocking code in it by `awa"
        ):
            register(plain)  # type: ignore[type-var]


def test_a_timeout_ends_the_handler_but_not_the_hooks() -> None:
    app = HTTPListener()

    @app.on_event("slow", timeout=0.01)
    async def slow() -> None:
        await asyncio.Event().wait()

    @app.on_event("fast", timeout=60)
    async def fast() -> str:
        await asyncio.sleep(0)
        return "done"

    @app.on_error(TimeoutError)
    async def late(error: TimeoutError) -> str:
        return "late"

    async def main() -> None:
        assert await app.trigger_event("fast") == "done"
        task = app.trigger_event("slow")
        assert await task == "late"
        assert task.event.outcome == "timeout"
        assert await app.trigger_event("fast", timeout=30) == "done"

    asyncio.run(main())
