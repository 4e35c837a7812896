"""Each example is run as its first lines say."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import mosquitto, rabbitmq
from tests.server import COMMAND, ROOT, command, free_port, serving
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("workers", ["1", "8"])
def test_http_web(workers: str) -> None:
    with serving("http_web:app", "--workers", workers, cwd=EXAMPLES) as server:
        assert server.get("/") == (200, b"Welcome!")
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert server.get("/nothing")[0] == 404
        wait_for(lambda: '- "GET /user/Bob HTTP/1.1" 200 OK\n' in server.log)
        assert "INFO:     127.0.0.1:" in server.log


@pytest.mark.parametrize("workers", ["1", "4"])
def test_http_streams(workers: str) -> None:
    options = ["--workers", workers]
    with serving("http_streams:app", *options, cwd=EXAMPLES, port=8000, pass_port=False) as server:
        assert server.get("/") == (200, b"Welcome!")
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert server.get("/nothing") == (404, b"Page Not Found\n")
        with socket.create_connection(("127.0.0.1", 8000)) as client:
            client.sendall(b"GARBAGE\r\n\r\n")
            assert client.makefile("rb").readline() == b"HTTP/1.1 400 Bad Request\r\n"
        assert server.total("tiny_listener_not_found_total") == 1
        assert "Traceback" not in server.log


def test_steps() -> None:
    done = command("--admin-port", "0", "steps:app", cwd=EXAMPLES)
    assert done.stdout == "Dear Bob, the total is 60.\n"
    assert done.returncode == 0


def test_tcp_chat() -> None:
    with serving("tcp_chat:app", cwd=EXAMPLES, pass_port=False) as server:
        bob = socket.create_connection(("127.0.0.1", 8025))
        ann = socket.create_connection(("127.0.0.1", 8025))
        with bob, ann, bob.makefile("rw") as b, ann.makefile("rw") as a:
            for file, name in ((b, "Bob"), (a, "Ann")):
                print(f"/name {name}", file=file, flush=True)
                assert file.readline() == f"Hello, {name}!\n"
            print("Good morning", file=b, flush=True)
            assert a.readline() == "Bob: Good morning\n"
            print("/who", file=a, flush=True)
            assert a.readline() == "Ann, Bob\n"
        assert server.total("tiny_listener_events_total", event="/name {name}", outcome="ok") == 2


def test_udp_counts(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    # On its own port: a second server on the same would get some of the datagrams, as SO_REUSEPORT is meant to.
    text = (EXAMPLES / "udp_counts.py").read_text()
    (tmp_path / "udp_counts.py").write_text(text.replace("PORT = 8125", f"PORT = {port}"))
    with serving("udp_counts:app", "--workers", "2", cwd=tmp_path, pass_port=False) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:  # one client has one worker
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            for datagram in (b"visits:2|c", b"visits:40|c", b"visits"):
                client.send(datagram)
            assert client.recv(100) == b"42"
        assert "Traceback" not in server.log


def test_every_example_type_checks_its_listener() -> None:
    for app in ("http_web", "http_streams", "shop", "steps", "tcp_chat", "udp_counts"):
        done = subprocess.run([*COMMAND, "--check", f"{app}:app"], cwd=EXAMPLES, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


BROKERS = {"mqtt_sensors": "mosquitto", "amqp_orders": "rabbitmqctl"}
"""Examples that need one, and the program by which it is known that it is there."""
CLIENTS = {
    "http_web": (8000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"Welcome!"),
    "http_streams": (8000, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"Welcome!"),
    "tcp_chat": (8025, b"/name Bob\n", b"Hello, Bob!"),
}
"""Examples that have clients which stay connected: the port, what such a client sends, and what it is answered."""


@pytest.fixture(scope="module")
def broker_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, str]]]:
    """The environment that tells an example of its broker, which runs from when it is asked for."""
    with contextlib.ExitStack() as stack:

        class Brokers(dict[str, dict[str, str]]):
            def __missing__(self, example: str) -> dict[str, str]:
                port, folder = free_port(), tmp_path_factory.mktemp(example)
                if example == "mqtt_sensors":
                    stack.enter_context(mosquitto(folder, port))
                    self[example] = {"MQTT_PORT": str(port)}
                elif example == "amqp_orders":
                    self[example] = {"AMQP_URL": stack.enter_context(rabbitmq(folder, port))}
                else:
                    self[example] = {}
                return self[example]

        yield Brokers()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path.stem, marks=[pytest.mark.needs(BROKERS[path.stem])] if path.stem in BROKERS else [])
        for path in sorted(EXAMPLES.glob("*.py"))
        if path.stem != "steps"  # it ends by itself
    ],
)
def test_a_stop_leaves_nothing_behind(
    broker_of: dict[str, dict[str, str]], example: str, sig: signal.Signals, workers: str
) -> None:
    env = {**broker_of[example], "PYTHONASYNCIODEBUG": "1"}
    with (
        serving(f"{example}:app", "--workers", workers, pass_port=False, cwd=EXAMPLES, env=env) as server,
        contextlib.ExitStack() as clients,
    ):
        if example in CLIENTS:
            port, said, answer = CLIENTS[example]
            client = clients.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(said)
            received = b""
            while answer not in received:
                received += client.recv(1024)
        assert server.stop(sig) == 0
        for word in ("never retrieved", "never awaited", "Traceback", "was destroyed", "unclosed", "ERROR", "CRITICAL"):
            assert word not in server.log, server.log


@pytest.mark.needs("mosquitto")
def test_a_broker_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as broker:
        broker.enter_context(mosquitto(tmp_path, port))
        with serving("mqtt_sensors:app", cwd=EXAMPLES, env={"MQTT_PORT": str(port)}, pass_port=False) as server:
            broker.close()
            wait_for(lambda: server.log.count("the next try is in a second") >= 2)
            assert server.stop() == 0
            assert "never retrieved" not in server.log
            assert "Traceback" not in server.log


def test_orders(tmp_path: Path) -> None:
    with serving("orders:app", "--workers", "4", "--events", f"sqlite:{tmp_path}", cwd=EXAMPLES) as server:
        for number, total in ((1, 350), (2, 50), (3, -1)):
            body = f'{{"customer": "ann", "total": {total}}}'.encode()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as client:
                client.request("POST", f"/order/{number}", body, {"Content-Type": "application/json"})
                assert client.getresponse().status == 202
        assert server.get("/total/ann") == (200, b'{"total":400}')  # it comes after the orders
        wait_for(lambda: "order 3 has a negative total" in server.log)
        assert server.log.index("order 1 of ann") < server.log.index("order 2 of ann")
