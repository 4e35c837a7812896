"""What the command shows, and where its options come from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tiny_listener
from tests.server import APPS, ROOT, command, serving
from tiny_listener.cli.contradictions import SUPERVISED, Given, refuse_contradictions
from tiny_listener.cli.main import SECTIONS
from tiny_listener.cli.main import command as cli


def test_version() -> None:
    assert command("--version").stdout == f"tiny-listener {tiny_listener.__version__}\n"


def test_help_shows_every_option_under_a_subject() -> None:
    out = command("--help", env={"COLUMNS": "110"}).stdout
    for parameter in cli.params:
        if parameter.name == "app":
            continue
        assert f"{parameter.opts[0]} " in out or f"{parameter.opts[0]}\n" in out
    named = {name for names in SECTIONS.values() for name in names}
    assert {p.name for p in cli.params} - named == {"app", "completion", "version"}
    assert all(f"{title}:" in out for title in SECTIONS)
    assert "TINY_LISTENER_ADMIN_PORT=9464" in out


def test_help_does_not_load_what_it_does_not_need() -> None:
    code = (
        "import sys, tiny_listener.cli\n"
        "print([m for m in ('prometheus_client', 'multiprocess', 'dill', 'locust', 'watchfiles',"
        " 'tiny_listener_supervisor')"
        " if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "[]\n"


def test_routes_are_printed_in_match_order() -> None:
    done = command("--routes", "web:app")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["EVENT", "NAME", "HANDLER"]
    events = [line.split()[0] for line in lines[1:]]
    assert len(events) == len(set(events)) > 10
    assert events.index("GET:/number/{n:int}") < events.index("POST:/echo")
    assert any(line.startswith("GET:/user/{username}") and " hello " in line and "web.py:" in line for line in lines)


def test_each_subscriber_of_an_event_is_printed() -> None:
    done = command("--routes", "shop:app", cwd=ROOT / "examples")
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("order ")]
    assert [row[-2] for row in rows] == ["news.tell", "news.bill"]
    assert (
        f"with {len(done.stdout.splitlines()) - 1} routes"
        in command("--check", "shop:app", cwd=ROOT / "examples").stdout
    )


def test_check_imports_and_exits() -> None:
    done = command("--check", "web:app")
    assert done.returncode == 0
    assert done.stdout.startswith("web:app: HTTPListener with ")
    assert command("--check", "broken:app").returncode == 3
    assert command("--routes", "wep:app").returncode == 1


@pytest.mark.parametrize("name", ["options.toml", "pyproject.toml"])
def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path, name: str) -> None:
    table = "[tool.tiny-listener]\n" if name == "pyproject.toml" else ""
    (tmp_path / name).write_text(f'{table}log-format = "json"\nlog-level = "debug"\nworkers = 3\n')
    config = [] if name == "pyproject.toml" else ["--config", str(tmp_path / name)]
    env = {"TINY_LISTENER_WORKERS": "2", "TINY_LISTENER_LOG_LEVEL": "warning"}
    options = [*config, "--log-level", "info", "--app-dir", str(APPS)]
    with serving("web:app", *options, cwd=tmp_path, env=env) as server:
        assert len(server.workers()) == 2
        entries = [json.loads(line) for line in server.log.splitlines()]
        assert any("2 workers are ready" in entry["message"] for entry in entries)
        assert {entry["level"] for entry in entries} == {"info"}


@pytest.mark.parametrize(
    ("text", "options", "env"),
    [
        ("port = 1", ["--uds", "own.sock"], {}),
        ('uds = "file.sock"\nuds-mode = 600', ["--port", "0"], {}),
        ("", ["--port", "0"], {"TINY_LISTENER_UDS": "env.sock"}),
        ("port = 1", [], {"TINY_LISTENER_UDS": "own.sock"}),
        ("max-requests = 5\nmax-restarts = 3\nworkers = 2", ["--workers", "1", "--port", "0"], {}),
    ],
)
def test_what_is_typed_overrules_what_contradicts_it_elsewhere(
    tmp_path: Path, text: str, options: list[str], env: dict[str, str]
) -> None:
    (tmp_path / "options.toml").write_text(text)
    where = ["--config", str(tmp_path / "options.toml"), "--app-dir", str(APPS)]
    with serving("web:app", *where, *options, cwd=tmp_path, env=env, pass_port=False):
        assert (tmp_path / "own.sock").exists() == ("own.sock" in (*options, *env.values()))
        assert not (tmp_path / "file.sock").exists()
        assert not (tmp_path / "env.sock").exists()


def test_a_config_file_may_have_the_table_that_pyproject_has(tmp_path: Path) -> None:
    (tmp_path / "options.toml").write_text("[tool.tiny-listener]\nworkers = 2\n")
    with serving("web:app", "--config", str(tmp_path / "options.toml")) as server:
        assert len(server.workers()) == 2


def test_variables_that_are_no_options() -> None:
    done = command("--check", "web:app", env={"TINY_LISTENER_VERSION": "1", "TINY_LISTENER_WORKRES": "3"})
    assert done.returncode == 0
    assert done.stdout.startswith("web:app: HTTPListener")
    assert done.stderr == "Warning: TINY_LISTENER_WORKRES is not an option; did you mean TINY_LISTENER_WORKERS?\n"


def test_the_python_module_is_the_command() -> None:
    script = Path(sys.executable).with_name("tiny-listener")
    out = subprocess.run([str(script), "--version"], capture_output=True, text=True, check=True).stdout
    assert out == command("--version").stdout


def test_names_that_applications_use_stay_theirs(tmp_path: Path) -> None:
    (tmp_path / "metrics.py").write_text("NAME = 'mine'\n")
    (tmp_path / "supervisor.py").write_text("NAME = 'mine too'\n")
    (tmp_path / "mine.py").write_text(
        "import metrics, supervisor\nfrom tiny_listener.http import HTTPListener\napp = HTTPListener()\n"
        "@app.get('/')\nasync def names():\n    return [metrics.NAME, supervisor.NAME]\n"
    )
    with serving("mine:app", "--workers", "2", cwd=tmp_path) as server:
        assert server.get("/") == (200, b'["mine","mine too"]')


def test_options_that_need_a_supervisor_say_so() -> None:
    known = {name.replace("_", "-") for name in SUPERVISED}
    section = next(title for title, names in SECTIONS.items() if names is SUPERVISED)
    assert "supervisor" in section
    rows = (ROOT / "docs" / "use" / "options.md").read_text().partition(f"### {section}\n")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `--([a-z-]+)", rows, re.MULTILINE)) == known
    for name in known - {"max-requests-jitter", "max-restarts-window", "control-socket"}:
        done = command("--admin-port", "0", f"--{name}", "1", "web:app")
        assert done.returncode == 2
        assert f"--{name} needs a supervisor: add --workers 2" in done.stderr


def test_what_a_stronger_option_overrides_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "options.toml"
    file.write_text('admin-token-file = "/no/such/file"\nuds = "/run/web.sock"\nuds-mode = "660"\n')
    monkeypatch.setenv("TINY_LISTENER_ADMIN_TOKEN", "sesame")
    with cli.make_context("tiny-listener", ["--config", str(file), "--port", "3", "web:app"]) as ctx:
        given = Given.of(ctx, ctx.params)
        refuse_contradictions(given)
    names = ("admin_token", "admin_token_file", "port", "uds", "uds_mode")
    assert [given.options[name] for name in names] == ["sesame", None, 3, None, None]
