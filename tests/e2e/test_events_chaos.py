"""Keyed events while processes are killed, reloaded and scaled; and a carrier for which the oracle must find faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.nats.servers import EACH_VERSION
from tests.server import ROOT

pytestmark = pytest.mark.e2e


def chaos(*options: str) -> tuple[int, str]:
    """Run loadtest/events_chaos.py; return its exit code and what it printed."""
    command = [sys.executable, str(ROOT / "loadtest" / "events_chaos.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("store", "keys", "skew"), [("sqlite", 64, 0), ("memory", 400, 1)])
def test_the_order_of_each_key_holds(store: str, keys: int, skew: int) -> None:
    code, text = chaos(
        *("--store", store, "--events", "6000", "--kills", "8", "--period", "0.5"),
        *("--keys", str(keys), "--skew", str(skew)),
    )
    assert code == 0, text
    assert "6000 events; 0 out of order; 0 overlaps; 0 missing" in text


@pytest.mark.timeout(300)
@pytest.mark.parametrize("binary", EACH_VERSION)
def test_the_order_of_each_key_holds_on_nats(binary: str) -> None:
    """Two servers share a NATS server; all of them are killed, but no old one: it loses what it has confirmed."""
    is_old = binary == EACH_VERSION[-1].values[0]
    code, text = chaos(
        *(("--keep-nats",) if is_old else ()),
        *("--store", "nats", "--nats-server", binary, "--events", "4000", "--kills", "10", "--period", "1"),
        *("--keys", "64", "--seed", "4"),
    )
    assert code == 0, text
    assert "4000 events; 0 out of order; 0 overlaps; 0 missing" in text


def test_without_confirmed_settling_the_oracle_fails() -> None:
    """An engine that starts the next event before it is stored that the last one is settled reorders what is seen."""
    code, text = chaos(
        *("--store", "sqlite", "--events", "8000", "--kills", "8", "--period", "0.5", "--keys", "32", "--seed", "2"),
        *("--command", "tests/with_unconfirmed_settling.py"),
    )
    assert code == 1, text
    assert " 0 out of order" not in text
