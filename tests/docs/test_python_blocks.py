"""The Python of the documentation is Python, and the tests that it shows pass."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
import types
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


PARTS: dict[str, tuple[str, str]] = {
    "docs/operate/metrics.md: from prometheus_client import Counter": (
        "app = HTTPListener()",
        "assert client.post('/order/CH').status_code == 204",
    ),
    "docs/operate/tracing.md: from tiny_listener.http import HTTPListener": (
        "",
        "assert app.hooks.watchers",
    ),
    "docs/use/keyed-events.md: from tiny_listener import Listener, Retry": (
        "",
        "test_an_order_is_tried_again()",
    ),
    "docs/use/cloudevents.md: from tiny_listener.cloudevents import CloudEvent, from_http, to_http, to_nats": (
        "",
        "assert event.has_data",
    ),
    "docs/use/cloudevents.md: with TestClient(app) as client:": (
        (
            "from tiny_listener.cloudevents import *; app = HTTPListener(); seen = []\n"
            "app.listen_cloudevents('/events')\n"
            "@app.on_event('com.example.order.placed')\nasync def placed(total: int): seen.append(total)"
        ),
        "assert seen == [350]",
    ),
    "docs/use/events.md: from tiny_listener import Listener": (
        "",
        "asyncio.run(app.listen())",
    ),
    'docs/use/events.md: @app.get("/ticks")': (
        "import asyncio; from contextlib import suppress; app = HTTPListener()",
        "app.lifecycle.draining.begin(); assert client.get('/ticks').text == ''",
    ),
    'docs/use/events.md: @app.on_event("add the numbers up")': (
        "app = HTTPListener()\n@app.on_event('read {n:int}')\nasync def read(n: int) -> int: return n",
        (
            "async def main():\n"
            "    task = app.trigger_event('add the numbers up', cid='1')\n"
            "    for n in (1, 2, 3): app.trigger_event(f'read {n}', cid='1')\n"
            "    assert await task == 6\n"
            "asyncio.run(main())"
        ),
    ),
    "docs/use/larger.md: def needs(role: Role) -> Callable[..., Coroutine[Any, Any, User]]:": (
        (
            "import enum\nfrom collections.abc import Callable, Coroutine\nfrom typing import Annotated, Any\n"
            "Role, User = enum.Enum('Role', 'CLERK CUSTOMER'), type('User', (), {})\n"
            "async def user(role: str) -> User:\n    found = User()\n    found.role = Role[role]\n    return found\n"
            "CurrentUser = Annotated[User, Depends(user)]"
        ),
        (
            "app = HTTPListener()\n@app.get('/')\nasync def page(clerk: Clerk) -> None: ...\n"
            "with TestClient(app) as c:\n"
            "    assert [c.get(f'/?role={role.name}').status_code for role in Role] == [204, 403]"
        ),
    ),
    'docs/use/http.md: @app.post("/orders/{shop}")': (
        "from dataclasses import dataclass; app = HTTPListener()\n@dataclass\nclass Order: item: str\nReceipt = dict",
        "assert client.post('/orders/7?gift=on', json={'item': 'tea'}).status_code == 204",
    ),
    "docs/use/http.md: with await request.form() as form:": (
        (
            "app = HTTPListener()\n"
            "@app.post('/')\nasync def handler(request: Request):\n    global name, tags, data\n    BLOCK"
        ),
        (
            "body = (b'--x\\r\\ncontent-disposition: form-data; name=name\\r\\n\\r\\nAnn\\r\\n'\n"
            "    b'--x\\r\\ncontent-disposition: form-data; name=tag\\r\\n\\r\\na\\r\\n'\n"
            "    b'--x\\r\\ncontent-disposition: form-data; name=picture; filename=p\\r\\n\\r\\n'\n"
            "    b'PNG\\r\\n--x--\\r\\n')\n"
            "client.post('/', content=body, headers={'content-type': 'multipart/form-data; boundary=x'})\n"
            "assert (name, tags, data) == ('Ann', ['a'], b'PNG')"
        ),
    ),
    "docs/use/http.md: with TestClient(app) as client:": (
        "app = HTTPListener()\n@app.post('/orders')\nasync def orders(): return {'total': 0}",
        "",
    ),
    'docs/use/router.md: register_convertor("lang", "[a-z]{2}", str)': (
        "app = HTTPListener()",
        (
            "from tiny_listener.router import CONVERTOR_TYPES\n"
            "@app.get('/{lang:lang}/about')\nasync def about(lang: str): return lang\n"
            "assert client.get('/de/about').text == 'de'; del CONVERTOR_TYPES['lang']"
        ),
    ),
    "docs/use/sources.md: class Orders(Source):": (
        "",
        (
            "class Message:\n"
            "    topic, body, settled = 'x', b'', []\n"
            "    def ack(self): self.settled.append('ack')\n"
            "    def reject(self): self.settled.append('reject')\n"
            "class Listens:\n"
            "    def dispatch_now(self, topic, data, on_end):\n"
            "        for outcome in ('ok', 'error'):\n"
            "            event = type('Event', (), {'outcome': outcome}); on_end(event)\n"
            "orders = Orders(); orders.listener = Listens(); orders.on_message(Message())\n"
            "assert Message.settled == ['ack', 'reject']"
        ),
    ),
    "docs/use/sources.md: class App(Listener):": (
        (
            "import contextlib; log = []\n"
            "class Message:\n"
            "    topic, body = 'x', b'1'\n"
            "    async def ack(self): log.append('ack')\n"
            "class Broker:\n"
            "    async def subscribe(self, take):\n"
            "        async def deliver():\n"
            "            await take(Message()); await app.graceful_shutdown()\n"
            "        self.task = asyncio.ensure_future(deliver())\n"
            "    async def unsubscribe(self): log.append('unsubscribe')\n"
            "@contextlib.asynccontextmanager\n"
            "async def connect(): yield Broker()"
        ),
        (
            "app = App()\n@app.on_event('x')\nasync def handler(body: bytes): log.append(body)\n"
            "app.run(); assert log == [b'1', 'ack', 'unsubscribe'], log"
        ),
    ),
}
"""For each block that is no file of its own: what comes before it, and what it must do then."""
PUBLIC = """
import asyncio
from tiny_listener import *
from tiny_listener.http import *
from tiny_listener.http.testing import TestClient
"""


def parts() -> dict[str, str]:
    found = {}
    for page in PAGES:
        if page.name == "testing.md":
            continue
        for match in BLOCK.finditer(page.read_text()):
            if "title=" not in match[0].partition("\n")[0]:
                first = match[1].partition("\n")[0].partition("  #")[0]
                found[f"{page.relative_to(ROOT)}: {first}"] = match[1]
    return found


@pytest.mark.parametrize("part", sorted({*PARTS, *parts()}))
def test_a_part_of_a_program_does_what_it_is_shown_for(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = PARTS[part]
    block = parts()[part]
    if "BLOCK" in before:
        block = before.replace("BLOCK", textwrap.indent(block, "    ").strip())
        before = ""
    ask = f"with TestClient(app) as client:\n{textwrap.indent(after, '    ')}" if "client." in after else after
    module = types.ModuleType("shown")
    monkeypatch.setitem(sys.modules, "shown", module)  # a dataclass looks its module up
    exec(f"{PUBLIC}\n{before}\n{block}\n{ask}", vars(module))
