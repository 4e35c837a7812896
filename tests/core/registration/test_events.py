"""Events that are named by their route, and events with several subscribers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.readings import Counting
from tiny_listener import Event, EventNotFound, Listener, NamedEvent, Param, PathParamsError, RouteError
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener


class App(Listener):
    async def listen(self) -> None:
        """Nothing to open."""


def application() -> App:
    app = App()

    @app.on_event("order {id} of {who} placed")
    async def placed(event: Event, id: Param, who: Param) -> dict[str, Any]:  # noqa: A002
        return dict(event.params)

    @app.on_event("n {n:int} {x:float} {u:uuid} {p:path}")
    async def typed(event: Event) -> dict[str, Any]:
        return dict(event.params)

    return app


APP = application()


@given(st.text(), st.text())
def test_any_text_arrives_as_it_was_given(first: str, second: str) -> None:
    async def main() -> None:
        event = APP.event("order {id} of {who} placed", id=first, who=second)
        assert await APP.trigger_event(event) == {"id": first, "who": second}
        assert (await APP.new_ctx().trigger_event(event)) == {"id": first, "who": second}

    asyncio.run(main())


@given(st.integers(), st.floats(allow_nan=False), st.uuids(), st.text())
def test_any_value_of_the_type_arrives_as_it_was_given(n: int, x: float, u: uuid.UUID, p: str) -> None:
    async def main() -> None:
        params = {"n": n, "x": x, "u": u, "p": p}
        event = APP.event("n {n:int} {x:float} {u:uuid} {p:path}", **params)
        assert await APP.trigger_event(event) == params
        assert event == APP.event(event.path, **params)

    asyncio.run(main())


def test_what_is_wrong_is_said_where_the_event_is_named() -> None:
    with pytest.raises(EventNotFound, match=r"No route has the pattern 'order \{id\} of \{w\} placed'; did you mean"):
        APP.event("order {id} of {w} placed", id="1", w="2")
    with pytest.raises(PathParamsError, match=r"the parameter 'who' of .* is missing \(it has: id, who\)"):
        APP.event("order {id} of {who} placed", id="1")
    with pytest.raises(PathParamsError, match=r"the parameter 'x' of .* does not exist"):
        APP.event("order {id} of {who} placed", id="1", who="2", x="3")
    with pytest.raises(TypeError, match=r"the parameter 'id' of .* must be str, not int: 5"):
        APP.event("order {id} of {who} placed", id=5, who="2")
    with pytest.raises(TypeError, match="must be int, not bool"):
        APP.event("n {n:int} {x:float} {u:uuid} {p:path}", n=True, x=1, u=uuid.uuid4(), p="")
    event = APP.event("order {id} of {who} placed", id="1", who="2")
    assert repr(event) == "event('order {id} of {who} placed', id='1', who='2')"
    assert isinstance(event, NamedEvent)


def test_a_named_event_is_dispatched_without_a_task() -> None:
    app = application()

    async def listen() -> None:
        ended: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        event = app.event("order {id} of {who} placed", id="a b", who="c/d")
        app.dispatch_now(event, on_end=lambda event: ended.set_result(event.result))
        assert await ended == {"id": "a b", "who": "c/d"}
        await app.graceful_shutdown()

    app.listen = listen  # type: ignore[method-assign]
    app.run()


def test_all_subscribers_run_with_their_own_hooks_results_and_metrics() -> None:
    app, observer = App(), Counting()
    labels: list[str] = []
    log: list[str] = []

    class Labelled(Counting):
        def route_added(self, route: Any) -> Any:
            labels.append(route.label)
            return observer.route_added(route)

    @app.before_event
    async def before(event: Event) -> None:
        log.append(event.route.name)

    @app.subscribe("order {id} placed")
    async def bill(id: int) -> str:  # noqa: A002
        await asyncio.sleep(0)
        return f"bill {id}"

    @app.subscribe("order {id} placed", name="ship it")
    async def ship(id: int) -> str:  # noqa: A002
        return f"ship {id}"

    app.attach(Host(observer=Labelled()))

    async def main() -> None:
        task = app.trigger_event("order 5 placed", cid="5")
        assert await task == ["bill 5", "ship 5"]
        assert task.event.is_done
        assert await task.event.wait_event_done("bill") == ["bill 5"]

    asyncio.run(main())
    assert log == ["bill", "ship it"]
    assert observer.counts == {"ok": 2}
    assert labels == ["order {id} placed [bill]", "order {id} placed [ship it]"]


def test_a_subscriber_that_fails_does_not_stop_the_others() -> None:
    app = App()
    done: list[str] = []

    @app.subscribe("x")
    async def fails() -> None:
        raise ValueError("deliberate")

    @app.subscribe("x")
    async def works() -> None:
        await asyncio.sleep(0)
        done.append("works")

    async def main() -> None:
        task = app.trigger_event("x")
        with pytest.raises(ValueError, match="deliberate"):
            await task
        assert done == ["works"]

        @app.subscribe("x")
        async def fails_too() -> None:
            raise KeyError

        with pytest.raises(BaseExceptionGroup, match=r"2 subscribers of 'x' failed"):
            await app.trigger_event("x")
        assert app.remove_on_event_hook(fails)
        with pytest.raises(KeyError):
            await app.trigger_event("x")
        assert app.remove_on_event_hook("fails_too")
        assert await app.trigger_event("x") == [None]
        assert app.remove_on_event_hook(works)
        with pytest.raises(EventNotFound):
            app.trigger_event("x")

    asyncio.run(main())


def test_what_cannot_be_subscribed_to() -> None:
    app = HTTPListener()

    @app.on_event("x {n}")
    async def alone(n: int) -> None: ...

    with pytest.raises(RouteError, match=r"second .*subscribes to 'x \{n\}', which alone .* handles alone"):

        @app.subscribe("x {n}")
        async def second(n: int) -> None: ...

    @app.subscribe("y {n}")
    async def first(n: int) -> None: ...

    with pytest.raises(RouteError, match=r"give the parameters the same names"):

        @app.subscribe("y {m}")
        async def other(m: int) -> None: ...

    with pytest.raises(RouteError, match=r"matches the same texts as"):

        @app.on_event("y {n}")
        async def third(n: int) -> None: ...

    with pytest.raises(RouteError, match=r"a request has one response, so it has one handler"):

        @app.subscribe("GET:/x")
        async def of_requests() -> None: ...

    with pytest.raises(TypeError, match=r"@app.subscribe needs parentheses, for bare"):

        @app.subscribe  # type: ignore[arg-type]
        async def bare() -> None: ...
