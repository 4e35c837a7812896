"""The programs that the README shows do what it says."""

from __future__ import annotations

import http.client
import re
import socket
from pathlib import Path

import pytest

from tests.server import ROOT, free_port, serving
from tests.waiting import wait_for

pytestmark = pytest.mark.e2e

README = (ROOT / "README.md").read_text()
ORDERS = re.findall(r'^```python title="orders.py"\n(.*?)^```$', README, re.MULTILINE | re.DOTALL)[0]


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_http_and_another_source_share_their_hooks(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orders.py").write_text(ORDERS.replace("8025", str(port)))
    with serving("orders:app", "--workers", "2", cwd=tmp_path, env={"PYTHONUNBUFFERED": "1"}) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/orders/tea")
        assert connection.getresponse().read() == b'{"ordered":"tea"}'
        connection.close()
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(b"tea is sold out\n")
            assert client.makefile().readline() == "ok\n"
        wait_for(lambda: "POST:/orders/{item}: {'item': 'tea'}" in server.log)
        wait_for(lambda: "{item} is sold out: {'item': 'tea'}\nno more tea" in server.log)
