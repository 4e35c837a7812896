"""nginx and haproxy in front, as deploy/ configures them."""

from __future__ import annotations

import contextlib
import re
import signal
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.deploy import proxies
from tests.deploy.proxies import DEPLOY, Proxy, load
from tests.server import Server, free_port, serving
from tests.waiting import wait_for
from tiny_listener.http import HTTPSettings
from tiny_listener.http.h1.drain_schedule import KEPT_GRACE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

Kind = str
KINDS = [pytest.param(kind, marks=pytest.mark.needs(kind)) for kind in ("nginx", "haproxy")]
START: dict[Kind, Callable[[Path, int, Mapping[str, str]], contextlib.AbstractContextManager[Proxy]]] = {
    "nginx": proxies.nginx,
    "haproxy": proxies.haproxy,
}


PLACES = {"socket": "/run/tiny-listener/web.sock", "tls": "/etc/ssl/tiny-listener", "admin": "9464", "nginx": "443"}
PLACES |= {"haproxy": ":443"}
"""What is elsewhere in a test."""


def comment_in(text: str, **here: str) -> tuple[str, str]:
    """A comment, and what it becomes when it is taken in, with these in place of what it names."""
    new = {PLACES[name]: place for name, place in here.items()}
    return text, re.sub("|".join(map(re.escape, new)), lambda found: new[found[0]], text.replace("# ", ""))


def changes(kind: Kind, folder: Path, port: int, server: Server, *, uds: bool, tls: bool) -> dict[str, str]:
    """What a team changes in the configuration, by what stands there."""
    here = {"socket": str(folder / "web.sock"), "tls": str(folder), "admin": str(server.admin_port)}
    here[kind] = f"127.0.0.1:{port}"
    if kind == "nginx":
        plain, tcp = "    listen 80;\n", "    server 127.0.0.1:8000;\n"
        unix = ["    # server unix:/run/tiny-listener/web.sock;\n"]
        secure = [
            "    # listen 443 ssl;\n",
            "    # ssl_certificate /etc/ssl/tiny-listener/fullchain.pem;\n",
            "    # ssl_certificate_key /etc/ssl/tiny-listener/key.pem;\n",
        ]
    else:
        plain, tcp = "    bind :80\n", "    server web 127.0.0.1:8000 check port 9464\n"
        unix = ["    # server web unix@/run/tiny-listener/web.sock check addr 127.0.0.1 port 9464\n"]
        secure = ["    # bind :443 ssl crt /etc/ssl/tiny-listener/all.pem\n"]
    made = {
        plain: re.sub("(:?80)", here[kind], plain),
        tcp: tcp.replace("8000", str(server.port)).replace("9464", here["admin"]),
    }
    if uds:
        made |= {tcp: "", **dict(comment_in(line, **here) for line in unix)}
    if tls:
        made |= {plain: "", **dict(comment_in(line, **here) for line in secure)}
    return made


@contextlib.contextmanager
def pair(
    kind: Kind, folder: Path, *options: str, uds: bool = False, tls: bool = False
) -> Iterator[tuple[Server, Proxy]]:
    """A server, and a proxy in front of it."""
    place = ["--uds", str(folder / "web.sock"), "--uds-mode", "660"] if uds else []
    with serving("proxied:app", "--proxy-headers", *place, *options, pass_port=not uds) as server:
        port = free_port()
        with START[kind](folder / kind, port, changes(kind, folder, port, server, uds=uds, tls=tls)) as proxy:
            yield server, proxy


@pytest.mark.parametrize("uds", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("kind", KINDS)
def test_who_asks_arrives_and_connections_are_kept(kind: Kind, uds: bool, tmp_path: Path) -> None:
    with pair(kind, tmp_path, "--workers", "2", uds=uds) as (server, proxy):
        host = f"127.0.0.1:{proxy.port}"
        seen = {"client": "127.0.0.2", "scheme": "http", "host": host, "url": f"http://{host}/origin"}
        assert proxy.origin() == seen
        lies = {
            "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "81", "X-Forwarded-Prefix": "/evil",
        }  # fmt: skip
        assert proxy.origin(lies) == seen
        with load(proxy.port, clients=4) as it:
            it.more(500)
            # Kept, and asked again: there are far fewer than requests.
            wait_for(lambda: 1 <= server.total("tiny_listener_connections") <= 16)
        assert set(it.outcomes) == {("GET", "200"), ("POST", "200")}


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("kind", KINDS)
def test_tls_ends_at_the_proxy(kind: Kind, tmp_path: Path) -> None:
    chain, key, both = (tmp_path / name for name in ("fullchain.pem", "key.pem", "all.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    both.write_bytes(chain.read_bytes() + key.read_bytes())
    with pair(kind, tmp_path, tls=True) as (_, proxy):
        proxy.tls = ssl.create_default_context(cafile=chain)
        assert proxy.origin({"X-Forwarded-Proto": "http"})["scheme"] == "https"


@pytest.mark.parametrize("uds", [False, True], ids=["tcp", "unix"])
@pytest.mark.parametrize("kind", KINDS)
def test_reloads_and_scaling_are_not_noticed(kind: Kind, uds: bool, tmp_path: Path) -> None:
    with pair(kind, tmp_path, "--workers", "2", uds=uds) as (server, proxy), load(proxy.port) as it:
        it.more(300)
        for count in (1, 2, 3):
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda count=count: server.log.count("is being replaced: reload") == 2 * count)  # type: ignore[misc]
            wait_for(lambda: len(server.workers()) == 2, what="the old workers are gone")
            it.more(300)
        for sig, workers in [
            (signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3), (signal.SIGTTOU, 2), (signal.SIGTTOU, 1),
        ]:  # fmt: skip
            server.process.send_signal(sig)
            wait_for(lambda workers=workers: len(server.workers()) == workers)  # type: ignore[misc]
            it.more(300)
    assert set(it.outcomes) == {("GET", "200"), ("POST", "200")}, (it.outcomes, proxy.log[-3000:])


@pytest.mark.needs("haproxy")
def test_haproxy_lets_go_of_a_server_that_is_told_to_stop(tmp_path: Path) -> None:
    with (
        pair("haproxy", tmp_path, "--workers", "2", "--drain-delay", "20") as (server, proxy),
        load(proxy.port, clients=2) as it,
    ):
        it.more(50)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "Server tiny_listener/web is DOWN" in proxy.log, what="haproxy heard 503 from /readyz")
        assert server.get("/user/Bob") == (200, b"Hello!")  # what still comes is answered
        assert {"502", "200"} & {status for _, status in it.outcomes} == {"200"}
        server.process.send_signal(signal.SIGTERM)


def seconds(text: str) -> float:
    """A time as nginx and haproxy write it."""
    found = re.fullmatch(r"(\d+)(ms|s)", text)
    assert found, text
    return int(found[1]) * {"ms": 0.001, "s": 1.0}[found[2]]


def test_times_and_limits_fit_those_of_the_server() -> None:
    ours = HTTPSettings()
    nginx = dict(re.findall(r"^ +(\w+) (\w+);", (DEPLOY / "nginx" / "tiny-listener.conf").read_text(), re.MULTILINE))
    haproxy = dict(
        re.findall(r"^ +timeout ([\w-]+) (\w+)$", (DEPLOY / "haproxy" / "haproxy.cfg").read_text(), re.MULTILINE)
    )
    assert seconds(nginx["keepalive_timeout"]) < KEPT_GRACE < ours.keep_alive_timeout
    assert nginx["client_max_body_size"] == f"{ours.max_body // 2**20}m"
    graceful = 30  # --graceful-timeout
    for time in (nginx["proxy_read_timeout"], haproxy["server"]):
        assert seconds(time) > graceful
