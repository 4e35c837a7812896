"""What the status page shows of published events, in a real browser."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.e2e.carriers import carried
from tests.server import serving
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("chromium"),
    pytest.mark.needs("chromedriver"),
    pytest.mark.timeout(120),
]

PUBLISHING = """
from tiny_listener import Reject
from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.on_event("note <b>{what}</b>")
async def note(what: str) -> None:
    if what == "nothing":
        raise Reject("nothing")


@app.post("/note/{what}")
async def publish(what: str) -> str:
    return (await app.publish(f"note <b>{what}</b>")).id
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        yield found


def pids(browser: Browser) -> list[int]:
    return sorted(int(row["PID"]) for row in browser.rows("workers") if row["State"] == "ready")


def test_it_shows_the_carrier_of_events(browser: Browser, tmp_path: Path) -> None:
    with carried(tmp_path) as one:
        first = one.pid()
        browser.open(one.server.admin_port)
        wait_for(lambda: first in pids(browser))
        assert browser.rows("workers")[-1]["Slot"] == "carrier"
        assert "5 waiting, the oldest for 2 s · 1 of them for a retry" in browser.text("#carried")
        assert not browser.is_shown("#published")
        assert "2 dead (crashed 2)" in browser.text("#carried")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: first not in pids(browser) and len(pids(browser)) == 3)
        assert f"The carrier of events (pid {first}) has ended: killed by SIGKILL" in browser.text("#news")
        assert browser.complaints() == []


def test_it_shows_the_routes_of_published_events(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "publishing.py").write_text(PUBLISHING)
    route = "note <b>{what}</b>"
    with serving("publishing:app", "--workers", "2", "--events", "memory", cwd=tmp_path) as server:
        browser.open(server.admin_port)
        wait_for(lambda: browser.text("#state") == "ready")
        for what in ("something", "nothing", "something"):
            assert server.get(f"/note/{what}", method="POST")[0] == 200

        def row() -> dict[str, str]:
            return next((row for row in browser.rows("published") if row["Route"] == route), {})

        wait_for(lambda: row().get("Dead") == "1 (rejected 1)")
        wait_for(lambda: float(row()["Published/s"].replace("–", "0")) > 0, what="the page makes a rate of two polls")
        shown = row()
        names = ("Published", "Settled", "Unsettled", "Failed attempts", "Refused")
        assert [shown[name] for name in names] == ["3", "2", "0", "1", "0"]
        assert "1 dead (rejected 1) · 0 halted keys · memory" in browser.text("#carried")
        assert not browser.is_shown("#store-failure")
        assert browser.run("return document.querySelectorAll('table b').length") == 0
        assert browser.complaints() == []
