"""What a shell offers behind the tab key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, command
from tiny_listener.cli.completion import SHELLS, listeners_in

BIN = Path(sys.executable).parent
SCRIPT = """
eval "$({command} --completion bash)"
COMP_WORDS=({words})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_{function}_completion {command} "${{COMP_WORDS[COMP_CWORD]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def offered(words: str, cwd: Path) -> list[str]:
    """Return what a real bash offers for the last word of a line."""
    name = words.split(maxsplit=1)[0]
    script = SCRIPT.format(command=name, words=words, function=name.replace("-", "_"))
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("tiny-listener --work", ["--workers"]),
        ("tiny-listener --log-format ''", ["text", "json"]),
        ("tiny-listener --workers 2 http", ["http_streams:app", "http_web:app"]),
        ("tiny-listener udp", ["udp_counts:app"]),
        ("tiny-listener nothing", []),
        ("tiny-listenerctl s", ["scale", "skip", "status", "stop"]),
        ("tiny-listenerctl status --js", ["--json"]),
    ],
)
def test_bash(words: str, expected: list[str]) -> None:
    assert offered(words, ROOT / "examples") == expected


def test_app_dir_says_where_to_look(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from tiny_listener import Listener\nthing = Listener()\n")
    assert offered(f"tiny-listener --app-dir {tmp_path} mi", ROOT) == ["mine:thing"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(shell: str) -> None:
    done = command("--completion", shell)
    assert done.returncode == 0
    assert f"_TINY_LISTENER_COMPLETE={shell}_complete" in done.stdout


def test_no_other_shell() -> None:
    done = command("--completion", "cmd")
    assert done.returncode == 2
    assert "'cmd' is not one of 'bash', 'zsh', 'fish'" in done.stderr


def test_it_is_for_the_command_line_alone(tmp_path: Path) -> None:
    (tmp_path / "options.toml").write_text("completion = 'bash'\n")
    done = command("--config", str(tmp_path / "options.toml"), "app:app")
    assert done.returncode == 2
    assert "completion" in done.stderr


def test_listeners_are_found_without_an_import(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "raise SystemExit\n"
        "import tiny_listener.http as http\n"
        "class Base(http.HTTPListener[int]): ...\n"
        "class App(Base): ...\n"
        "one: App = App()\n"
        "two = three = http.HTTPListener()\n"
        "four, five = 4, 5\n"
        "six = dict()\n"
        "seven = App\n"
    )
    (tmp_path / "b.py").write_text("from tiny_listener import (\n")
    (tmp_path / "c.py").write_bytes(b"tiny_listener \xff")
    (tmp_path / "d.py").mkdir()
    (tmp_path / "e-f.py").write_text("from tiny_listener import Listener\nx = Listener()\n")
    (tmp_path / "g.py").write_text("from tiny_listener import Listener\nx = Listener()\n" + " " * 256 * 1024)
    assert list(listeners_in(tmp_path)) == ["a:one", "a:two", "a:three"]
    assert list(listeners_in(tmp_path / "nowhere")) == []
