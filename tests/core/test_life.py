"""Contexts and the life of a listener."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from tiny_listener import (
    Context,
    ContextAlreadyExists,
    ContextNotFound,
    DuplicateListener,
    Listener,
    ListenerNotFound,
    get_current_running_listener,
)
from tiny_listener.core import lifecycle
from tiny_listener.net.provider import ListenAddress


class MyContext(Context):
    """A context of the application's own."""


class App(Listener[MyContext]):
    async def listen(self) -> None:
        """Nothing to open."""


@pytest.fixture
def app() -> App:
    return App()


def test_contexts_that_were_named_live_until_they_are_dropped(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x")
    async def handler() -> None: ...

    async def main() -> None:
        await app.trigger_event("x", cid="one")
        await app.trigger_event("x", cid="one")
        await app.trigger_event("x")
        await asyncio.sleep(0)  # the step that woke us still holds the last task
        gc.collect()
        assert list(app.ctxs) == ["one"]
        ctx = app.get_ctx("one")
        assert len(ctx.events[app.get_route("handler")]) == 2
        with pytest.raises(ContextAlreadyExists, match="one"):
            app.new_ctx("one")
        assert ctx.is_alive
        assert ctx.drop()
        assert not ctx.drop()
        assert not ctx.is_alive
        with pytest.raises(ContextNotFound, match="one"):
            app.get_ctx("one")
        ctx2 = app.new_ctx(scope={"a": 1})
        assert app.get_ctx(ctx2.cid) is ctx2
        assert ctx2.scope == {"a": 1}
        assert ctx2.drop()
        assert len(app.ctxs) == 0
        assert ctx2.cid in repr(ctx2)

    runner.run(main())


def test_contexts_of_the_framework_do_not_leak(app: App, runner: asyncio.Runner) -> None:
    @app.on_event("x")
    async def handler(ctx: MyContext) -> str:
        return ctx.cid

    async def main() -> None:
        for _ in range(100):
            await app.trigger_event("x")
        await asyncio.sleep(0)  # the step that woke us still holds the last task
        gc.collect()
        assert len(app.ctxs) == 0

    runner.run(main())


def test_the_context_class_comes_from_the_hint_or_from_the_setter() -> None:
    assert type(App().new_ctx()) is MyContext
    plain: Listener[MyContext] = Listener()
    assert type(plain.new_ctx()) is Context
    plain.set_context_cls(MyContext)
    assert type(plain.new_ctx()) is MyContext


def test_only_one_listener_runs_in_a_thread(runner: asyncio.Runner) -> None:
    found: list[Any] = []

    class Nested(Listener):
        async def listen(self) -> None:
            found.append(get_current_running_listener())
            with pytest.raises(DuplicateListener):
                Nested().run()
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self.graceful_shutdown()))

    app = Nested()
    thread = threading.Thread(target=app.run)
    thread.start()
    thread.join(10)
    assert found == [app]
    with pytest.raises(ListenerNotFound):
        get_current_running_listener()


def test_startup_and_shutdown_run_in_order() -> None:
    seen: list[str] = []

    class Ordered(Listener):
        async def listen(self) -> None:
            seen.append("listen")
            self.trigger_event("slow")
            asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(self.graceful_shutdown()))

    app = Ordered()

    @app.startup
    async def start() -> None:
        seen.append("start")

    @app.shutdown
    async def broken() -> None:
        raise ValueError("a broken callback does not keep the others from running")

    @app.shutdown
    async def stop() -> None:
        seen.append("stop")

    @app.on_event("slow")
    async def slow() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        seen.append("slow")

    app.run()
    assert seen == ["start", "listen", "slow", "stop"]
    app.run()
    assert seen == ["start", "listen", "slow", "stop"] * 2


class _SlowSockets:
    """Hands out sockets, each later than a `listen()` without servers is given; tells who was ready before."""

    def __init__(self, app: Listener) -> None:
        self.app = app
        self.ready: list[bool] = []
        self.sockets: list[socket.socket] = []

    async def acquire(self, addresses: Sequence[ListenAddress]) -> list[socket.socket]:
        await asyncio.sleep(3 * lifecycle.READY_AFTER)
        self.ready.append(self.app.lifecycle.state is lifecycle.State.READY)
        self.sockets.append(socket.create_server(("127.0.0.1", 0)))
        return self.sockets[-1:]


@pytest.mark.parametrize("last", ["forever", "returns", "fails"])
def test_a_listener_is_ready_when_all_servers_that_it_opens_are_up(last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "READY_AFTER", 0.02)

    class Many(Listener):
        async def listen(self) -> None:
            loop: Any = asyncio.get_running_loop()
            loop.socket_provider = slow
            servers = [await loop.create_server(asyncio.Protocol, "127.0.0.1", 0) for _ in range(3)]
            if last == "fails":
                with pytest.raises(TypeError):
                    await loop.create_server()
            if last != "returns":
                await servers[-1].serve_forever()

    app = Many()
    slow = _SlowSockets(app)
    became_ready: list[int] = []
    stopping: list[asyncio.Future[None]] = []

    def on_ready() -> None:
        became_ready.append(len(slow.sockets))
        stopping.append(asyncio.ensure_future(app.graceful_shutdown()))

    app.host.on_ready = on_ready
    app.run()
    for sock in slow.sockets:
        sock.close()
    assert slow.ready == [False, False, False]
    assert became_ready == [3]


@pytest.mark.parametrize(("graceful", "named"), [(0.05, True), (20, False)])
def test_the_graceful_timeout_bounds_running_events(
    graceful: float, named: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    release = asyncio.Event()

    @app.on_event("stuck")
    async def stuck() -> None:
        await release.wait()

    @app.startup
    async def start() -> None:
        app.trigger_event("stuck")
        asyncio.get_running_loop().call_soon(lambda: asyncio.ensure_future(app.graceful_shutdown()))
        if not named:
            asyncio.get_running_loop().call_later(0.05, release.set)

    app.host.graceful_timeout = graceful
    app.run()
    assert ("event 'stuck'" in caplog.text) is named


def test_a_listener_without_listen_says_so() -> None:
    class Bare(Listener):
        pass

    app = Bare()
    with pytest.raises(NotImplementedError, match="Bare has no source of events: define `async def listen"):
        app.run()


def test_the_drain_can_be_awaited_by_many_and_again(app: App, runner: asyncio.Runner) -> None:
    ended: list[int] = []

    async def wait(number: int) -> None:
        await app.draining
        ended.append(number)

    async def main() -> None:
        running = asyncio.ensure_future(app.main())
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(wait(number)) for number in range(3)]
        await asyncio.sleep(0)
        assert not app.is_draining
        assert ended == []
        await app.graceful_shutdown()
        await running
        await asyncio.gather(*waiting)
        assert ended == [0, 1, 2]
        assert app.is_draining
        await asyncio.wait_for(app.draining, 5)

    runner.run(main())


def test_a_second_reason_to_stop_is_no_hurry_but_a_second_call_is(app: App, runner: asyncio.Runner) -> None:
    release = asyncio.Event()
    ended: list[str] = []

    @app.on_event("waits")
    async def waits() -> None:
        try:
            await release.wait()
            ended.append("finished")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main(*, hurry: bool) -> None:
        release.clear()
        running = asyncio.ensure_future(app.main())
        await asyncio.sleep(0)
        event = app.trigger_event("waits")
        await asyncio.sleep(0)
        stopping = app.lifecycle.begin_stop(app.host)
        assert app.lifecycle.begin_stop(app.host, cut=True) is stopping
        if hurry:
            await app.graceful_shutdown()
        else:
            asyncio.get_running_loop().call_later(0.05, release.set)
        await stopping
        await running
        await asyncio.wait({event})

    runner.run(main(hurry=False))
    runner.run(main(hurry=True))
    assert ended == ["finished", "cancelled"]
