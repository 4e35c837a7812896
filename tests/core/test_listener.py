"""Registration, dispatch, hooks."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest

import tiny_listener
from tiny_listener import (
    Context,
    Data,
    Depends,
    Event,
    EventAlreadyDone,
    EventAlreadyExists,
    EventDataError,
    EventNotFound,
    Hook,
    Listener,
    Param,
    PathParamsError,
    Route,
    RouteError,
    check_coro_func,
    depend,
)


class MyContext(Context):
    """A context of the application's own."""


class App(Listener[MyContext]):
    async def listen(self) -> None:
        """Nothing to open."""


@pytest.fixture
def app() -> App:
    return App()


def test_every_public_name_exists_and_is_listed() -> None:
    assert all(hasattr(tiny_listener, name) for name in tiny_listener.__all__)
    expected = {
        "Listener", "Context", "Event", "Hook", "Depends", "depend", "Param", "Data", "Route", "compile_path",
        "check_coro_func", "import_from_string", "is_main_thread", "get_current_running_listener", "Scope",
        "ListenerError", "RouteError", "EventNotFound", "EventAlreadyExists", "EventAlreadyDone", "ContextNotFound",
        "ContextAlreadyExists", "DuplicateListener", "ListenerNotFound", "PathParamsError", "EventDataError",
    }  # fmt: skip
    assert expected <= set(tiny_listener.__all__)
    errors = [n for n in expected if n.endswith(("Error", "Found", "Exists", "Done", "DuplicateListener"))]
    assert all(issubclass(getattr(tiny_listener, n), tiny_listener.ListenerError) for n in errors)


def test_an_event_goes_through_hooks_and_handler(app: App, runner: asyncio.Runner) -> None:
    seen: list[Any] = []

    @app.before_event
    async def before(event: Event) -> None:
        seen.append(("before", event.params["name"], event.result, event.is_done))

    @app.after_event
    async def after(event: Event) -> None:
        seen.append(("after", event.result, event.is_done))

    @app.on_event("greet {name}")
    async def greet(event: Event[MyContext], name: Param, ctx: MyContext, item: Data) -> str:
        assert event.ctx is ctx
        assert isinstance(ctx, MyContext)
        return f"{name}{item}"

    async def main() -> None:
        task = app.trigger_event("greet Bob", data={"item": 7})
        assert await task == "Bob7"
        assert task.event.is_done
        assert task.event.data == {"item": 7}

    runner.run(main())
    assert seen == [("before", "Bob", None, False), ("after", "Bob7", False)]


def test_injection_of_every_kind(app: App, runner: asyncio.Runner) -> None:
    calls: list[str] = []

    async def inner(name: Annotated[str, Param]) -> str:
        calls.append(name)
        return name.upper()

    async def outer(value: str = Depends(inner)) -> str:
        return f"<{value}>"

    @app.on_event("x {name}")
    async def handler(
        name: Annotated[str, Param],
        event: Event | None,
        ratio: float = 0.5,
        default: int = 3,
        *,
        wrapped: str = Depends(outer),
        direct: str = depend(inner),
        again: str = Depends(inner, use_cache=False),
        **rest: Any,
    ) -> tuple[Any, ...]:
        return name, event is not None, ratio, default, wrapped, direct, again, rest

    async def main() -> Any:
        return await app.trigger_event("x bob")

    assert runner.run(main()) == ("bob", True, 0.5, 3, "<BOB>", "BOB", "BOB", {})
    assert calls == ["bob", "bob"]  # once for both that share the cache, once for the one that does not


def test_a_dependency_has_a_timeout(app: App, runner: asyncio.Runner) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    @app.on_event("x")
    async def handler(value: None = Depends(never, timeout=0.01)) -> None:
        pass

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await app.trigger_event("x")

    runner.run(main())


def test_what_cannot_be_injected_fails_at_registration(app: App) -> None:
    with pytest.raises(PathParamsError, match=r"bad \(test_listener.py:\d+\) asks for the path parameter 'nome'"):

        @app.on_event("x {name}")
        async def bad(nome: Param) -> None: ...

    async def needs(nome: Param) -> None: ...

    with pytest.raises(PathParamsError, match="needs"):

        @app.on_event("y {name}")
        async def bad2(value: None = Depends(needs)) -> None: ...

    with pytest.raises(RouteError, match=r"bad3 .* annotation 'Nowhere' of argument 'value' cannot be resolved"):

        @app.on_event("z")
        async def bad3(value: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert not app.routes
    assert len(app.router) == 0


def test_what_cannot_be_injected_at_run_time(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x")
    async def handler(item: Data) -> None: ...

    async def hook(name: Param) -> None: ...

    async def main() -> None:
        with pytest.raises(EventDataError, match=r"handler .*data 'item': missing.*\(it has: other\)"):
            await app.trigger_event("x", data={"other": 1})
        app.add_before_event_hook(hook)
        with pytest.raises(PathParamsError, match=r"hook .* 'name', which the pattern 'x' lacks"):
            await app.trigger_event("x", data={"item": 1})

    runner.run(main())


@pytest.mark.parametrize("register", ["on_event", "before_event", "after_event", "startup", "shutdown", "on_error"])
def test_only_coroutine_functions_are_accepted(app: App, register: str) -> None:
    def plain() -> None: ...

    method: Any = getattr(app, register)
    decorator = method("x") if register == "on_event" else method(ValueError) if register == "on_error" else method
    with pytest.raises(TypeError, match=r"plain \(test_listener.py:\d+\) is not a coroutine function"):
        decorator(plain)
    with pytest.raises(TypeError, match="plain"):
        Depends(plain)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="3 is not"):
        check_coro_func(3)  # type: ignore[arg-type]


def test_registration_errors_name_both_handlers(app: App) -> None:
    @app.on_event("x {a}")
    async def first(a: Param) -> None: ...

    with pytest.raises(EventAlreadyExists, match=r"'first'.*test_listener.py:\d+.*registered by first"):
        app.add_on_event_hook(first, "y {a}")
    with pytest.raises(RouteError, match=r"second .*first"):

        @app.on_event("x {b}")
        async def second() -> None: ...

    with pytest.raises(RouteError, match=r"third .*test_listener.py:\d+"):

        @app.on_event("/user/{name")
        async def third() -> None: ...

    with pytest.raises(RouteError, match="nope"):

        @app.on_event("/user/{name:nope}")
        async def fourth() -> None: ...

    with pytest.raises(TypeError, match="exception class"):
        app.on_error("ValueError")(first)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="subclass"):
        app.set_context_cls(int)  # type: ignore[arg-type]
    assert list(app.routes) == ["first"]


def test_routes_can_be_removed(app: App) -> None:
    @app.on_event("x")
    async def first() -> None: ...

    app.add_on_event_hook(first, "y", name="second", extra={"color": "red"})
    assert app.get_route("second").opts == {"extra": {"color": "red"}}
    assert app.remove_on_event_hook(first)
    assert app.remove_on_event_hook("second")
    assert not app.remove_on_event_hook("second")
    with pytest.raises(EventNotFound):
        app.match_route("x")
    with pytest.raises(EventNotFound, match="first"):
        app.get_route("first")
    app.add_on_event_hook(first, "x")
    assert app.match_route("x") == (app.routes["first"], {})


def test_a_miss_counts_when_it_was_triggered_only(
    app: App, runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed: list[int] = []
    monkeypatch.setattr(type(app.host.observer), "not_found", lambda _: missed.append(1))
    with pytest.raises(EventNotFound):
        app.match_route("x")
    assert not missed

    async def main() -> None:
        with pytest.raises(EventNotFound):
            app.trigger_event("x")

    runner.run(main())
    assert missed == [1]


def test_a_function_removes_its_own_routes_only(app: App) -> None:
    async def first() -> None: ...

    async def second() -> None: ...

    app.add_on_event_hook(first, "x", name="second")
    assert not app.remove_on_event_hook(second)
    assert app.remove_on_event_hook(first)
    assert not app.routes


def test_a_route_matches_alone() -> None:
    async def fn() -> None: ...

    route = Route("/{n:int}", fn, {"a": 1})
    assert route.match("/12") == {"n": 12}
    assert route.match("/x") is None
    assert (route.name, route.opts, list(route.convertors)) == ("fn", {"a": 1}, ["n"])
    assert "/{n:int}" in repr(route)
    assert repr(Hook(fn)) == "Hook(fn)"


def test_timeouts_and_cancellation(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x")
    async def handler() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        slow = app.trigger_event("x", timeout=0.01)
        with pytest.raises(TimeoutError):
            await slow
        assert isinstance(slow.event.error, TimeoutError)
        task = app.trigger_event("x")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert isinstance(task.event.error, asyncio.CancelledError)
        assert task.event.is_done

    runner.run(main())


def test_events_wait_for_each_other_and_wake_at_once(app: App, runner: asyncio.Runner) -> None:
    release = asyncio.Event()

    @app.on_event("part {n:int}")
    async def part(n: Param, event: Event) -> int:
        if n == 0:
            event.prevent_auto_done()
            asyncio.get_running_loop().call_soon(event.done)
        await release.wait()
        return int(n)

    @app.on_event("whole")
    async def whole(event: Event) -> list[int]:
        return await event.wait_event_done("part", n=3)

    async def main() -> None:
        ctx = app.new_ctx("job")
        task = ctx.trigger_event("whole")
        for n in range(5):
            await asyncio.sleep(0)
            ctx.trigger_event(f"part {n}")
        release.set()
        assert await task == [0, 1, 2] or await task == [None, 1, 2]  # 0 was done before it had a result
        assert await task.event.wait_event_done("part", n=0) == []
        with pytest.raises(TimeoutError):
            await task.event.wait_event_done("part", n=6, timeout=0.01)
        with pytest.raises(EventNotFound):
            await task.event.wait_event_done("nothing")
        await asyncio.gather(*app.lifecycle.running)

    runner.run(main())


def test_done_by_hand(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x")
    async def handler(event: Event) -> int:
        event.prevent_auto_done()
        return 1

    async def main() -> None:
        task = app.trigger_event("x")
        assert await task == 1
        event = task.event
        assert not event.is_done
        assert not event.auto_done
        waiting = asyncio.ensure_future(event.wait_until_done())
        cancelled = asyncio.ensure_future(event.wait_until_done())
        await asyncio.sleep(0)
        cancelled.cancel()
        event.done()
        event.done()
        await waiting
        await event.wait_until_done()
        with pytest.raises(EventAlreadyDone):
            event.prevent_auto_done()
        with pytest.raises(EventAlreadyDone):
            await event()

    runner.run(main())


def test_an_event_can_be_called(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x {n:int}")
    async def handler(n: Param) -> int:
        return int(n) * 2

    async def main() -> None:
        event = app.new_ctx().new_event(app.get_route("handler"), {}, {"n": 1})
        assert await event() == 2
        assert await event({"n": 4}) == 8
        assert event.result == 8
        assert "x {n:int}" in repr(event)

    runner.run(main())
