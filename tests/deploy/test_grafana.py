"""deploy/grafana: whole dashboards, each of whose queries has an answer from a Prometheus that scrapes a server."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import unknown
from tests.deploy.scraped import PROMETHEUS, busy_server, hit, rules, samples_of
from tests.server import ROOT, Server, free_port
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

GRAFANA = ROOT / "deploy" / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
DASHBOARDS: list[dict[str, Any]] = [json.loads(file.read_text()) for file in FILES]
PANELS = [
    pytest.param(panel, id=f"{board['uid']}-{panel['title']}") for board in DASHBOARDS for panel in board["panels"]
]
RECORDED = {rule["record"] for rule in rules("recording.yml")}
RATE_INTERVAL = "4s"
"""What Grafana puts for $__rate_interval is at least four scrapes."""


def substituted(query: str, board: dict[str, Any]) -> str:
    """Put values for variables as Grafana does where All is chosen."""
    query = query.replace("$__rate_interval", RATE_INTERVAL)
    for variable in board["templating"]["list"]:
        query = re.sub(rf"\$({variable['name']}\b|\{{{variable['name']}\}})", lambda _: ".*", query)
    assert "$" not in query, f"a variable that the dashboard has not: {query}"
    return query


class Prometheus:
    """A Prometheus process, by its HTTP API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **params: str) -> Any:
        """Return the data of an answer; an error's text where there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(params)}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{params}: {error.read().decode(errors='replace')}") from None

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            return False

    def query(self, promql: str) -> list[Any]:
        """Return the vector that an expression is now."""
        found: list[Any] = self.get("/api/v1/query", query=promql)["result"]
        return found


@contextmanager
def prometheus_scraping(server: Server, folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration of deploy/, its intervals shortened and its target replaced."""
    shutil.copytree(PROMETHEUS / "rules", folder / "rules")
    for file in (folder / "rules").iterdir():
        file.write_text(re.sub(r"interval: \w+", "interval: 500ms", file.read_text()))
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{server.admin_port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    try:
        wait_for(prometheus.is_ready, what="Prometheus is ready")
        yield prometheus
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Prometheus]]:
    with busy_server() as server, prometheus_scraping(server, tmp_path_factory.mktemp("prometheus")) as prometheus:
        wait_for(lambda: prometheus.query("count_over_time(tiny_listener_build_info[10s]) > 2"))
        yield server, prometheus


def under_load(server: Server, question: Callable[[], list[Any]]) -> list[Any]:
    """Ask until there is an answer, while the server is asked too: rates look only a few seconds back."""

    def ask() -> list[Any]:
        hit(server)
        return question()

    return wait_for(ask, seconds=30)


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("panel", PANELS)
def test_each_query_of_a_panel_has_an_answer(panel: dict[str, Any], scraped: tuple[Server, Prometheus]) -> None:
    server, prometheus = scraped
    board = next(board for board in DASHBOARDS if panel in board["panels"])
    for target in panel["targets"]:
        query = substituted(target["expr"], board)
        try:
            result = under_load(server, lambda query=query: prometheus.query(query))  # type: ignore[misc]
        except AssertionError as error:
            pytest.fail(f"{board['title']}, panel {panel['title']!r}: {query}: {error}")
        labels = set(re.findall(r"\{\{\s*(\w+)\s*\}\}", target["legendFormat"]))
        known = set().union(*(sample["metric"] for sample in result))  # an empty one, of no route, is none
        assert labels <= known, f"panel {panel['title']!r}: its legend has labels of no sample"


@pytest.mark.needs("prometheus")
def test_each_rule_is_healthy_and_each_recording_has_samples(scraped: tuple[Server, Prometheus]) -> None:
    server, prometheus = scraped
    for name in sorted(RECORDED):
        under_load(server, lambda name=name: prometheus.query(name))  # type: ignore[misc]
    groups = prometheus.get("/api/v1/rules")["groups"]
    found = {rule["name"]: (rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]}
    alerts = {rule["alert"] for rule in rules("alerts.yml")}
    assert found == dict.fromkeys(RECORDED | alerts, ("ok", ""))


@pytest.mark.needs("prometheus")
@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board["uid"]))
def test_each_variable_has_values(board: dict[str, Any], scraped: tuple[Server, Prometheus]) -> None:
    _, prometheus = scraped
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            match = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
            assert match is not None
            selector = substituted(match[1], board)
            values = prometheus.get(f"/api/v1/label/{match[2]}/values", **{"match[]": selector})
            assert values, variable["name"]
        else:
            assert (variable["type"], variable["query"]) == ("datasource", "prometheus")


def test_dashboards_ask_for_nothing_that_a_server_does_not_export() -> None:
    with busy_server() as server:
        samples = samples_of(server)
    wrong = {}
    for board in DASHBOARDS:
        for panel in board["panels"]:
            for target in panel["targets"]:
                # What a variable stands for may be anything, so a matcher of one cannot be wrong.
                expression = re.sub(r',?\w+=~"\$\w+"', "", target["expr"]).replace("{,", "{")
                if problems := unknown(expression.replace("$__rate_interval", "5m"), samples, RECORDED):
                    wrong[panel["title"]] = problems
    assert wrong == {}


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board["uid"]))
def test_a_dashboard_is_whole(board: dict[str, Any]) -> None:
    assert board["title"]
    assert board["description"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len({panel["title"] for panel in board["panels"]}) == len(board["panels"])
    used = "".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    for variable in board["templating"]["list"]:
        assert variable["name"] == "datasource" or f"${variable['name']}" in used
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: str(board["uid"]))
def test_no_two_panels_overlap(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        at = panel["gridPos"]
        assert at["w"] > 0
        assert at["h"] > 0
        assert 0 <= at["x"] <= 24 - at["w"]
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


def test_there_are_four_of_them() -> None:
    assert {board["uid"] for board in DASHBOARDS} == {f"tiny-listener-{file.stem}" for file in FILES}
    assert [file.stem for file in FILES] == ["events", "overview", "routes", "workers"]


def test_what_is_provisioned_is_what_compose_mounts() -> None:
    compose = yaml.safe_load((ROOT / "deploy" / "container" / "compose.yaml").read_text())["services"]
    mounted = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/tiny-listener.yml").read_text())["providers"]
    assert mounted["../grafana/dashboards"] == provider["options"]["path"]
    assert mounted["../grafana/provisioning"] == "/etc/grafana/provisioning"
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    name, _, port = source["url"].removeprefix("http://").partition(":")
    assert any(published.endswith(f":{port}:{port}") for published in compose[name]["ports"])
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
