"""With --user: nothing is done with root's rights on a path that somebody else may exchange."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tiny_listener_supervisor import find_identity
from tiny_listener_supervisor.ipc import users_sockets
from tiny_listener_supervisor.ipc.messages import Address
from tiny_listener_supervisor.system import rights
from tiny_listener_supervisor.system.rights import only_root_may_exchange

from tests.server import command, free_port, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.timeout(60)]

NOBODY = pwd.getpwnam("nobody")
SOCKETS = 400
"""More than a test asks for: its worker and the supervisor keep each open."""

TRIES = 10
"""That end well, and as many that do not."""

RACER = """
import itertools, os, sys
theirs, secret, links, user = sys.argv[1:]
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))  # before this the interpreter, which may be in a folder of root's, has begun
os.chdir(links)
for number in itertools.count():
    place = (theirs, secret)[number % 2]
    os.symlink(place, "new")
    os.rename("new", "way")                       # the folder becomes another
    name = f"{theirs}/{number % 400}.sock"
    if number % 5 == 0 and os.path.lexists(name):
        os.symlink(f"{secret}/file", "new")
        os.rename("new", name)                    # the file becomes a link to one of root's
    if number % 100 == 0:
        print(number, flush=True)
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder of root's that everybody may read."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def theirs(public: Path) -> Path:
    """A folder of nobody's."""
    folder = public / "theirs"
    folder.mkdir()
    shutil.chown(folder, "nobody")
    return folder


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for path in folder.iterdir():
        status = path.lstat()
        found[path.name] = status.st_ino, status.st_mode, status.st_uid, status.st_gid, status.st_size
    return found


def test_a_worker_s_user_who_exchanges_paths_reaches_nothing_of_root_s(public: Path, theirs: Path) -> None:
    secret, links = public / "secret", theirs / "links"
    secret.mkdir(mode=0o700)
    (secret / "file").touch(0o600)
    for number in range(SOCKETS):  # of dead servers: the next one that listens there would remove them
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(secret / f"{number}.sock"))
    links.mkdir()
    shutil.chown(links, "nobody")
    before = listing(secret)
    env = {"ASKED_FOR": f"{links}/way/{{}}.sock"}
    words = [sys.executable, "-c", RACER, *map(str, (theirs, secret, links, NOBODY.pw_uid))]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as racer:
        assert racer.stdout is not None
        racer.stdout.readline()
        with serving("asks:app", "--user", "nobody", env=env) as server:
            outcomes = Counter[str]()
            # Both happened often: it was bound where it may be, and refused where it may not.
            while min(outcomes["granted"], outcomes["Permission denied"]) < TRIES and outcomes.total() < SOCKETS:
                outcomes.update(json.loads(server.get("/ask/10")[1]))
            assert min(outcomes["granted"], outcomes["Permission denied"]) >= TRIES, outcomes
            assert server.stop() == 0  # what is removed at the end is removed within the race, too
        racer.terminate()
        assert int(racer.stdout.read().split()[-1]) > 1000
    assert listing(secret) == before


def test_files_at_paths_that_the_user_may_exchange_are_the_user_s(theirs: Path) -> None:
    options = ["--pid-file", theirs / "pid", "--log-file", theirs / "log", "--control-socket", theirs / "control"]
    uds = theirs / "web.sock"
    with serving(
        "whoami:app", "--user", "nobody", "--workers", "2", "--uds", str(uds), *map(str, options), pass_port=False
    ) as server:
        made = {path.name: path.lstat() for path in theirs.iterdir()}
        assert sorted(made) == ["control", "log", "pid", "web.sock"]
        assert {status.st_uid for status in made.values()} == {NOBODY.pw_uid}
        assert stat.S_IMODE(made["control"].st_mode) == 0o600
        # The user puts a link to a file of root's in the log's place: that is not opened for workers to write to.
        (theirs / "precious").touch(0o644)
        (theirs / "log").rename(theirs / "old")
        (theirs / "log").symlink_to("precious")
        server.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: "cannot reopen" in (theirs / "old").read_text())
        assert "Permission denied for user nobody" in (theirs / "old").read_text()
        assert server.stop() == 0
    assert sorted(path.name for path in theirs.iterdir()) == ["log", "old", "precious"]
    assert (theirs / "precious").read_text() == ""


def test_a_socket_in_a_folder_of_root_s_is_for_the_command_line_to_name(public: Path) -> None:
    listens = public / "listens.py"
    listens.write_text(
        "import os\nfrom tiny_listener.http import HTTPListener\n"
        "app = HTTPListener(uds=os.environ['UDS'])\n@app.get('/')\nasync def hello():\n    return 'hello'\n"
    )
    env, options = {"UDS": str(public / "web.sock")}, ("--user", "nobody", "--app-dir", str(public))
    done = command("--admin-port", "0", *options, "listens:app", env=env)
    words = f"cannot listen on {public}/web.sock: no permission for user nobody; choose a folder of that user's"
    assert (done.returncode, words in done.stderr) == (1, True)
    with serving("listens:app", *options, "--uds", env["UDS"], "--uds-mode", "600", env=env, pass_port=False):
        status = (public / "web.sock").stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (NOBODY.pw_uid, 0o600)
    assert not (public / "web.sock").exists()


ASKING = """
import socket
from tiny_listener_supervisor.worker import process as worker
from tiny_listener_supervisor.ipc.messages import Address
from tiny_listener.http import HTTPListener
asked = [{}]
app = HTTPListener()

@app.startup
async def ask():
    worker.SocketClient._address = lambda self, address: Address(*asked[0])
"""


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ((socket.AF_INET, "127.0.0.1", 255, 5, 0, None, socket.SOCK_RAW), "it is neither a TCP or UDP address"),
        ((socket.AF_PACKET, "lo", 0, 5, 0, None, socket.SOCK_RAW), "it is neither a TCP or UDP address"),
        ((socket.AF_INET, "localhost", 0, 5), "it is not a numeric address of its family"),
        ((socket.AF_INET, "127.0.0.1", 0, 2**40), "the port must be from 0 to 65535"),
        ((socket.AF_INET, "127.0.0.1", 70000, 5), "the port must be from 0 to 65535"),
    ],
)
def test_what_a_worker_may_not_ask_for(public: Path, address: tuple[object, ...], words: str) -> None:
    plain = tuple(int(value) if isinstance(value, int) else value for value in address)
    (public / "asking.py").write_text(ASKING.format(plain))
    options = ("--port", str(free_port()), "--admin-port", "0", "--user", "nobody", "--app-dir", str(public))
    done = command(*options, "asking:app")
    assert (done.returncode, words in done.stderr, done.stderr.count("\n") < 4) == (1, True, True), done.stderr


def test_a_path_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users_sockets, "TIME_LIMIT", 0.3)
    monkeypatch.setattr(rights, "_listening", lambda *_: signal.pause())
    address = Address(socket.AF_UNIX, "/theirs/web.sock", 0, 5)

    async def ask() -> OSError:
        users = users_sockets.UsersSockets(rights.Rights(find_identity("nobody", None)))
        loop = asyncio.get_running_loop()
        refused, unexpected = loop.create_future(), partial(pytest.fail, "nothing is made")
        began = loop.time()
        users.open(address, 1, unexpected, unexpected, refused.set_result)
        users.open(address, 2, unexpected, unexpected, unexpected)
        users.forget(2)
        assert loop.time() - began < 0.2
        error: OSError = await refused
        return error

    error = asyncio.run(ask())
    assert "cannot listen on /theirs/web.sock: Connection timed out" in str(error)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_which_paths_only_root_may_exchange(public: Path, theirs: Path) -> None:
    sticky, group, linked = public / "sticky", public / "group", public / "linked"
    for folder, mode in ((sticky, 0o1777), (group, 0o775)):
        folder.mkdir()
        folder.chmod(mode)
    (sticky / "roots").mkdir()
    (theirs / "way").symlink_to(public)
    linked.symlink_to(theirs)
    assert only_root_may_exchange(str(public / "file"))
    assert only_root_may_exchange(str(public / "no" / "such" / "file"))
    assert only_root_may_exchange(str(sticky / "roots" / "file"))
    assert only_root_may_exchange(f"{sticky}/roots/../../file")
    for path in (
        sticky / "file", sticky / "none" / "file", group / "file", theirs / "file", theirs / "way" / "file",
        linked / "file", Path(f"{theirs}/../file"),
    ):  # fmt: skip
        assert not only_root_may_exchange(str(path)), path
    (public / "link").symlink_to(theirs / "log")
    assert not only_root_may_exchange(str(public / "link"))
    (public / "loop").symlink_to("loop")
    assert not only_root_may_exchange(str(public / "loop"))
