"""Published events under the test clients: in memory, handled before a call returns, and never in a user's folder."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tiny_listener import Event, EventNotFound, EventsOverloaded, Retry
from tiny_listener.core.publishing import embedded
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient, httpx_transport


@pytest.fixture(autouse=True)
def _no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        pytest.fail("the state folder of the user")

    monkeypatch.setattr(embedded, "default_carrier", fail)


class Shop:
    """Publishes what it is asked for, and writes down what it handles."""

    def __init__(self) -> None:
        self.app = app = HTTPListener()
        self.seen: list[str] = []

        @app.post("/go/{n:int}")
        async def go(n: int) -> dict[str, bool]:
            return {"duplicate": (await app.publish(f"order {n}", {"n": n}, key="k", id=f"id {n}")).duplicate}

        @app.get("/sum/{n:int}")
        async def total(n: int) -> int:
            return int(await app.request(f"double {n}"))

        @app.get("/nobody")
        async def nobody() -> None:
            await app.publish("nobody")

        @app.on_event("order {n}", retry=Retry())
        async def order(n: str, event: Event) -> None:
            await asyncio.sleep(0)
            self.seen.append(n)

        @app.on_event("double {n:int}")
        async def double(n: int) -> int:
            return 2 * n


def test_in_a_session() -> None:
    shop = Shop()
    for _ in range(2):  # the second session has a new memory
        with TestClient(shop.app) as client:
            assert client.post("/go/1").json() == {"duplicate": False}
            assert client.post("/go/1").json() == {"duplicate": True}
            assert client.post("/go/2").status_code == 200
            assert client.get("/sum/21").json() == 42
            with pytest.raises(EventNotFound, match="nobody"):
                client.get("/nobody")
    assert shop.seen == ["1", "2", "1", "2"]
    assert shop.app.host.carrier is None
    assert shop.app.publisher is None


def test_without_one_each_request_has_its_own_memory() -> None:
    shop = Shop()
    client = TestClient(shop.app)
    assert client.post("/go/1").json() == {"duplicate": False}
    assert client.post("/go/1").json() == {"duplicate": False}
    assert client.get("/sum/4").json() == 8
    assert shop.seen == ["1", "1"]


def test_in_a_running_loop(runner: asyncio.Runner) -> None:
    shop = Shop()

    async def main() -> None:
        transport = httpx_transport(shop.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            responses = await asyncio.gather(*(client.post(f"/go/{n}") for n in range(5)))
            assert [response.json() for response in responses] == [{"duplicate": False}] * 5
            assert (await client.post("/go/1")).json() == {"duplicate": True}
            assert (await client.get("/sum/1")).json() == 2

    runner.run(main())
    assert sorted(shop.seen) == ["0", "1", "2", "3", "4"]
    assert shop.app.publisher is None


def test_an_event_that_does_not_end_delays_a_call_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiny_listener.http.testing.events.PATIENCE", 0.01)
    app = HTTPListener()

    @app.post("/go")
    async def go() -> None:
        await app.publish("stuck")

    @app.on_event("stuck")
    async def stuck() -> None:
        await asyncio.Event().wait()

    app.host.graceful_timeout = 0.01
    with TestClient(app) as client:
        assert client.post("/go").status_code == 204


def test_a_handler_whose_event_finds_no_room_answers_503(caplog: pytest.LogCaptureFixture) -> None:
    app = HTTPListener()

    @app.post("/go")
    async def go() -> None:
        raise EventsOverloaded("100000 events are waiting")

    with TestClient(app) as client:
        response = client.post("/go")
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "published in vain: 100000 events are waiting" in caplog.text
