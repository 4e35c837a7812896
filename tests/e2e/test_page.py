"""The status page in a real browser: what it shows, what it follows, and that it looks right."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.server import Server, free_ports, request, serving
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("chromium"),
    pytest.mark.needs("chromedriver"),
    pytest.mark.timeout(120),
]

USER = "GET:/user/{username}"
HOSTILE = """
from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/<img src=x onerror=document.title=1><script>document.title=2</script>")
async def hostile() -> str:
    return "x"
"""


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """The browser, in a window of its own size and light, with nothing to complain about."""
    shared_browser.prefer("light")
    shared_browser.resize(1280)
    shared_browser.complaints()
    yield shared_browser
    shared_browser.driver.get("about:blank")  # nothing asks a server that is gone


def row_of(browser: Browser, event: str) -> dict[str, str]:
    return next((row for row in browser.rows("routes") if row["Route"] == event), {})


def number(text: str) -> float:
    return float(text.replace(",", ""))


def pids(browser: Browser) -> list[int]:
    return sorted(int(row["PID"]) for row in browser.rows("workers") if row["State"] == "ready")


def ask(server: Server, times: int = 1) -> None:
    """Ask for something that is there, for something that fails, and for something that is not there."""
    for path in ("/user/Bob",) * 3 + ("/fail", "/nope"):
        for _ in range(times):
            server.get(path)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_shows_the_numbers_of_the_metrics(browser: Browser, workers: int) -> None:
    with serving("web:app", "--workers", str(workers)) as server:
        browser.open(server.admin_port)
        ask(server, 4)
        wait_for(lambda: row_of(browser, USER).get("Events") == "12", what="the page counts")
        total = server.total
        wait_for(lambda: browser.text("#not-found") == "4")
        assert number(browser.text("#not-found")) == total("tiny_listener_not_found_total")
        for row in browser.rows("routes"):
            event = row["Route"]
            assert number(row["Events"]) == total("tiny_listener_dispatch_seconds_count", event=event), event
            assert number(row["Errors"]) == total("tiny_listener_events_total", event=event, outcome="error"), event
        assert {row["Route"] for row in browser.rows("routes")} == {
            dict(pairs)["event"] for name, pairs in server.samples() if name == "tiny_listener_events_total"
        }
        assert row_of(browser, "GET:/fail")["5xx"] == "4"
        assert number(browser.text("#events")) == total("tiny_listener_dispatch_seconds_count")
        assert number(browser.text("#errors")) == total("tiny_listener_events_total", outcome="error")
        assert pids(browser) == (server.workers() if workers > 1 else [server.process.pid])
        for row in browser.rows("workers"):
            slot = row["Slot"]
            memory = total("process_resident_memory_bytes", worker=slot) / 2**20
            assert float(row["Memory"].removesuffix(" MiB")) == pytest.approx(memory, rel=0.05)
            assert row["Queue"] == "0"
            assert row["Loop lag"].endswith("s")
        wait_for(lambda: all(row["CPU"].endswith(" %") for row in browser.rows("workers")))
        assert browser.text("#state") == "ready"
        assert browser.text("#where") == f"127.0.0.1:{server.port}"
        assert browser.text("#restarts") == ("no supervisor" if workers == 1 else "none")
        assert browser.complaints() == []


def test_it_makes_rates_and_latencies_of_counts(browser: Browser) -> None:
    with serving("web:app", "--workers", "2") as server:
        browser.open(server.admin_port)
        wait_for(lambda: row_of(browser, USER).get("Events/s") == "0")
        ask(server, 5)
        wait_for(lambda: row_of(browser, USER)["Events/s"] not in {"–", "0"})
        row = row_of(browser, USER)
        assert number(row["Events/s"]) > 0
        assert all(row[name].endswith(("µs", "ms")) for name in ("p50", "p95", "p99")), row
        wait_for(lambda: number(row_of(browser, "GET:/fail")["Errors/s"]) > 0)
        wait_for(lambda: number(browser.text("#not-found-rate")) > 0)
        script = "return [...document.querySelectorAll('figure')].map((one) => one.querySelectorAll('.curve').length)"
        wait_for(lambda: browser.run(script) == [2, 3, 1], what="every curve is drawn")
        names = browser.run("return [...document.querySelectorAll('figure svg')].map((one) => one.ariaLabel)")
        assert all(" Now: " in name and not name.endswith("–") for name in names), names
        browser.type("#find", "USER")
        assert [row["Route"] for row in browser.rows("routes")] == [USER]
        browser.type("#find", "no such")
        assert browser.text("#more") == "No route has this text."
        assert browser.complaints() == []


@pytest.mark.parametrize(
    ("buckets", "q", "seconds"),
    [
        ([0, 0, 0], 0.5, None),
        ([4, 0, 0], 0.5, 0.5),
        ([2, 2, 0], 0.5, 1.0),
        ([0, 10, 0], 0.9, 1.9),
        ([1, 0, 1], 0.99, "Infinity"),
        ([99, 1, 0], 0.99, 1.0),
        ([98, 2, 0], 0.99, 1.5),
    ],
)
def test_quantiles_are_those_of_prometheus(
    browser: Browser, page_of_a_server: Server, buckets: list[int], q: float, seconds: float | str | None
) -> None:
    browser.open(page_of_a_server.admin_port)
    script = "const n = quantile(...arguments); return n === Infinity ? 'Infinity' : n"
    assert browser.run(script, q, buckets, [1, 2]) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.fixture(scope="module")
def page_of_a_server() -> Iterator[Server]:
    with serving("web:app") as server:
        yield server


def test_differences_allow_for_new_routes_counters_that_went_back_and_other_servers(
    browser: Browser, page_of_a_server: Server
) -> None:
    browser.open(page_of_a_server.admin_port)
    script = """
        const poll = (instance, clock, routes) => ({ instance, clock, server: { processes: [] }, measured: { counts: {
            bounds: [1, 2], not_found: 0, routes: Object.entries(routes).map(([event, n]) => ({
                event, buckets: [n, 0, 0], outcomes: { error: 0, timeout: 0 }, responses: {} })) } } });
        const history = new History();
        const seen = [];
        for (const [instance, clock, routes] of arguments[0]) {
            const other = history.add(poll(instance, clock, routes), clock * 1000);
            const span = history.over(10);
            const counted = span && [...span.routes].map(([event, difference]) => [event, difference[3]]);
            seen.push([other, span && span.seconds, counted && Object.fromEntries(counted)]);
        }
        return [seen, history.points.map(({ rate }) => rate)];
    """
    polls = [
        ("a", 100, {"x": 50}),
        ("a", 102, {"x": 54, "y": 6}),  # a route that is new began at zero
        ("a", 103, {"x": 3, "y": 6}),  # a counter that decreased started again
        ("b", 7, {"x": 900}),  # another server: nothing to compare with
        ("b", 8, {"x": 901}),
    ]
    seen, rates = browser.run(script, polls)
    assert seen == [
        [False, None, None],
        [False, 2, {"x": 4, "y": 6}],
        [False, 3, {"x": 3, "y": 6}],
        [True, None, None],
        [False, 1, {"x": 1}],
    ]
    assert rates == [5, 3, None, 1]


def test_history_keeps_what_the_graphs_need_and_no_more(browser: Browser, page_of_a_server: Server) -> None:
    browser.open(page_of_a_server.admin_port)
    script = """
        const history = new History();
        for (let clock = 0; clock < 2000; clock += 1) {
            history.add({ instance: "a", clock, server: { processes: [] }, measured: { counts: {
                bounds: [1], not_found: clock, routes: [] } } }, clock * 1000);
        }
        return [history.polls.length, history.points.length, history.over(300).seconds, history.over(10).seconds];
    """
    polls, points, long, short = browser.run(script)
    assert polls < 80
    assert 300 <= points <= 310
    assert 298 <= long <= 306
    assert short == 10


def test_it_follows_the_death_of_a_worker(browser: Browser) -> None:
    with serving("web:app", "--workers", "2") as server:
        browser.open(server.admin_port)
        wait_for(lambda: pids(browser) == server.workers())
        victim, survivor = server.workers()
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: victim not in pids(browser) and len(pids(browser)) == 2, what="the page shows the successor")
        assert pids(browser) == server.workers()
        assert survivor in pids(browser)
        (row,) = [row for row in browser.rows("workers") if row["Last exit"]]
        assert row["Last exit"] == "killed by SIGKILL (by hand, or out of memory?)"
        assert row["Restarts"] == "1"
        wait_for(lambda: browser.text("#restarts") == "signal 1")
        news = browser.text("#news")
        assert f"(pid {victim}) has ended: killed by SIGKILL (by hand, or out of memory?)" in news
        assert f"Worker {row['Slot']} (pid {row['PID']}) has started" in news
        ask(server)
        wait_for(lambda: row_of(browser, USER)["Events"] == "3")
        assert browser.complaints() == []


def test_it_says_that_the_server_is_gone_and_comes_back_by_itself(browser: Browser) -> None:
    port, admin = free_ports(2)
    with serving("web:app", port=port, admin_port=admin) as server:
        browser.open(admin)
        ask(server)
        wait_for(lambda: row_of(browser, USER).get("Events") == "3")
        assert not browser.is_shown("#gone")
        server.process.kill()
        server.process.wait()
        wait_for(lambda: browser.is_shown("#gone"), what="the page says that the server is gone")
        assert browser.text("#gone").startswith("The server does not answer, since ")
        assert browser.text("#state") == "gone"
        assert row_of(browser, USER)["Events"] == "3"
    with serving("web:app", port=port, admin_port=admin) as server:
        wait_for(lambda: browser.text("#state") == "ready", what="the page is back")
        assert not browser.is_shown("#gone")
        assert f"Another server answers: pid {server.process.pid}" in browser.text("#news")
        wait_for(lambda: row_of(browser, USER)["Events/s"] == "0")  # not a negative rate, nor one of 3 events
        assert row_of(browser, USER)["Events"] == "0"
    unexpected = [line for line in browser.complaints() if "net::ERR_" not in line]  # of a server that is gone
    assert unexpected == []


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_metrics_it_says_why_there_are_none(browser: Browser, workers: str) -> None:
    with serving("web:app", "--workers", workers, "--no-metrics") as server:
        browser.open(server.admin_port)
        wait_for(lambda: len(pids(browser)) == int(workers))
        assert "--no-metrics" in browser.text("#unmeasured")
        assert browser.is_shown("#unmeasured")
        assert not any(map(browser.is_shown, ("#graphs", "#totals", "#routes-section")))
        assert browser.complaints() == []


def test_texts_stay_texts(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "hostile.py").write_text(HOSTILE)
    with serving("hostile:app", cwd=tmp_path) as server:
        browser.open(server.admin_port)
        event = "GET:/<img src=x onerror=document.title=1><script>document.title=2</script>"
        wait_for(lambda: row_of(browser, event), what="the route is shown as it is")
        assert browser.run("return document.querySelectorAll('img, table script').length") == 0
        assert browser.driver.title.startswith("ready: ")
        assert browser.complaints() == []


def test_dark_and_light_differ_and_can_be_read(browser: Browser, page_of_a_server: Server) -> None:
    browser.open(page_of_a_server.admin_port)
    wait_for(lambda: browser.text("#state") == "ready")
    grounds, pictures = [], []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        grounds.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        pictures.append(browser.driver.get_screenshot_as_png())
        script = """
            const light = (color) => {
                const [r, g, b] = color.match(/[\\d.]+/g).map((n) => n / 255)
                    .map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
            };
            const ground = light(getComputedStyle(document.querySelector("section[aria-labelledby]")).backgroundColor);
            return [...document.querySelectorAll("th, td, dt, dd, h2, .muted, .legend, .pill, output")].map((one) => {
                const text = light(getComputedStyle(one).color);
                return [one.outerHTML, Math.max(text, ground) / Math.min(text, ground)];
            });
        """
        for element, contrast in browser.run(script):
            assert contrast >= 4.5, (scheme, element)  # WCAG 2.2, 1.4.3
    assert grounds[0] != grounds[1]
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_nothing_overflows(browser: Browser, width: int) -> None:
    with serving("web:app", "--workers", "2") as server:
        os.kill(server.workers()[0], signal.SIGKILL)
        ask(server, 3)
        browser.resize(width)
        browser.open(server.admin_port)
        wait_for(lambda: any(row["Last exit"] for row in browser.rows("workers")))
        wait_for(lambda: row_of(browser, USER).get("Events/s") not in {None, "–"})
        script = """
            const wide = [...document.body.querySelectorAll("*:not(.unseen):not(thead, thead *)")].filter((one) => {
                const { left, right, width } = one.getBoundingClientRect();
                return width > 0 && !one.closest("svg *") && (right > innerWidth + 0.5 || left < -0.5);
            });
            return [document.documentElement.scrollWidth, wide.map((one) => one.outerHTML.slice(0, 99))];
        """
        scroll, wide = browser.run(script)
        assert wide == []
        assert scroll <= width


def test_everything_has_a_name(browser: Browser, page_of_a_server: Server) -> None:
    browser.open(page_of_a_server.admin_port)
    wait_for(lambda: browser.rows("routes"))
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    wants = {"combobox", "searchbox", "table", "image", "link", "region", "heading", "columnheader"}
    found: dict[str, list[str]] = {}
    for node in tree:
        role = node.get("role", {}).get("value")
        if role in wants and not node.get("ignored"):
            found.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert all(all(names) for names in found.values()), found
    assert {"combobox", "searchbox", "table", "image", "link", "region"} <= found.keys(), found
    assert {"Workers", "Routes"} <= set(found["table"])


def test_a_token_is_asked_for_and_taken_as_a_password(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-long:secret\nwhat follows does not matter\n")
    with serving("web:app", "--workers", "2", "--admin-token-file", str(tmp_path / "token")) as server:
        assert request(server.admin_port, "/")[0] == 401
        browser.open(server.admin_port, user="anybody:a-long%3Asecret")
        wait_for(lambda: pids(browser) == server.workers(), what="the page polls with the password")
        assert browser.complaints() == []


def test_numbers_are_written_for_people(browser: Browser, page_of_a_server: Server) -> None:
    browser.open(page_of_a_server.admin_port)
    for function, written in (
        ("ageText", {0.9: "0 s", 59: "59 s", 61: "1:01 min", 3600: "1:00 h", 90000: "1 d 1 h"}),
        ("durationText", {0.0000506: "50.6 µs", 0.00163: "1.63 ms", 0.0461: "46.1 ms", 0.5: "500 ms", 2: "2.00 s"}),
        ("rateText", {0: "0", 0.5: "0.50", 9.96: "10.0", 12345: "12,345"}),
        ("countText", {0: "0", 1234567: "1,234,567"}),
        ("bytesText", {33099776: "31.6 MiB", 2**31: "2.00 GiB"}),
    ):
        for shown, text in written.items():
            assert browser.run(f"return {function}(arguments[0])", shown) == text
