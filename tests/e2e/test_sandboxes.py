"""Systems that lack what most have: somewhere to write, shared memory's folder, /proc."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from tests.server import APPS, COMMAND, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(60), pytest.mark.needs("unshare")]

BARE = """
mount --make-rprivate /
umount -l /dev/shm
sed 's/^[^ ]* \\([^ ]*\\).*/\\1/' /proc/self/mounts | while read -r place; do mount -o remount,ro,bind "$place"; done
umount -l /proc
exec "$@"
"""
"""Nothing can be written to, and there is no /proc."""
LAUNCHER = ("unshare", "--mount", "sh", "-c", f"exec 2>/dev/null; {BARE.strip()} 2>&1", "sh")


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a namespace of mounts (unshare --mount)")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_neither_a_place_to_write_nor_proc_are_needed(workers: str) -> None:
    with serving("web:app", "--workers", workers, launcher=LAUNCHER) as server:
        assert server.get("/")[0] == 200
        assert server.admin("/status.json")[0] == 200
        assert server.total("tiny_listener_events_total") == 1
        if workers == "2":
            old = server.workers()
            os.kill(old[0], signal.SIGKILL)
            wait_for(lambda: old[0] not in server.workers() and len(server.workers()) == 2 and server.is_ready())
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: not set(old) & set(server.workers()) and len(server.workers()) == 2)
            assert ": Read-only file system; or choose another path with --control-socket" in server.log
            assert "No control socket: " in server.log
        assert server.get("/")[0] == 200
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_limit_that_needs_proc_is_refused_without() -> None:
    wanted = [*LAUNCHER, *COMMAND, "--workers", "2", "--max-rss", "100", "web:app"]
    done = subprocess.run(wanted, cwd=APPS, capture_output=True, text=True, timeout=30, check=False)
    said = "Error: --max-rss needs /proc to see how much memory a worker uses: mount /proc, or omit --max-rss\n"
    assert (done.returncode, done.stdout) == (1, said)
