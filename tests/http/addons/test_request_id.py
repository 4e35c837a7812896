"""RequestID: in the response, in the context variable, and in what is logged meanwhile."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.http.helpers import serving
from tests.http.walls import get
from tiny_listener import Param
from tiny_listener.cli.logs import JSONFormatter, TextFormatter
from tiny_listener.http import HTTPListener, Request, RequestID, Response, request_id
from tiny_listener.http.testing import TestClient

other = logging.getLogger("an.application")


@pytest.fixture
def addon() -> Iterator[RequestID]:
    one = RequestID()
    yield one
    one.remove_from_logs()


def application(addon: RequestID) -> HTTPListener:
    app = HTTPListener()
    app.use(addon)

    @app.before_event
    async def before() -> None:
        other.warning("before %s", request_id.get())

    @app.get("/")
    async def home() -> str:
        other.warning("home")
        return str(request_id.get())

    @app.get("/late")
    async def late() -> str:
        await asyncio.sleep(0)
        return await asyncio.create_task(home())

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield str(request_id.get())
        other.warning("stream")

    @app.get("/fail/{how}")
    async def fail(how: Param) -> str:
        if how == "late":
            await asyncio.sleep(0)
        raise KeyError(how)

    @app.get("/own")
    async def own() -> Response:
        other.warning("own", extra={"request_id": "mine"})
        return Response("x", headers={"X-Request-ID": "mine"})

    return app


@pytest.mark.parametrize("target", ["/", "/late", "/stream"])
def test_an_id_goes_in_and_out(addon: RequestID, caplog: pytest.LogCaptureFixture, target: str) -> None:
    client = TestClient(application(addon))
    response = client.get(target, headers={"X-Request-Id": "a.b-c_1"})
    assert (response.text, response.headers["x-request-id"]) == ("a.b-c_1", "a.b-c_1")
    assert [record.request_id for record in caplog.records] == ["a.b-c_1"] * 2  # type: ignore[attr-defined]
    ids = {client.get(target).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(len(one) == 32 for one in ids)
    assert request_id.get() is None


@pytest.mark.parametrize("given", ["x" * 128, "a", "A-Z_0.9~:/+=@"])
def test_ids_that_are_taken(addon: RequestID, given: str) -> None:
    assert TestClient(application(addon)).get("/", headers={"x-request-id": given}).text == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", 'a"', "a,b", "\xe9", "a;", "a%0a", "{a}"])
def test_ids_that_are_not_taken(addon: RequestID, given: str) -> None:
    response = TestClient(application(addon)).get("/", headers={"x-request-id": given})
    assert len(response.text) == 32
    assert response.headers["x-request-id"] == response.text


def test_two_fields_are_no_id(addon: RequestID) -> None:
    fields = [("x-request-id", "a"), ("x-request-id", "b")]
    assert len(TestClient(application(addon)).get("/", headers=fields).text) == 32


def test_responses_of_the_server_have_one(runner: asyncio.Runner, addon: RequestID) -> None:
    app = application(addon)
    seen = []

    @app.on_response
    async def hook(request: Request | None, response: Response) -> None:
        seen.append(request_id.get())

    async def main() -> None:
        async with serving(app) as server:
            response = await server.ask(get("/nothing", fields="x-request-id: a\r\n"))
            assert (response.status, response.headers["x-request-id"]) == (404, "a")
            first = (await server.ask(b"nonsense\r\n\r\n")).headers["x-request-id"]
            client = await server.connect()
            one, two = (await client.ask(get("/nothing"))).headers, (await client.ask(get("/nothing"))).headers
            assert len({first, one["x-request-id"], two["x-request-id"]}) == 3
            assert seen == ["a", first, one["x-request-id"], two["x-request-id"]]

    runner.run(main())


@pytest.mark.parametrize("target", ["/fail/now", "/fail/late", "/stream?fails"])
def test_failures_and_the_access_log_have_it(
    runner: asyncio.Runner, addon: RequestID, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    app = application(addon)

    @app.on_response
    async def hook(request: Request | None, response: Response) -> None:
        if request is not None and request.query_string:
            raise KeyError("hook")

    async def main() -> None:
        async with serving(app, access_log=True) as server:
            response = await server.ask(get(target, fields="x-request-id: a\r\n"))
            assert response.status == 500
            await server.ask(get("/nothing", fields="x-request-id: b\r\n"))

    with caplog.at_level(logging.INFO):
        runner.run(main())
    found = [(record.name, getattr(record, "request_id", None)) for record in caplog.records]
    logged = [(name, known) for name, known in found if known is not None and name != other.name]
    assert logged == [("tiny_listener", "a"), ("tiny_listener.access", "a"), ("tiny_listener.access", "b")]


def test_lines_of_the_log(addon: RequestID, caplog: pytest.LogCaptureFixture) -> None:
    TestClient(application(addon)).get("/", headers={"x-request-id": "a"})
    record = caplog.records[1]
    assert TextFormatter().format(record) == "WARNING:  [a] home"
    entry = json.loads(JSONFormatter().format(record))
    assert (entry["message"], entry["request_id"]) == ("home", "a")
    assert logging.Formatter("%(request_id)s").format(record) == "a"
    for other_record in (copy.copy(record), pickle.loads(pickle.dumps(record))):
        assert vars(other_record)["request_id"] == "a"


def test_what_an_application_says_itself_stays(addon: RequestID, caplog: pytest.LogCaptureFixture) -> None:
    response = TestClient(application(addon)).get("/own", headers={"x-request-id": "a"})
    assert response.headers.getlist("x-request-id") == ["mine"]
    assert caplog.records[1].request_id == "mine"  # type: ignore[attr-defined]


def test_records_outside_of_requests_are_as_before(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    one, two = RequestID(), RequestID("x-correlation-id")
    app: Any = HTTPListener()
    app.use(one)
    app.use(two)
    other.warning("outside")
    assert not hasattr(caplog.records[0], "request_id")
    assert "request_id" not in TextFormatter().format(caplog.records[0])
    one.remove_from_logs()  # another stands in front: this one adds nothing
    two.remove_from_logs()
    two.remove_from_logs()
    token = request_id.set("a")
    other.warning("within")
    request_id.reset(token)
    assert not hasattr(caplog.records[1], "request_id")
    logging.setLogRecordFactory(before)


def test_events_of_other_sources_have_none(addon: RequestID) -> None:
    app = application(addon)
    seen = []

    @app.on_event("other")
    async def handle() -> None:
        seen.append(request_id.get())

    @app.get("/trigger")
    async def trigger() -> str:
        await app.trigger_event("other")
        return "done"

    async def main() -> None:
        await app.trigger_event("other")

    asyncio.run(main())
    TestClient(app).get("/trigger", headers={"x-request-id": "a"})
    assert seen == [None, "a"]


def test_a_server_that_is_opened_within_a_request_has_ids_of_its_own(addon: RequestID) -> None:
    token = request_id.set("outer")
    try:
        client = TestClient(application(addon))
        for target in ("/", "/nothing"):
            assert client.get(target, headers={"x-request-id": "inner"}).headers["x-request-id"] == "inner"
            assert len(client.get(target).headers["x-request-id"]) == 32
    finally:
        request_id.reset(token)


@pytest.mark.parametrize(("name", "message"), [("a b", "is not a header name"), ("date", "the server writes")])
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RequestID(name)
