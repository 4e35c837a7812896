"""What a type checker sees: mypy --strict accepts what is right, and finds what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
pytestmark = pytest.mark.timeout(120)

PROGRAM = """
from typing import assert_type

from tiny_listener import Context, Depends, Event, EventTask, Listener, Param, Route


class MyContext(Context):
    lives: int = 9


class App(Listener[MyContext]):
    async def listen(self) -> None:
        assert_type(self.new_ctx(), MyContext)
        assert_type(self.get_ctx("x").lives, int)
        assert_type(self.ctxs["x"], MyContext)
        assert_type(self.trigger_event("x"), EventTask)
        assert_type(self.match_route("x")[0], Route)


class Plain(Listener):
    async def listen(self) -> None:
        assert_type(self.new_ctx(), Context)


app = App()


async def get_user(name: Param) -> str:
    return str(name)


@app.before_event
async def before(event: Event) -> None:
    assert_type(event.ctx, Context)


@app.on_event("user {name}")
async def handler(event: Event[MyContext], user: str = Depends(get_user)) -> str:
    assert_type(event.ctx, MyContext)
    return user.upper()


assert_type(handler.__name__, str)
"""

WRONG = """
@app.on_event("wrong {name}")
async def wrong(user: int = Depends(get_user)) -> None: ...
"""


@pytest.mark.parametrize(("program", "errors"), [(PROGRAM, 0), (PROGRAM + WRONG, 1)])
def test_the_types_of_a_program(tmp_path: Path, program: str, errors: int) -> None:
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(file)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count(": error:") == errors, done.stdout
