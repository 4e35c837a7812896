"""--factory: the application is what a function returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import command, serving

PROGRAM = """
from tiny_listener.http import HTTPListener

class Own(HTTPListener):
    pass

def create_app(name="factory"):
    app = HTTPListener()

    @app.get("/")
    async def home() -> str:
        return name

    return app

async def make(): ...
def needs(name): ...
def nothing(): ...
def broken(): return 1 / 0
number = 3
app = create_app("app")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made.py").write_text(PROGRAM)
    return tmp_path


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["made:create_app"], "made:create_app is a function: if it returns the application, add --factory"),
        (["made:make"], "made:make is a function: if it returns the application, add --factory"),
        (["--factory", "made:make"], "made:make is `async def`, and no loop runs yet: a factory is a plain function"),
        (
            ["--factory", "made:needs"],
            "made:needs is called without arguments, and missing a required argument: 'name': give them defaults",
        ),
        (["--factory", "made:nothing"], "made:nothing() returned NoneType, not a tiny_listener.Listener"),
        (["--factory", "made:number"], "made:number is no factory but of type int: omit --factory"),
        (["--factory", "made:app"], "made:app is no factory but of type HTTPListener: omit --factory"),
    ],
)
def test_what_is_no_factory(folder: Path, args: list[str], message: str) -> None:
    done = command("--check", *args, cwd=folder)
    assert (done.returncode, done.stderr) == (1, f"Error: {message}\n")


def test_a_factory_that_fails_shows_where(folder: Path) -> None:
    done = command("--check", "--factory", "made:broken", cwd=folder)
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr
    assert "made.py" in done.stderr


@pytest.mark.parametrize("app", ["create_app", "Own"])
def test_a_factory_is_called(folder: Path, app: str) -> None:
    done = command("--check", "--factory", f"made:{app}", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.e2e
@pytest.mark.parametrize("options", [[], ["--workers", "2"], ["--workers", "2", "--preload"]])
def test_each_worker_calls_it(folder: Path, options: list[str]) -> None:
    with serving("made:create_app", "--factory", *options, cwd=folder) as server:
        assert server.get("/") == (200, b"factory")


def test_a_file_is_told_the_way(folder: Path) -> None:
    done = command("--check", f"{folder}/made.py:app")
    assert done.returncode == 2
    assert f"is a file, and an application is MODULE:ATTRIBUTE in a folder: --app-dir {folder} made:app" in done.stderr
    done = command("--check", f"{folder}/made.py")
    assert f"--app-dir {folder} made:app" in done.stderr
    assert command("--check", "--app-dir", str(folder), "made:app").returncode == 0
