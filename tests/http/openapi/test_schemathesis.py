"""Schemathesis reads the document of an application and attacks the application by it, over a real socket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.server import ROOT, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,positive_data_acceptance,missing_required_header"
)


@pytest.mark.parametrize("app", ["shop:app"])
def test_an_example_answers_as_it_says(app: str, tmp_path: Path) -> None:
    with serving(app, cwd=ROOT / "examples") as server:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{server.port}/openapi.json"),
                *("--checks", CHECKS, "--max-examples", "40", "--seed", "20261128", "--no-color"),
                *("--exclude-path", "/docs", "--phases", "examples,coverage,fuzzing"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
