"""NATS as deploy/nats configures it: the files are right, and their user may do what servers do, and nothing else."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY, adapted
from tests.nats.servers import NEEDED, NEWEST, Files, NatsServer, NoAnswer, Setup, certificates
from tests.server import Server, free_ports, request, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240), NEEDED, pytest.mark.needs("openssl")]

HASH = '"$2a$11$d3af7ca81525bd870717aOe5ni2gsyRVLPjFrzsGL1PdnMV3Bf1Se"'
FOLDER = DEPLOY / "nats"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return certificates(tmp_path_factory.mktemp("tls"))


def with_tls(text: str, files: Files) -> str:
    """Return a configuration with the files of a test in place of those that it names."""
    for name, here in (("server.pem", files.certificate), ("server-key.pem", files.key), ("ca.pem", files.ca)):
        assert f"/etc/nats/tls/{name}" in text
        text = text.replace(f"/etc/nats/tls/{name}", here)
    return text


def check(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([NEWEST, "-t", "-c", str(folder / name)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["single.conf", "node.conf"])
def test_the_files_are_right(tmp_path: Path, files: Files, name: str) -> None:
    text = with_tls((FOLDER / name).read_text(), files)
    (tmp_path / "users.conf").write_text((FOLDER / "users.conf").read_text())
    for one in (text, adapted_to_verify(text)):
        (tmp_path / name).write_text(one)
        done = check(tmp_path, name)
        assert done.returncode == 0, done.stderr
        assert "is valid" in done.stdout + done.stderr
        assert "Plaintext" not in done.stderr
    (tmp_path / "users.conf").write_text("users: [\n")
    assert check(tmp_path, name).returncode != 0


def adapted_to_verify(text: str) -> str:
    """Return a configuration with the two lines that its comment names."""
    ca = next(line for line in text.splitlines() if line.startswith("    # ca_file"))
    return adapted(text, {ca: ca.replace("# ", ""), "    # verify: true": "    verify: true"})


@contextlib.contextmanager
def nodes(folder: Path, files: Files, count: int) -> Iterator[list[NatsServer]]:
    """Run a server, or three, as the files say but for addresses, paths and the password."""
    ports = free_ports(3 * count)
    routes = "\n".join(f"tls://127.0.0.1:{port}" for port in ports[count : 2 * count])
    # Who logs in may not ask for the state of JetStream.
    setup = Setup(user="shop", password="sesame", tls=files, jetstream=False, inbox="_INBOX_shop")
    servers = []
    for number in range(count):
        server = NatsServer(folder / f"n{number}", ports[number], setup)
        name = "single.conf" if count == 1 else "node.conf"
        text = with_tls((FOLDER / name).read_text(), files)
        changes = {
            "0.0.0.0:4222": f"127.0.0.1:{ports[number]}",
            "127.0.0.1:8222": f"127.0.0.1:{ports[2 * count + number]}",
            "/var/lib/nats": str(server.folder / "store"),
            "server_name: nats1": f"server_name: n{number}",
        }
        if count > 1:
            begin, end = text.index("        tls://nats1"), text.index("    ]")
            changes |= {"0.0.0.0:6222": f"127.0.0.1:{ports[count + number]}", text[begin:end]: f"{routes}\n"}
        (server.folder / "nats.conf").write_text(adapted(text, changes))
        users = adapted((FOLDER / "users.conf").read_text(), {HASH: '"sesame"'})
        (server.folder / "users.conf").write_text(users)
        servers.append(server)
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.until_ready()
        monitors = ports[2 * count :]
        wait_for(lambda: count == 1 or any(map(leads_all, monitors)), 60)
        yield servers
    finally:
        for server in servers:
            server.stop()


def leads_all(monitor: int) -> bool:
    """Whether the server with this port for monitoring leads the others, and hears all of them."""
    found = json.loads(request(monitor, "/jsz")[1]).get("meta_cluster", {}).get("replicas", ())
    return len(found) == 2 and all(one["current"] and not one.get("offline") for one in found)


@contextlib.contextmanager
def shop(folder: Path, servers: list[NatsServer], files: Files, host: str) -> Iterator[Server]:
    """Run a server of the application as the comment in users.conf says."""
    (folder / "password").write_text("sesame\n")
    options = (
        *("--events", ",".join(server.url for server in servers), "--events-app", "shop", "--events-host", host),
        *("--events-replicas", str(len(servers)), "--nats-inbox-prefix", "_INBOX_shop", "--nats-tls-ca", files.ca),
        *("--nats-user", "shop", "--nats-password-file", str(folder / "password"), "--workers", "2"),
        *("--control-socket", str(folder / host)),
    )
    with serving("on_nats:app", *options, env={"NOTES": str(folder / "notes")}) as server:
        yield server


@pytest.mark.parametrize("count", [1, 3])
def test_its_user_may_do_what_servers_do(tmp_path: Path, files: Files, count: int) -> None:
    notes = tmp_path / "notes"
    notes.touch()
    with (
        nodes(tmp_path, files, count) as servers,
        shop(tmp_path, servers, files, "east") as east,
        shop(tmp_path, servers, files, "west") as west,
    ):
        for n in range(1, 21):
            assert east.get(f"/publish/a{n}/{n}", method="POST") == (200, b"false")
        for n in range(8):  # some keys are at the other server
            assert west.get(f"/ask/b{n}/{n}", method="POST") == (200, f"b{n} {n}".encode())
        assert west.get("/later/c/7", method="POST")[0] == 204
        wait_for(lambda: "c 7\n" in notes.read_text())
        for n in (100, 2):
            assert east.get(f"/publish/d/{n}", method="POST")[0] == 200

        def ctl(host: str, *args: str) -> str:
            command = [sys.executable, "-m", "tiny_listener.cli.ctl", "--socket", str(tmp_path / host), *args]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        wait_for(lambda: "rejected" in ctl("west", "dead"))
        wait_for(lambda: "d " in ctl("west", "halted"))
        assert "d 2" not in notes.read_text()
        for host in ("east", "west"):
            ctl(host, "dead", "redrive")
        assert west.get("/publish/d/3", method="POST")[0] == 200
        wait_for(lambda: {"d 100", "d 2", "d 3"} <= set(notes.read_text().splitlines()))
        assert "sesame" not in east.log + west.log
        assert sorted(notes.read_text().split("\n"))[1:21] == sorted(f"a{n} {n}" for n in range(1, 21))
    for server in servers:
        assert "Permissions Violation" not in server.log.read_text()


@pytest.mark.parametrize(
    "subject",
    [
        "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.DELETE.TL_shop", "$JS.API.STREAM.PURGE.TL_shop",
        "$JS.API.STREAM.UPDATE.TL_shop", "$JS.API.STREAM.CREATE.TL_bank", "$JS.API.STREAM.INFO.TL_bank",
        "$JS.API.CONSUMER.MSG.NEXT.TL_bank.k0", "$JS.ACK.TL_bank.k0.1.1.1.1.1", "tl.bank.k0.x", "tlm.bank", "tl.shop",
        "_INBOX_shop.x", "$SYS.REQ.SERVER.PING",
    ],
)  # fmt: skip
def test_its_user_may_do_nothing_else(denied: NatsServer, subject: str) -> None:
    with denied.setup.connect(denied.port) as wire, pytest.raises(NoAnswer, match="Permissions Violation for Publish"):
        wire.ask(subject)


@pytest.fixture(scope="module")
def denied(tmp_path_factory: pytest.TempPathFactory, files: Files) -> Iterator[NatsServer]:
    with nodes(tmp_path_factory.mktemp("denied"), files, 1) as (server,):
        yield server


def test_who_has_another_password_is_refused(denied: NatsServer) -> None:
    with pytest.raises(NoAnswer, match="Authorization Violation"):
        dataclasses.replace(denied.setup, password="sesam").connect(denied.port)
