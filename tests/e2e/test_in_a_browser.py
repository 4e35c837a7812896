"""What an application serves, in a real browser: the page of its OpenAPI document, CORS, compression, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.server import Server, free_ports, serving
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("chromium"),
    pytest.mark.needs("chromedriver"),
    pytest.mark.timeout(120),
]

PROGRAM = """
import os
from typing import Annotated
from msgspec import Struct
from tiny_listener.http import CORS, Compress, Header, HTTPListener, RequestID, Response

app = HTTPListener()
app.openapi(title="<b>Shop</b>", description="<script>document.title = 'broken'</script>")
app.use(CORS(origins=[os.environ["ALLOWED"]], methods=["GET", "PUT"], headers=["x-key"], expose=["x-request-id"],
             credentials=True))
app.use(Compress())
app.use(RequestID())


class Item(Struct):
    name: str
    count: int = 1


@app.put("/items/{number}")
async def put(number: int, item: Item, x_key: Annotated[str, Header] = "none", note: str = "") -> dict[str, object]:
    \"\"\"Store an item.\"\"\"
    return {"number": number, "item": item, "key": x_key, "note": note}


@app.get("/long")
async def long() -> str:
    return "long " * 1000


@app.get("/page")
async def page() -> Response:
    return Response("<!doctype html><title>page</title>", content_type="text/html")
"""
FETCH = """
const done = arguments[arguments.length - 1];
fetch(arguments[0], arguments[1]).then(
    async (response) => done([response.status, response.headers.get("x-request-id"), await response.text()]),
    (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The server, and one whose pages may ask it; they are two origins, for they have two ports."""
    folder: Path = tmp_path_factory.mktemp("application")
    (folder / "shop.py").write_text(PROGRAM)
    (port,) = free_ports(1)
    env = {"ALLOWED": f"http://127.0.0.1:{port}"}
    with (
        serving("shop:app", cwd=folder, env=env) as server,
        serving("shop:app", cwd=folder, env=env, port=port) as other,
    ):
        yield server, other


def test_the_page_of_the_document_sends_requests(browser: Browser, servers: tuple[Server, Server]) -> None:
    browser.open(servers[0].port, path="/docs")
    assert browser.run("return document.title") == "<b>Shop</b>"
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    form = "form[data-method='PUT']"
    browser.type(f"{form} input[name='number']", "7")
    browser.type(f"{form} input[name='note']", "a&b")
    browser.type(f"{form} textarea", '{"name": "tea"}')
    browser.run("document.querySelector(arguments[0]).requestSubmit()", form)
    wait_for(lambda: browser.text(f"{form} output") != "")
    status, _, body = browser.text(f"{form} output").partition("\n")
    assert status == "200 OK"
    assert body == '{"number":7,"item":{"name":"tea","count":1},"key":"none","note":"a&b"}'
    assert browser.complaints() == []


def test_a_page_of_an_allowed_origin_reads_responses_and_another_does_not(
    browser: Browser, servers: tuple[Server, Server]
) -> None:
    server, allowed = servers
    url = f"http://127.0.0.1:{server.port}"
    options = {
        "method": "PUT",
        "headers": {"x-key": "k"},
        "body": '{"name": "tea"}',
        "credentials": "include",
    }
    browser.open(allowed.port, path="/page")
    refused = browser.driver.execute_async_script(FETCH, f"{url}/items/7", options)
    assert refused == [415, refused[1], refused[2]]  # the preflight passed, and the answer is read: it is no JSON
    assert refused[1]
    browser.open(allowed.port, path="/page")
    status, request_id, text = browser.driver.execute_async_script(FETCH, f"{url}/long", {"credentials": "include"})
    assert (status, text) == (200, "long " * 1000)
    assert request_id
    missing = browser.driver.execute_async_script(FETCH, f"{url}/nowhere", {"credentials": "include"})
    assert missing[0] == 404
    browser.complaints()
    browser.open(server.port, path="/page")
    other = f"http://127.0.0.1:{allowed.port}"  # it allows itself only
    assert "TypeError" in browser.driver.execute_async_script(FETCH, f"{other}/items/7", options)
    assert "TypeError" in browser.driver.execute_async_script(FETCH, f"{other}/long", {})
    assert any("CORS" in complaint for complaint in browser.complaints())


def test_the_browser_takes_what_was_compressed(browser: Browser, servers: tuple[Server, Server]) -> None:
    browser.open(servers[0].port, path="/long")
    sizes = browser.run(
        "const one = performance.getEntriesByType('navigation')[0]; return [one.encodedBodySize, one.decodedBodySize]"
    )
    assert sizes[1] == 5000
    assert sizes[0] < 500
    assert browser.text("body").strip() == ("long " * 1000).strip()
