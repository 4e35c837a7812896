"""The Python of the documentation is Python, and the tests that it shows pass."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.server import ROOT

BLOCK = re.compile(r"^```python[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
APP = """
import httpx
from tiny_listener import Depends, Event, Param
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import httpx_transport

app = HTTPListener()

@app.get("/user/{username}")
async def hello(username: Param) -> str:
    return f"Hello, {username}!"

async def current_user() -> str:
    return "Bob"

@app.get("/me")
async def me(user: str = Depends(current_user)) -> str:
    return user

@app.on_event("{name} ordered {what}")
async def ordered(event: Event) -> None:
    assert event.data == {"total": 350}
"""


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text())


def as_test(block: str) -> str:
    """Return a block as the text of a test: what awaits needs a loop."""
    if not block.startswith("async with"):
        return block
    body = textwrap.indent(block, "        ")
    return f"import asyncio\n\ndef test_async():\n    async def main():\n{body}\n    asyncio.run(main())\n"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: page.name)
def test_every_block_compiles(page: Path) -> None:
    for block in blocks(page):
        compile(block, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_the_tests_that_are_shown_pass(tmp_path: Path) -> None:
    texts = [APP, *map(as_test, blocks(ROOT / "docs" / "use" / "testing.md"))]
    (tmp_path / "test_shown.py").write_text("\n\n".join(texts))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shown.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{len(texts) - 1} passed" in done.stdout
