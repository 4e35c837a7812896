"""deploy/prometheus: read by promtool, each alert tried both ways, and no name that a server does not export."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import Reading, readings, unknown
from tests.deploy.scraped import PROMETHEUS, busy_server, rules, samples_of
from tests.server import ROOT, command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text()
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED = {rule["record"]: rule for rule in rules("recording.yml")}


def promtool(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *args], capture_output=True, text=True, check=False)


def sections() -> dict[str, str]:
    """The runbook's sections, by their anchors as GitHub makes them for one word."""
    parts = re.split(r"^## (\S+)$", RUNBOOK, flags=re.MULTILINE)
    return {title.lower(): text for title, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.fixture(scope="module")
def samples() -> Iterator[Mapping[str, list[Mapping[str, str]]]]:
    with busy_server() as server:
        yield samples_of(server)


@pytest.mark.needs("promtool")
def test_the_configuration_and_its_rules_are_right() -> None:
    done = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} rule files found" in done.stdout
    done = promtool("check", "rules", *RULES)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_rules_do_as_their_cases_say(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


@pytest.mark.needs("promtool")
def test_a_case_notices_a_threshold_that_moved(tmp_path: Path) -> None:
    for source in [*RULES, PROMETHEUS / "tests" / "server.yml"]:
        target = tmp_path / source.parent.name / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(source.read_text().replace("[10m])) > 5", "[10m])) > 50"))
    done = promtool("test", "rules", tmp_path / "tests" / "server.yml")
    assert done.returncode != 0
    assert "TinyListenerRestartStorm" in done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_cases_in_which_it_fires_and_does_not(alert: str) -> None:
    cases: list[dict[str, Any]] = [
        case
        for file in CASES
        for group in yaml.safe_load(file.read_text())["tests"]
        for case in group.get("alert_rule_test", [])
        if case["alertname"] == alert
    ]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}


def test_each_case_is_about_an_alert_that_there_is() -> None:
    named = {name for file in CASES for name in re.findall(r"alertname: (\S+)", file.read_text())}
    assert named == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_has_a_section_in_the_runbook(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    name, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert name == "RUNBOOK.md"
    assert anchor == alert.lower()
    section = sections()[anchor]
    for part in ("**What it means.**", "**What to look at.**", "**What to do.**"):
        assert section.count(part) == 1
    assert "```promql" in section


def test_the_runbook_has_no_section_without_an_alert() -> None:
    assert set(sections()) == {alert.lower() for alert in ALERTS}
    assert set(re.findall(r"\]\(#(\w+)\)", RUNBOOK)) <= set(sections())


@pytest.mark.parametrize("rule", [*ALERTS, *RECORDED])
def test_rules_read_what_a_server_exports(rule: str, samples: Mapping[str, list[Mapping[str, str]]]) -> None:
    expression = (ALERTS.get(rule) or RECORDED[rule])["expr"]
    assert unknown(expression, samples, RECORDED) == []
    for reading in readings(expression)[0]:
        if reading.name not in RECORDED:
            assert ("job", "=", "tiny-listener") in reading.matchers, "another job's series are not ours"


def test_the_runbook_reads_what_a_server_exports(samples: Mapping[str, list[Mapping[str, str]]]) -> None:
    queries = [
        line for block in re.findall(r"```promql\n(.*?)```", RUNBOOK, flags=re.DOTALL) for line in block.splitlines()
    ]
    assert len(queries) > 20
    wrong = {query: problems for query in queries if (problems := unknown(query, samples, RECORDED))}
    assert wrong == {}
    named = set(re.findall(r"`((?:tiny_listener|http_server|process)_\w+)`", RUNBOOK))
    bases = {re.sub("_(bucket|count|sum)$", "", name) for name in samples}
    assert named <= bases | set(samples)


def test_the_runbook_names_commands_and_options_that_there_are() -> None:
    help_text = command("--help").stdout
    for option in set(re.findall(r"`(--[a-z-]+)", RUNBOOK)) | set(
        re.findall(r"^ +tiny-listener (--[a-z-]+)", RUNBOOK, flags=re.MULTILINE)
    ):
        assert option == "--socket" or option in help_text, option
    assert set(re.findall(r"tiny-listenerctl ([a-z]+)", RUNBOOK)) <= {
        *("status", "reload", "scale", "stop", "dump"),
        *("events", "dead", "halted", "skip"),
    }


def test_what_reads_expressions_finds_what_is_wrong() -> None:
    samples: dict[str, list[Mapping[str, str]]] = {"a_total": [{"x": "1"}, {"x": "2"}], "up": [{}]}
    assert readings('sum by (x) (rate(a_total{x="1",y!~"b|c"}[5m] offset 1h)) > 2 * up')[0] == [
        Reading("a_total", [("x", "=", "1"), ("y", "!~", "b|c")]),
        Reading("up"),
    ]
    assert unknown('sum by (x) (rate(a_total{x="1"}[5m]))', samples) == []
    assert unknown("rate(b_total[5m])", samples) == ["no metric b_total"]
    assert unknown('a_total{y="1"}', samples) == ["a_total has no label y"]
    assert unknown('a_total{x="3"}', samples) == ["x='3' is true of none of a_total"]
    assert unknown('a_total{x!="3"}', samples) == ["x!='3' is true of all of a_total"]
    assert unknown("sum by (z) (a_total)", samples) == ["nothing in 'sum by (z) (a_total)' has a label z"]
