"""What all tests share: programs that may be missing, and the event loops that tests run on."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tiny_listener.loop import AsyncioLoop, new_event_loop

_missing: dict[str, int] = {}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed; in CI that is a failure."""
    for marker in item.iter_markers("needs"):
        program = marker.args[0]
        if shutil.which(program) is None:
            _missing[program] = _missing.get(program, 0) + 1
            reason = f"{program} is not installed (make tools installs it)"
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason}; in CI no test skips")
            pytest.skip(reason)

    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        _missing["root"] = _missing.get("root", 0) + 1
        pytest.skip("only root can become another user")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count what was skipped for want of a program."""
    for program, count in sorted(_missing.items()):
        why = "they need root" if program == "root" else f"{program} is not installed"
        terminalreporter.write_line(f"{count} tests were skipped: {why}")


def _debug_loop() -> asyncio.AbstractEventLoop:
    loop = AsyncioLoop()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600.0  # on a busy machine any is slow, and a warning of it is no failure
    return loop


@pytest.fixture(params=[new_event_loop, _debug_loop], ids=["uvloop", "asyncio-debug"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """A runner on uvloop, and one on asyncio's loop in debug mode."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture(autouse=True, scope="session")
def _own_runtime_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the control sockets of servers that tests start away from those of the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))
        yield


@pytest.fixture(autouse=True)
def _own_logger() -> Iterator[None]:
    """Leave the logger as it was: the command, run within a test, sets it up for the whole process."""
    logger = logging.getLogger("tiny_listener")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])
