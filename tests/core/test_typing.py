"""What a type checker sees: mypy --strict accepts what is right, and finds what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(240)

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

HTTP = """
from collections.abc import AsyncIterator
from typing import Annotated, assert_type

from tiny_listener import Data, Depends, Event, Param
from tiny_listener.http import Cookie, Group, Header, HTTPListener, Query, Request, Response

app = HTTPListener()
group = Group(prefix="/a")


async def get_user(name: Param) -> str:
    return name


async def session() -> AsyncIterator[int]:
    yield 1


@group.get("/x/{name}", timeout=3, max_body=5, tags=["a"], responses={404: "x"}, extra={"a": 1})
async def handler(
    name: str,
    user: Annotated[str, Depends(get_user)],
    item: Data,
    number: int = Depends(session),
    q: Annotated[int, Query] = 3,
    agent: str = Header("user-agent"),
    theme: str = Cookie(default="light"),
) -> str:
    count: int = item
    return name * number * count


@app.get("/stream")
async def stream() -> AsyncIterator[str]:
    yield ""


@app.on_error(ValueError)
async def failed(error: ValueError) -> None: ...


@app.before_event
async def before(request: Request | None) -> Response | None: ...


@app.lifespan
async def life() -> AsyncIterator[None]:
    yield


@app.subscribe("order {n}")
async def order(n: int) -> None: ...


app.include(group, prefix="/b", dependencies=[Depends(get_user)])
app.trigger_event(app.event("order {n}", n="3"))
assert_type(handler.__name__, str)
"""

WRONG = [
    "async def wrong(user: int = Depends(get_user)) -> None: ...",
    '@app.get("/", timout=3)\nasync def wrong() -> None: ...',
    '@app.get("/", timeout="3")\nasync def wrong() -> None: ...',
    '@app.get("/", tags=[1])\nasync def wrong() -> None: ...',
    '@app.get("/", responses={"404": ""})\nasync def wrong() -> None: ...',
    '@app.on_event("order {n}", max_size=1)\nasync def wrong() -> None: ...',
    "@app.get\nasync def wrong() -> None: ...",
    "@app.on_error\nasync def wrong() -> None: ...",
    '@app.get("/")\ndef wrong() -> None: ...',
    "@app.before_event\ndef wrong() -> None: ...",
    "@app.before_event\nasync def wrong() -> AsyncIterator[int]:\n    yield 1",
    "async def wrong(user: str = Depends(get_user())) -> None: ...",
    "async def wrong(user: str = Depends(get_user, use_cache=7)) -> None: ...",
    "async def wrong(n: Annotated[int, Query] = Query(5)) -> None: ...",
    "@app.lifespan\nasync def wrong() -> None: ...",
    "app.include(HTTPListener())",
    "Group(prefix=5)",
]
"""Each is a mistake, which both checkers find where it is written."""


def check(folder: Path, checker: str, program: str) -> list[tuple[int, str]]:
    """Return the errors that a checker finds: their lines and texts."""
    file = folder / "program.py"
    file.write_text(program)
    if checker == "mypy":
        command = ["mypy", "--strict", "--config-file=", f"--cache-dir={folder}"]
    else:
        (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
        command = ["pyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(file)], cwd=folder, capture_output=True, text=True, check=False
    )
    found = re.findall(r"program\.py:(\d+):(?:\d+ -)? error: (.*)", done.stdout)
    assert found or done.returncode == 0, done.stdout + done.stderr
    return [(int(line), text) for line, text in found]


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("program", [PROGRAM, HTTP], ids=["events", "requests"])
def test_what_is_right_has_no_errors(tmp_path: Path, checker: str, program: str) -> None:
    assert check(tmp_path, checker, program) == []


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_each_mistake_is_found_where_it_is_written(tmp_path: Path, checker: str) -> None:
    program = HTTP
    spans: list[range] = []
    for wrong in WRONG:
        start = program.count("\n") + 2
        program += f"\n{wrong}\n".replace("wrong(", f"wrong{len(spans)}(")
        spans.append(range(start, start + wrong.count("\n") + 1))
    lines = {line for line, _ in check(tmp_path, checker, program)}
    missed = [wrong for wrong, span in zip(WRONG, spans, strict=True) if not lines & set(span)]
    assert missed == []
    assert all(any(line in span for span in spans) for line in lines)
