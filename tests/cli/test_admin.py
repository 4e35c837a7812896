"""Who may ask the admin endpoint, as the options say."""

from __future__ import annotations

import http.client
import socket
from base64 import b64encode
from pathlib import Path

import pytest

from tests.server import Server, command, serving
from tiny_listener.cli.admin import VARIABLE

TOKEN = "correct-horse:battery"


def ask(server: Server, path: str, authorization: str | None = None, **fields: str) -> tuple[int, list[str]]:
    """Return the status, and what is challenged for."""
    connection = http.client.HTTPConnection("127.0.0.1", server.admin_port, timeout=20)
    try:
        headers = {**fields, **({"Authorization": authorization} if authorization else {})}
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status, [value.split()[0] for value in response.headers.get_all("WWW-Authenticate", [])]
    finally:
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("source", ["option", "variable", "file", "table"])
def test_a_token_is_wanted_wherever_it_comes_from(tmp_path: Path, workers: str, source: str) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "options.toml").write_text(f'admin-token-file = "{tmp_path / "token"}"\n')
    options = {
        "option": ["--admin-token", TOKEN],
        "variable": [],
        "file": ["--admin-token-file", str(tmp_path / "token")],
        "table": ["--config", str(tmp_path / "options.toml")],
    }[source]
    env = {VARIABLE: TOKEN} if source == "variable" else {}
    with serving("web:app", "--workers", workers, *options, env=env) as server:
        for path in ("/", "/metrics", "/status.json", "/overview.json", "/no/such/page"):
            assert ask(server, path) == (401, ["Bearer", "Basic"]), path
            assert ask(server, path, **{"Sec-Fetch-Dest": "empty"}) == (401, ["Bearer"]), path
            assert ask(server, path, f"Bearer {TOKEN}")[0] == (404 if path.startswith("/no") else 200), path
        assert ask(server, "/metrics", f"Basic {b64encode(f'prometheus:{TOKEN}'.encode()).decode()}")[0] == 200
        assert ask(server, "/metrics", f"Bearer {TOKEN[:-1]}")[0] == 401
        assert ask(server, "/livez")[0] == ask(server, "/readyz")[0] == 200
        assert TOKEN not in server.log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_application_does_not_find_the_token_in_its_environment(tmp_path: Path, workers: str) -> None:
    (tmp_path / "curious.py").write_text(
        "import os\nfrom tiny_listener.http import HTTPListener\napp = HTTPListener()\n"
        "@app.get('/')\nasync def names():\n    return sorted(os.environ)\n"
    )
    with serving("curious:app", "--workers", workers, cwd=tmp_path, env={VARIABLE: TOKEN}) as server:
        status, names = server.get("/")
        assert (status, VARIABLE.encode() in names) == (200, False)
        assert ask(server, "/")[0] == 401


def test_what_is_typed_overrules_what_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "options.toml").write_text("admin-open = true\n")
    options = ("--config", str(tmp_path / "options.toml"), "--admin-token", TOKEN)
    with serving("web:app", *options, env={f"{VARIABLE}_FILE": "/no/such/file"}) as server:
        assert ask(server, "/")[0] == 401


def test_open_that_is_false_agrees_with_a_token(tmp_path: Path) -> None:
    closed = {"TINY_LISTENER_ADMIN_OPEN": "false"}
    (tmp_path / "options.toml").write_text(f'admin-token = "{TOKEN}"\n')
    for env, options in (
        ({**closed, VARIABLE: TOKEN}, ()),
        (closed, ("--config", str(tmp_path / "options.toml"))),  # a stronger false takes no weaker token away
    ):
        with serving("web:app", *options, env=env) as server:
            assert ask(server, "/")[0] == 401
    done = command("--check", "web:app", env={"TINY_LISTENER_ADMIN_OPEN": "true", VARIABLE: TOKEN})
    assert (done.returncode, "contradict each other" in done.stderr) == (2, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_an_address_of_this_machine_alone_needs_no_token(host: str) -> None:
    assert command("--check", "--admin-host", host, "web:app").returncode == 0


@pytest.mark.parametrize("options", [("--admin-open",), ("--admin-token", TOKEN)])
def test_other_addresses_need_a_word(options: tuple[str, ...]) -> None:
    done = command("--check", "--admin-host", "0.0.0.0", *options, "web:app")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_token_that_cannot_be_read(tmp_path: Path) -> None:
    done = command("--check", "--admin-token-file", str(tmp_path), "web:app")
    assert done.returncode == 2
    assert f"--admin-token-file {tmp_path}: cannot read the file: Is a directory" in done.stderr


def status_for(server: Server, head: str) -> tuple[int, str]:
    """Return the status of what a head asks for, and the body."""
    with socket.create_connection(("127.0.0.1", server.admin_port), timeout=20) as client:
        client.sendall(head.encode() + b"Connection: close\r\n\r\n")
        response = http.client.HTTPResponse(client)
        response.begin()
        return response.status, response.read().decode()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_name_that_is_not_the_endpoint_s_is_refused(tmp_path: Path, workers: str) -> None:
    (tmp_path / "options.toml").write_text('admin-allowed-hosts = "web.internal, *.cluster.local"\n')
    options = ("--workers", workers, "--config", str(tmp_path / "options.toml"))
    with serving("web:app", *options, env={VARIABLE: TOKEN}) as server:
        for path in (
            "/",
            "/metrics",
            "/livez",
            "/readyz",
            "/no/such/page",
        ):
            for host in ("evil.example", "evil.example:9464", ""):
                head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
                status, text = status_for(server, head)
                assert (status, text.count("\n"), "--admin-allowed-hosts" in text) == (421, 1, True)
        assert status_for(server, "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n")[0] == 421
        for host in ("localhost", "10.0.0.7:9464", "[::1]:9464", "web.internal:9464", "a.b.cluster.local"):
            assert status_for(server, f"GET /livez HTTP/1.1\r\nHost: {host}\r\n")[0] == 200, host
        assert status_for(server, "GET /livez HTTP/1.0\r\n")[0] == 200
