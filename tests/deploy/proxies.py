"""Real proxies in front of a real server, with the configurations that deploy/ has."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.server import ROOT
from tests.waiting import wait_for

DEPLOY = ROOT / "deploy"


def adapted(text: str, changes: Mapping[str, str]) -> str:
    """Replace what a team has to change too; each must be there, once."""
    for old, new in changes.items():
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


@dataclass
class Proxy:
    """A proxy that runs.

    :ivar port: where it listens, on 127.0.0.1
    :ivar tls: how to speak to it, when it speaks TLS
    """

    process: subprocess.Popen[bytes]
    port: int
    log_file: Path
    tls: ssl.SSLContext | None = None

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def origin(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Ask tests/apps/proxied.py for what it sees; from an address that is not a trusted proxy's."""
        here = ("127.0.0.2", 0)
        if self.tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20, source_address=here)
        else:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=20, source_address=here, context=self.tls
            )
        with contextlib.closing(connection):
            connection.request("GET", "/origin", headers=dict(headers or {}))
            response = connection.getresponse()
            assert response.status == 200, (response.status, self.log)
            found: dict[str, str] = json.loads(response.read())
            return found


@contextlib.contextmanager
def running(*command: str, port: int, folder: Path) -> Iterator[Proxy]:
    """Run a proxy while the block runs, from when it listens."""
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    proxy = Proxy(process, port, log)

    def listens() -> bool:
        assert process.poll() is None, proxy.log
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 5).close()
            return True
        return False

    try:
        wait_for(listens, what=f"{command[0]} listens")
        yield proxy
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


NGINX_MAIN = """
{user}
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log stderr info;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tiny-listener.conf;
}}
"""
"""As Debian's, without its paths; the file of deploy/ is included as from conf.d/."""


@contextlib.contextmanager
def nginx(folder: Path, port: int, changes: Mapping[str, str]) -> Iterator[Proxy]:
    """Run nginx with deploy/nginx/tiny-listener.conf."""
    folder.mkdir()
    text = (DEPLOY / "nginx" / "tiny-listener.conf").read_text()
    (folder / "tiny-listener.conf").write_text(adapted(text, changes))
    main = folder / "nginx.conf"
    user = "user root;" if os.geteuid() == 0 else ""  # pytest's folders are only for who made them
    main.write_text(NGINX_MAIN.format(user=user, folder=folder))
    command = ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(main)]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    with running(*command, port=port, folder=folder) as proxy:
        yield proxy


@contextlib.contextmanager
def haproxy(folder: Path, port: int, changes: Mapping[str, str]) -> Iterator[Proxy]:
    """Run haproxy with deploy/haproxy/haproxy.cfg."""
    folder.mkdir()
    text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
    path = folder / "haproxy.cfg"
    path.write_text(
        adapted(
            text,
            {
                "    log /dev/log local0\n": "    log stderr format raw local0\n",
                "    maxconn 20000\n": "    maxconn 500\n",  # an ordinary user may not open as many files
                "    user haproxy\n    group haproxy\n    chroot /var/lib/haproxy\n": "",
                **changes,
            },
        )
    )
    # -dW: a warning is a failure.
    checked = subprocess.run(["haproxy", "-dW", "-c", "-f", str(path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with running("haproxy", "-dW", "-db", "-f", str(path), port=port, folder=folder) as proxy:
        yield proxy


@dataclass
class Load:
    """What became of the requests of clients that keep their connections.

    :ivar outcomes: by method and status, or name of the error
    """

    port: int
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _client(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        count = 0
        while not self._stop.is_set():
            count += 1
            method, path, body = "GET", "/user/Bob", None
            if count % 2:
                method, path, body = "POST", "/echo", f"{number} {count}".encode()
            try:
                connection.request(method, path, body=body)
                response = connection.getresponse()
                answer = response.read()
                good = answer == (body or b"Hello!")
                outcome = str(response.status) if good or response.status != 200 else "another's answer"
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
                connection.close()
            with self._lock:
                self.outcomes[method, outcome] += 1
            # Some clients are silent now and then, so that the proxy has idle connections of all ages.
            if number % 2 and not count % 50:
                self._stop.wait(0.2 * number)
        connection.close()

    @property
    def answered(self) -> int:
        return self.outcomes["GET", "200"] + self.outcomes["POST", "200"]

    def more(self, count: int) -> None:
        """Wait until so many more requests were answered."""
        seen = self.answered
        wait_for(lambda: self.answered >= seen + count, 60, f"{count} more answers: {self.outcomes}")


@contextlib.contextmanager
def load(port: int, clients: int = 8) -> Iterator[Load]:
    """Let so many clients ask while the block runs, for GET and POST in turns."""
    it = Load(port)
    threads = [threading.Thread(target=it._client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield it
    finally:
        it._stop.set()
        for thread in threads:
            thread.join(30)
