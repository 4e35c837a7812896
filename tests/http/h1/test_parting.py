"""A drain resets nobody: clients that wake up at the worst moment are answered, or find the connection closed."""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http.helpers import serving, turns
from tests.http.memory import MemoryTransport
from tests.http.walls import get, until
from tiny_listener.core.runtime import Host
from tiny_listener.http import HTTPListener
from tiny_listener.http.h1.drain_schedule import EARLIEST, FRESH_GRACE, KEPT_GRACE, WINDOW, leaves_at
from tiny_listener.http.h1.kernel import has_unread
from tiny_listener.http.h1.server import HTTPServer
from tiny_listener.http.h1.states import State
from tiny_listener.http.h1.upkeep import enforce_limits, part

seconds = st.floats(0, 1000)


@given(seconds, seconds, st.floats(0, 2), st.booleans(), st.floats(0, 1))
def test_when_a_connection_leaves(began: float, idle: float, slack: float, has_asked: bool, share: float) -> None:
    leaves = leaves_at(began, last_active=began - idle, slack=slack, has_asked=has_asked, share=share)
    assert began + EARLIEST <= leaves <= began + max(EARLIEST + WINDOW, KEPT_GRACE, FRESH_GRACE)
    if not has_asked:
        assert leaves == began + FRESH_GRACE
    elif idle < slack:
        assert leaves >= began + KEPT_GRACE
    later = leaves_at(began, last_active=began + 0.5, slack=slack, has_asked=True, share=share)
    assert later >= began + 0.5 + KEPT_GRACE


def test_they_leave_one_after_the_other() -> None:
    leave = [leaves_at(0.0, last_active=-10.0, slack=1.0, has_asked=True, share=n / 100) for n in range(100)]
    assert leave == sorted(leave)
    assert len(set(leave)) == 100


def test_what_waits_in_the_kernel_is_seen() -> None:
    class Transport:
        def __init__(self, sock: socket.socket | None) -> None:
            self.sock = sock

        def get_extra_info(self, name: str) -> socket.socket | None:
            return self.sock

    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not has_unread(Transport(ours))
        theirs.send(b"x")
        assert has_unread(Transport(ours))
    assert not has_unread(Transport(ours))  # it is closed
    assert not has_unread(Transport(None))


def test_bytes_that_wait_are_answered_before_a_connection_is_closed(
    runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = [True]
    monkeypatch.setattr("tiny_listener.http.h1.upkeep.has_unread", lambda _: waits[0])

    async def main() -> None:
        app = HTTPListener()
        app.attach(Host())
        server = HTTPServer(app, app.settings)
        transport = MemoryTransport(server)
        await transport.feed(get("/x"))
        await until(lambda: bool(transport.written))
        (connection,) = server.connections
        server.drain()
        part(connection, now=1e9, began=0.0, slack=1.0)
        assert connection.state is State.IDLE
        await transport.feed(get("/x"))
        await until(lambda: b"connection: close" in transport.written)
        server.abort()

    runner.run(main())


def test_a_request_that_comes_as_keep_alive_ends_is_answered_or_meets_no_reset(runner: asyncio.Runner) -> None:
    async def main() -> None:
        async with serving() as server:
            client = await server.connect()
            assert (await client.ask(get("/user/Bob"))).status == 200
            http = server.app.http.server
            assert http is not None
            (connection,) = http.connections
            await client.send(get("/user/Ann"))
            assert has_unread(connection.transport)
            enforce_limits(connection, http.loop.time() + 100)  # nobody has read it yet
            assert (await client.receive()).body == b"Hello, Ann!"
            enforce_limits(connection, http.loop.time() + 100)
            assert connection.state is State.LINGERING
            await client.send(get("/user/Eve"))
            with pytest.raises(asyncio.IncompleteReadError):  # closed, and no ConnectionResetError
                await client.receive()
            await until(lambda: not http.connections)

    runner.run(main())


def test_a_loop_that_was_blocked_resets_no_client(runner: asyncio.Runner) -> None:
    """What a client sent while nobody read is discarded before its connection closes; but only once."""
    app = HTTPListener()

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            assert (await client.ask(get("/"))).status == 404
            assert app.http.server is not None
            app.http.server.drain()
            (connection,) = app.http.server.connections
            await until(lambda: connection.state is State.LINGERING)
            await client.send(get("/"))
            assert has_unread(connection.transport)
            enforce_limits(connection, app.http.server.loop.time() + 100)
            assert not connection.transport.is_closing()
            await until(lambda: not has_unread(connection.transport))
            await client.send(get("/"))
            assert has_unread(connection.transport)
            enforce_limits(connection, app.http.server.loop.time() + 100)
            assert connection.transport.is_closing()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.receive()

    runner.run(main())


@pytest.mark.parametrize("clients", [150])
def test_clients_that_wake_up_at_the_worst_moment(runner: asyncio.Runner, clients: int) -> None:
    """Some ask just when the drain begins, others at any moment of it: none of them is reset."""
    app = HTTPListener()

    @app.get("/")
    async def home() -> str:
        return "home"

    ends: Counter[str] = Counter()
    chance = random.Random(7)

    async def main() -> None:
        async with serving(app) as server:
            opened = [await server.connect() for _ in range(clients)]
            for client in opened:
                assert (await client.ask(get("/"))).body == b"home"
            http = app.http.server
            assert http is not None
            for connection in http.connections:  # they have been idle for long
                connection.last_active -= 100

            async def wake(number: int) -> None:
                client = opened[number]
                at_once = number % 3 == 0
                if not at_once:
                    await asyncio.sleep(chance.random() * 2)
                    await turns(3)  # after a stall, what has come meanwhile is read before anything is sent
                if client.reader.at_eof():  # as those see who look before they send, such as pools of connections
                    ends["seen"] += 1
                    return
                try:
                    await client.send(get("/"))
                    response = await client.receive()
                except asyncio.IncompleteReadError:
                    end = "closed"
                except ConnectionResetError:
                    end = "reset"
                else:
                    assert response.headers["connection"] == "close"
                    end = "answered"
                ends[end] += 1
                if at_once:
                    assert end == "answered"

            http.drain()
            assert len(http.connections) == clients
            await asyncio.gather(*(wake(number) for number in range(clients)))
            await asyncio.wait_for(http.wait_drained(), 10)

    runner.run(main())
    assert ends["reset"] == 0, ends
    assert ends["answered"] >= clients // 3
