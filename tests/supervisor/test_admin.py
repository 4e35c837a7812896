"""The admin endpoint, asked in process: who is let in, what the page is, and what it is told."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from importlib import resources
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_listener_metrics import Exposition, Ledger, ProcessView, ServerView
from tiny_listener_supervisor import Admin, Supervisor
from tiny_listener_supervisor.admin.access import challenges, is_allowed
from tiny_listener_supervisor.admin.page import SCRIPTS, page
from tiny_listener_supervisor.admin.status import of_the_only_process
from tiny_listener_supervisor.fleet.slot import Slot, Worker, WorkerState

import tiny_listener
from tests.metrics.helpers import work, worker
from tiny_listener.http.testing import TestClient, TestResponse

TOKEN = "s3cret:token"
PRIVATE = ("/", "/metrics", "/status.json", "/overview.json", "/no/such/page")


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


class Fake:
    """A server of one process."""

    is_ready = True

    def status(self) -> Any:
        return of_the_only_process("ready", 1.5, ["127.0.0.1:8000"], 0, 7, lag=0.25)

    async def refresh(self) -> None:
        """Nothing to bring up to date."""


def client_of(exposition: Exposition | None = None, token: str | None = None) -> TestClient:
    admin = Admin(exposition, "127.0.0.1", 0, required=True, token=token, allowed_hosts=["testserver"])
    admin._watched = Fake()
    admin.show_processes(lambda: ServerView([ProcessView("0")], 3, 5, {"ready": 1}, {"signal": 2}))
    return TestClient(admin.listener)


@pytest.fixture
def measuring() -> Iterator[TestClient]:
    ledger = Ledger()
    with worker(ledger) as (_, recorder):
        work(recorder, 2)
        yield client_of(Exposition(ledger, version="1"))


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [
        (f"Bearer {TOKEN}", True),
        (f"bearer  {TOKEN} ", True),
        (basic(f"admin:{TOKEN}"), True),
        (basic(f":{TOKEN}").replace("Basic", "bAsIc"), True),
        (None, False),
        ("", False),
        ("Bearer", False),
        (f"Bearer {TOKEN}x", False),
        (f"Bearer {TOKEN[:-1]}", False),
        ("Bearer \xfc\u20ac", False),
        (TOKEN, False),
        (f"Token {TOKEN}", False),
        (f"Basic {TOKEN}", False),
        ("Basic", False),
        ("Basic \u20ac", False),
        (basic(TOKEN), False),  # a name of "s3cret", and a password of "token"
        (basic(f"{TOKEN}:"), False),
        (basic("admin:wrong"), False),
    ],
)
def test_who_has_the_token(authorization: str | None, allowed: bool) -> None:
    assert is_allowed(authorization, TOKEN.encode()) is allowed


def test_only_people_are_asked_for_a_password() -> None:
    assert [value.split()[0] for _, value in challenges(None)] == ["Bearer", "Basic"]
    assert [value.split()[0] for _, value in challenges("document")] == ["Bearer", "Basic"]
    assert [value.split()[0] for _, value in challenges("empty")] == ["Bearer"]


@pytest.mark.parametrize("path", PRIVATE)
def test_all_but_the_probes_wants_the_token(path: str) -> None:
    client = client_of(token=TOKEN)
    for method in ("GET", "HEAD"):
        refused = client.request(method, path)
        assert refused.status_code == 401, method
    assert client.get(path).text == "the admin token is required\n"
    assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
    given = client.get(path, headers={"authorization": f"Bearer {TOKEN}"})
    assert given.status_code == client_of().get(path).status_code


def test_the_probes_want_no_token() -> None:
    client = client_of(token=TOKEN)
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_without_a_token_everybody_may_ask() -> None:
    client = client_of()
    assert [client.get(path).status_code for path in PRIVATE] == [200, 404, 200, 200, 404]


def header(response: TestResponse, name: str) -> str:
    return str(response.headers[name])


def test_the_page_holds_all_that_it_needs_and_nothing_else_may_run() -> None:
    response = client_of().get("/")
    html, policy = response.text, header(response, "content-security-policy")
    assert header(response, "content-type") == "text/html; charset=utf-8"
    assert header(response, "cache-control") == "no-store"
    assert header(response, "x-content-type-options") == "nosniff"
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
        assert f"/* {tag} */" not in html
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    outside = re.sub(r"http://www\.w3\.org/2000/svg", "", html)
    assert not re.search(r"https?://|\bsrc=|@import|url\(", outside)
    assert not re.search(r"<[^>]+\s(on[a-z]+|style)=", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", html)


def test_every_asset_is_in_the_page() -> None:
    assets = resources.files("tiny_listener_supervisor.admin") / "assets"
    assert {one.name for one in assets.iterdir()} == {"page.html", "page.css", *SCRIPTS}
    body = page().body.decode()
    assert all((assets / name).read_text(encoding="utf-8") in body for name in SCRIPTS)


def test_the_overview_is_what_the_page_needs(measuring: TestClient) -> None:
    response = measuring.get("/overview.json")
    overview, again = response.json(), measuring.get("/overview.json").json()
    assert header(response, "content-type") == "application/json"
    assert overview["instance"] == again["instance"]
    assert overview["clock"] < again["clock"]
    assert overview["version"] == tiny_listener.__version__
    assert overview["server"].keys() == measuring.get("/status.json").json().keys()
    (process,) = overview["server"]["processes"]
    assert (process["events"], process["lag"], process["accept_queue"]) == (7, 0.25, 0)
    assert process["cpu"] > 0
    shown = overview["measured"]
    assert (shown["in_progress"], shown["connections"], shown["restarts"]) == (3, 5, {"signal": 2})
    assert shown["counts"]["not_found"] == 2
    (route,) = shown["counts"]["routes"]
    assert route["outcomes"] == {"ok": 2, "error": 2, "timeout": 2, "cancelled": 2, "rejected": 2}
    assert len(route["buckets"]) == len(shown["counts"]["bounds"]) + 1


def test_the_overview_comes_in_gzip_where_that_is_taken(measuring: TestClient) -> None:
    response = measuring.get("/overview.json", headers={"accept-encoding": "gzip"})
    assert header(response, "content-encoding") == "gzip"
    assert json.loads(gzip.decompress(response.content))["measured"]["connections"] == 5


@pytest.mark.parametrize(
    ("path", "vary"),
    [
        ("/metrics", "accept, accept-encoding"),
        ("/overview.json", "accept-encoding"),
        ("/status.json", None),
        ("/", None),
    ],
)
def test_caches_keep_nothing_and_are_told_what_decides(measuring: TestClient, path: str, vary: str | None) -> None:
    for accepted in ("identity", "gzip"):
        response = measuring.get(path, headers={"accept-encoding": accepted})
        assert (header(response, "cache-control"), response.headers.get("vary")) == ("no-store", vary)


def test_another_start_is_another_instance() -> None:
    assert len({client_of().get("/overview.json").json()["instance"] for _ in range(2)}) == 2


def test_without_metrics_there_are_still_processes() -> None:
    overview = client_of().get("/overview.json").json()
    assert overview["measured"] is None
    assert overview["server"]["processes"][0]["state"] == "ready"


def ready(slots: list[Slot], *, stopping: bool = False) -> bool:
    supervisor: Any = SimpleNamespace(slots=slots, stopping=stopping)
    return bool(Supervisor.is_ready.__get__(supervisor))


def slot(state: WorkerState | None, *, retired: bool = False, joining: bool = False) -> Slot:
    channel: Any = None
    shown = memoryview(bytearray(8)).cast("d")
    one = Worker(None, 1, channel, None, shown, 0.0, state=state) if state else None
    return Slot(0, one, retired=retired, joining=joining)


def test_ready_is_every_slot_in_use_and_at_least_one() -> None:
    assert ready([slot(WorkerState.READY), slot(WorkerState.READY)])
    assert ready([slot(WorkerState.READY), slot(None, retired=True)])
    assert ready([slot(WorkerState.READY), slot(WorkerState.STARTING, joining=True)])
    assert not ready([slot(WorkerState.READY)], stopping=True)
    assert not ready([slot(WorkerState.READY), slot(None)])
    assert not ready([slot(WorkerState.READY), slot(WorkerState.STARTING)])
    assert not ready([slot(WorkerState.DRAINING)])
    # The worker that was ready died, and its slot was the one that TTOU retired.
    assert not ready([slot(WorkerState.STARTING, joining=True), slot(None, retired=True)])
