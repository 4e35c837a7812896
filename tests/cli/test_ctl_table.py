"""The table that `tiny-listenerctl status` shows."""

from __future__ import annotations

import msgspec
import pytest
from tiny_listener_supervisor.admin.status import ProcessStatus, Status
from tiny_listener_supervisor.fleet.reload_status import ReloadStatus

from tiny_listener.cli.status_table import table

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SERVER = Status(5, "degraded", 61.0, 3, 1, ["/run/web.sock"], 7, None, [])


def test_the_table() -> None:
    processes = [
        ProcessStatus(0, "ready", 77, 93784.5, 3, 0, 52 * 2**20, 4, 12345),
        ProcessStatus(10, "retired", accept_queue=0, restarts=2, last_exit="exited with code 3"),
    ]
    assert table(msgspec.structs.replace(SERVER, processes=processes)) == (
        "tiny-listener 5: degraded, 1 worker on /run/web.sock, up 1 min 1 s, 7 connections waiting\n"
        "SLOT  STATE    PID      AGE  VERSION  RESTARTS     RSS  QUEUE  EVENTS  LAST EXIT\n"
        "   0  ready     77  1 d 2 h        3         0  52 MiB      4   12345  -\n"
        "  10  retired    -        -        -         2       -      0       -  exited with code 3"
    )


@pytest.mark.parametrize(
    ("reload", "line"),
    [
        (ReloadStatus(3, "running"), "reload 3 in progress"),
        (ReloadStatus(3, "done"), "SLOT"),
        (
            ReloadStatus(3, "failed", "worker 0 exited before it was ready", 0),
            "reload 3 failed: worker 0 exited before it was ready",
        ),
    ],
)
def test_the_table_tells_of_a_reload_that_is_no_success(reload: ReloadStatus, line: str) -> None:
    assert table(msgspec.structs.replace(SERVER, reload=reload)).split("\n")[1].startswith(line)
