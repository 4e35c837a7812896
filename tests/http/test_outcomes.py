"""How events count that reject what a client asks for: not as failures, and down to the last count."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_listener_metrics import Ledger, Recorder, Series
from tiny_listener_metrics.series import EVENTS, OUTCOMES

from tests.http.helpers import serving
from tests.http.walls import Counting, until
from tiny_listener import Depends, Event, Listener, Param
from tiny_listener.core.dispatch import outcome_of
from tiny_listener.core.runtime import Host
from tiny_listener.errors import ListenerError
from tiny_listener.http import FileResponse, HTTPError, HTTPListener, Request, Response
from tiny_listener.http.errors import BodyTooLargeError, ClientDisconnectedError, ProtocolError
from tiny_listener.http.testing import TestClient


class UnsetError(HTTPError):
    def __init__(self) -> None:
        """Leave out what the base class does."""


class ForeignError(Exception):
    """Somebody else's exception, whose attributes have nothing to do with ours."""

    outcome = "win"
    is_rejection = True


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (HTTPError(400), "rejected"),
        (HTTPError(499), "rejected"),
        (HTTPError(500), "error"),
        (HTTPError(599), "error"),
        (ProtocolError(408, "too slow"), "rejected"),
        (ProtocolError(501, "unknown"), "error"),
        (BodyTooLargeError(9), "rejected"),
        (ClientDisconnectedError(), "rejected"),
        (ListenerError(), "error"),
        (UnsetError(), "error"),
        (ForeignError(), "error"),
        (TimeoutError(), "error"),
        (SystemExit(), "error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
    ids=repr,
)
def test_what_an_exception_means(error: BaseException, outcome: str) -> None:
    assert outcome_of(error) == outcome


def application(*, hooked: bool = False) -> HTTPListener:  # noqa: C901 - many small handlers
    app = HTTPListener()
    if hooked:

        @app.before_event
        async def guard(event: Event) -> None:
            if event.route.path == "GET:/guarded":
                raise HTTPError(401)

    async def needs() -> None:
        raise HTTPError(403)

    @app.get("/at-once/{status:int}")
    async def at_once(status: Param) -> None:
        raise HTTPError(int(str(status)))

    @app.get("/late/{status:int}")
    async def late(status: Param) -> None:
        await asyncio.sleep(0)
        raise HTTPError(int(str(status)))

    @app.get("/guarded")
    async def guarded() -> str:
        return "in"

    @app.get("/needs")
    async def needing(value: None = Depends(needs)) -> str:
        return "in"

    @app.get("/returned")
    async def returned() -> Response:
        return Response("", 404)

    @app.get("/file")
    async def file() -> FileResponse:
        return FileResponse("/nowhere")

    @app.get("/unsendable")
    async def unsendable() -> str:
        raise HTTPError(404, "\udce9")

    @app.get("/stream")
    async def stream() -> Any:
        yield "begun"
        raise HTTPError(404)

    @app.post("/small", max_body=3)
    async def small(request: Request) -> bytes:
        return await request.body()

    return app


REQUESTS = [
    ("GET", "/at-once/404", "rejected"),
    ("GET", "/at-once/499", "rejected"),
    ("GET", "/at-once/500", "error"),
    ("GET", "/late/404", "rejected"),
    ("GET", "/late/500", "error"),
    ("HEAD", "/at-once/404", "rejected"),
    ("GET", "/needs", "rejected"),
    ("GET", "/returned", "ok"),
    ("GET", "/file", "rejected"),
]


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize(("method", "path", "outcome"), REQUESTS, ids=str)
def test_requests(method: str, path: str, outcome: str, *, hooked: bool) -> None:
    app = application(hooked=hooked)
    observer: Any = Counting()
    app.attach(Host(observer=observer))
    TestClient(app, raise_server_exceptions=False).request(method, path)
    assert observer.outcomes == [outcome]


def test_a_hook_that_rejects() -> None:
    app = application(hooked=True)
    observer: Any = Counting()
    app.attach(Host(observer=observer))
    assert TestClient(app).get("/guarded").status_code == 401
    assert observer.outcomes == ["rejected"]


def test_an_error_handler_may_reject_and_a_rejection_may_be_answered() -> None:
    app = application(hooked=True)

    @app.on_error(HTTPError)
    async def answer(error: HTTPError) -> Response | None:
        if error.status == 500:
            raise HTTPError(409)
        return Response("answered", 200) if error.status == 404 else None

    observer: Any = Counting()
    app.attach(Host(observer=observer))
    client = TestClient(app)
    assert [client.get(f"/late/{status}").status_code for status in (500, 404, 403)] == [409, 200, 403]
    assert observer.outcomes == ["rejected"] * 3


def test_a_stream_that_has_begun_has_failed() -> None:
    app = application()
    observer: Any = Counting()
    app.attach(Host(observer=observer))
    with pytest.raises(ConnectionError):
        TestClient(app, raise_server_exceptions=False).get("/stream")
    assert observer.outcomes == ["error"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
        (b"Content-Length: 3\r\n\r\na", 400),  # and no more
    ],
)
def test_bodies_that_are_wrong(runner: asyncio.Runner, data: bytes, status: int) -> None:
    app = application()
    observer: Any = Counting()
    app.attach(Host(observer=observer))

    async def main() -> None:
        async with serving(app) as server:
            client = await server.connect()
            await client.send(b"POST /small HTTP/1.1\r\nHost: x\r\n")
            await client.send(data)
            client.writer.write_eof()
            assert (await client.receive()).status == status
            await until(lambda: observer.outcomes == ["rejected"])

    runner.run(main())


def test_events_of_other_sources() -> None:
    app: Listener[Any] = Listener()
    observer: Any = Counting()
    app.attach(Host(observer=observer))

    @app.on_event("refuse")
    async def refuse() -> None:
        raise HTTPError(404)

    @app.on_event("wait")
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise HTTPError(404)

    async def main() -> None:
        with pytest.raises(HTTPError):
            await app.trigger_event("refuse")
        with pytest.raises(HTTPError):
            await app.trigger_event("wait", timeout=0.001)

    asyncio.run(main())
    assert observer.outcomes == ["rejected", "timeout"]  # the second one had run out of time before


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([(method, path) for method, path, _ in REQUESTS]), max_size=20), st.booleans())
def test_each_is_counted_once_in_the_memory_that_the_owner_reads(asked: list[tuple[str, str]], hooked: bool) -> None:
    expected = {(method, path): outcome for method, path, outcome in REQUESTS}
    app = application(hooked=hooked)
    ledger = Ledger()
    row = ledger.open_row()
    app.attach(Host(observer=Recorder(row.writer())))
    with TestClient(app, raise_server_exceptions=False) as client:
        for method, path in asked:
            client.request(method, path)
    ledger.close_row(row)
    totals = [0] * len(OUTCOMES)
    for series, words in ledger.totals().items():
        if isinstance(series, Series) and series.family == EVENTS.name:
            totals = [one + more for one, more in zip(totals, words, strict=True)]
    found = dict(zip(OUTCOMES, totals, strict=True))
    outcomes = [expected[one] for one in asked]
    assert found == {outcome: outcomes.count(outcome) for outcome in OUTCOMES}
