"""Mistakes in signatures and decorators, as one meets them: at import, with --check, and in a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server import command, serving
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

START = """
from typing import Annotated
from tiny_listener import Depends, Event, Listener
from tiny_listener.http import Cookie, Group, Header, HTTPError, HTTPListener, Query, Request

app = HTTPListener()


async def get_user(name: str) -> str:
    return name


class Own:
    pass


"""
MISTAKES = {
    '@app.get("/{a}")\nasync def f(b): ...': "the argument 'b' has no annotation and no default",
    '@app.get("/{a}")\nasync def f(a: str, own: Own): ...': "the argument 'own' (Own) cannot be injected",
    '@app.get("/{a:int}")\nasync def f(a: str): ...': "write a: int, or {a} in the pattern",
    '@app.get("/")\nasync def f(request): ...': "write request: Request",
    '@app.get("/")\nasync def f(error: ValueError): ...': "only a function of @app.on_error(ValueError) gets",
    '@app.get("/")\nasync def f(n: int = Query(5)): ...': "for a default value write Query(default=5)",
    '@app.get("/")\nasync def f(u: str = Depends(get_user("x"))): ...': "write Depends(get_user), without parentheses",
    "@app.get\nasync def f(): ...": 'write @app.get("/path")',
    "@app.on_error\nasync def f(): ...": "write @app.on_error(ValueError)",
    '@app.get("/")\ndef f(): ...': "run blocking code in it by `await asyncio.to_thread(...)`",
    '@app.get("/", timout=3)\nasync def f(): ...': "did you mean 'timeout'?",
    '@app.get("x")\nasync def f(): ...': "must begin with a slash: /x",
    '@app.on_event("order {id}")\nasync def f(x: Annotated[str, Header]): ...': "take it from the event by Data",
    "@app.before_event\nasync def f(name: str): ...": "Annotated[str, Param]",
    'app.include(Group(prefix="api"))': "write '/api'",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_check_says_what_would_be_right(tmp_path: Path, mistake: str) -> None:
    (tmp_path / "shop.py").write_text(START + mistake + "\n")
    done = command("--check", "shop:app", cwd=tmp_path)
    assert done.returncode == 3
    last = done.stderr.strip().splitlines()[-1]
    assert MISTAKES[mistake] in last
    if not any(part in mistake for part in ("Group(", "Query(5)", '("x")')):
        assert "(shop.py:" in last
    assert "Traceback" in done.stderr  # of the application's own line
    assert "tiny_listener/" not in done.stderr


def test_a_reload_says_it_and_keeps_the_old_workers(tmp_path: Path) -> None:
    file = tmp_path / "shop.py"
    file.write_text(START + '@app.get("/")\nasync def home() -> str:\n    return "old"\n')
    with serving("shop:app", "--reload", cwd=tmp_path) as server:
        assert server.get("/") == (200, b"old")
        file.write_text(START + '@app.get("/")\nasync def home(own: Own) -> str:\n    return "new"\n')
        wait_for(lambda: "the argument 'own' (Own) cannot be injected" in server.log)
        assert server.get("/") == (200, b"old")
        file.write_text(START + '@app.get("/")\nasync def home(n: int = 3) -> str:\n    return f"new {n}"\n')
        wait_for(lambda: server.get("/") == (200, b"new 3"))
        assert server.get("/?n=4") == (200, b"new 4")
