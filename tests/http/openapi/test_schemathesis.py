"""Schemathesis reads the document of an application and attacks the application by it, over a real socket."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

HERE = Path(__file__).parent
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,positive_data_acceptance,missing_required_header"
)


def order(port: int) -> None:
    """Place order 1, which the attacks are about: attacks.py names it."""
    shop = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"authorization": "Bearer ann-token", "content-type": "application/json"}
    shop.request("POST", "/api/orders", b'{"lines": [{"sku": "tea"}]}', headers)
    assert shop.getresponse().status == 201
    shop.close()


@pytest.mark.parametrize("who", ["nobody", "ann-token", "bob-token"])
@pytest.mark.parametrize("app", ["shop:app"])
def test_an_example_answers_as_it_says(app: str, who: str, tmp_path: Path) -> None:
    # A clerk's feed is left out: it never ends.
    identity = [] if who == "nobody" else ["-H", f"Authorization: Bearer {who}", "--exclude-path", "/api/feed"]
    with serving(app, cwd=ROOT / "examples") as server:
        order(server.port)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"),
                *(f"http://127.0.0.1:{server.port}/openapi.json", "--checks", CHECKS, "--max-examples", "40"),
                *("--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--no-color", *identity),
            ],
            cwd=tmp_path,
            env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "attacks.py")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in server.log
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
