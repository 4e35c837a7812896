"""What all tests share: programs that may be missing, and the event loops that tests run on."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tiny_listener.net.loop import AsyncioLoop, new_event_loop

NOT_INSTALLED = "{} is not installed (make tools installs it)"
NOT_ROOT = "only root can become another user"

# No test has a deadline: a busy machine takes as long as it takes. `too_slow` is one, too, for making the examples.
# A fixture that all examples share, such as a folder, is what tests here ask for.
settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("tests")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose program is not installed; in CI that is a failure."""
    for marker in item.iter_markers("needs"):
        program = marker.args[0]
        if shutil.which(program) is None:
            reason = NOT_INSTALLED.format(program)
            if os.environ.get("CI") == "true":
                pytest.fail(f"{reason}; in CI no test skips")
            pytest.skip(reason)

    if item.get_closest_marker("root") is not None and os.geteuid() != 0:
        pytest.skip(NOT_ROOT)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count what was skipped, by the reason: the processes that run tests report each."""
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} tests were skipped: {reason.removeprefix('Skipped: ')}")


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
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(logging.LogRecord)  # an application that asks for RequestID replaces it
    yield
    logging.setLogRecordFactory(factory)
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """The file that says which version of the application there is."""
    file = tmp_path / "version"
    file.write_text("1")
    return file


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that lets workers boot, while it is there."""
    file = tmp_path / "gate"
    file.touch()
    return file
