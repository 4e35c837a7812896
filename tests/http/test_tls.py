"""TLS: what it lets through is HTTP as without it; what breaks it, or is wrong with its files, harms nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.http.helpers import Serving, load_app, serving, until
from tests.server import command
from tests.server import serving as running
from tests.waiting import wait_for
from tiny_listener.errors import CannotLoad
from tiny_listener.http import HTTPListener, HTTPSettings, Request
from tiny_listener.http.tls import tls_context

pytestmark = pytest.mark.needs("openssl")

HOST = b"Host: x\r\n\r\n"
APP_DIR = ("--app-dir", str(Path(__file__).parent.parent / "apps"))


def openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def make_certificate(folder: Path, name: str = "localhost") -> tuple[str, str]:
    """Make a certificate that vouches for itself; return its file and its key's."""
    certificate, key = str(folder / f"{name}.crt"), str(folder / f"{name}.key")
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
        *("-keyout", key, "-out", certificate, "-subj", f"/CN={name}"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )  # fmt: skip
    return certificate, key


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def files(folder: Path) -> tuple[str, str]:
    return make_certificate(folder)


def client_context(certificate: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def test_requests_over_tls(runner: asyncio.Runner, files: tuple[str, str]) -> None:
    app: HTTPListener = load_app().app

    @app.get("/scheme")
    async def scheme(request: Request) -> str:
        return request.scheme

    async def main() -> None:
        async with serving(app, ssl_certfile=files[0], ssl_keyfile=files[1]) as server:
            client = await server.connect(client_context(files[0]))
            tls = client.writer.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert (await client.ask(b"GET /user/Bob HTTP/1.1\r\n" + HOST)).body == b"Hello, Bob!"
            assert (await client.ask(b"GET /scheme HTTP/1.1\r\n" + HOST)).body == b"https"
            await client.send((b"GET /user/a HTTP/1.1\r\n" + HOST) * 3)
            assert [(await client.receive()).status for _ in range(3)] == [200] * 3
            big = b"x" * 3_000_000
            head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(big)
            await client.send(head + big)
            assert (await client.receive()).body == big
            refused = await client.ask(b"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n")
            assert refused.status == 413
            assert await client.is_closed()

    runner.run(main())


def test_a_drain_over_tls(runner: asyncio.Runner, files: tuple[str, str]) -> None:
    app = HTTPListener()
    release = asyncio.Event()

    @app.get("/wait")
    async def wait() -> str:
        await release.wait()
        return "done"

    async def main() -> None:
        async with serving(app, ssl_certfile=files[0], ssl_keyfile=files[1]) as server:
            client = await server.connect(client_context(files[0]))
            await client.send(b"GET /wait HTTP/1.1\r\n" + HOST)
            while app.http.server is None or not app.http.server.exchanges:
                await asyncio.sleep(0)
            app.http.server.drain()
            release.set()
            response = await client.receive()
            assert (response.body, response.headers["connection"]) == (b"done", "close")
            assert await client.is_closed()
            await asyncio.wait_for(app.http.server.wait_drained(), 10)

    runner.run(main())


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n" + HOST, b"\x16\x03\x01", b""], ids=["http", "part", "silence"])
def test_who_does_not_speak_tls_is_dropped(runner: asyncio.Runner, files: tuple[str, str], data: bytes) -> None:
    async def main() -> None:
        async with serving(ssl_certfile=files[0], ssl_keyfile=files[1], header_timeout=0.3) as server:
            client = await server.connect()
            await client.send(data)
            received = await asyncio.wait_for(client.reader.read(), 10)
            assert b"HTTP" not in received
            other = await server.connect(client_context(files[0]))
            assert (await other.ask(b"GET / HTTP/1.1\r\n" + HOST)).status == 200

    runner.run(main())


def test_what_was_before_tls_1_2_is_refused(files: tuple[str, str]) -> None:
    context = tls_context(HTTPSettings(ssl_certfile=files[0], ssl_keyfile=files[1]))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_ciphers_can_be_chosen(runner: asyncio.Runner, files: tuple[str, str]) -> None:
    only = "ECDHE-ECDSA-CHACHA20-POLY1305"

    async def main() -> None:
        async with serving(ssl_certfile=files[0], ssl_keyfile=files[1], ssl_ciphers=only) as server:
            context = client_context(files[0])
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            client = await server.connect(context)
            assert client.writer.get_extra_info("cipher")[0] == only
            context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await server.connect(context)

    runner.run(main())


def test_clients_show_certificates_where_authorities_are_named(
    runner: asyncio.Runner, folder: Path, files: tuple[str, str]
) -> None:
    known, unknown = make_certificate(folder, "known"), make_certificate(folder, "unknown")

    async def ask(server: Serving, shown: tuple[str, str] | None) -> int:
        context = client_context(files[0])
        if shown is not None:
            context.load_cert_chain(*shown)
        client = await server.connect(context)
        return (await client.ask(b"GET / HTTP/1.1\r\n" + HOST)).status

    async def main() -> None:
        async with serving(ssl_certfile=files[0], ssl_keyfile=files[1], ssl_ca_certs=known[0]) as server:
            assert await ask(server, known) == 200
            for shown in (None, unknown):
                with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                    await ask(server, shown)

    runner.run(main())


def _encrypt(folder: Path, key: str) -> str:
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", str(folder / "encrypted.key"))
    return str(folder / "encrypted.key")


def test_a_drain_waits_for_handshakes(runner: asyncio.Runner, files: tuple[str, str]) -> None:
    async def main() -> None:
        async with serving(ssl_certfile=files[0], ssl_keyfile=files[1]) as server:
            source = server.app.http.server
            assert source is not None
            client = await server.connect()
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            tls = client_context(files[0]).wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            await client.send(outgoing.read())
            incoming.write(await client.reader.read(1 << 16))  # so the server has the connection in flight
            source.drain()
            drained = asyncio.ensure_future(source.wait_drained())
            assert await asyncio.wait({drained}, timeout=0) == (set(), {drained})
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    incoming.write(await client.reader.read(1 << 16))
            tls.write(b"GET /user/Bob HTTP/1.1\r\n" + HOST)
            await client.send(outgoing.read())
            answer = b""
            while not answer.endswith(b"Hello, Bob!"):
                incoming.write(await client.reader.read(1 << 16))
                with contextlib.suppress(ssl.SSLWantReadError):
                    answer += tls.read(1 << 16)
            assert b"\r\nconnection: close\r\n" in answer
            client.writer.close()
            await asyncio.wait_for(drained, 10)

    runner.run(main())


def test_a_drain_does_not_wait_for_a_handshake_that_failed_or_never_ends(
    runner: asyncio.Runner, files: tuple[str, str]
) -> None:
    async def main() -> None:
        async with serving(ssl_certfile=files[0], ssl_keyfile=files[1]) as server:
            source = server.app.http.server
            assert source is not None
            await server.connect()
            await until(lambda: len(source.handshaking) == 1)
            source.drain()
            await asyncio.wait_for(source.wait_drained(), 10)

    runner.run(main())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f, c, k: {"ssl_certfile": "/no/such"}, "--ssl-certfile /no/such: No such file or directory"),
        (lambda f, c, k: {"ssl_keyfile": "/no/such"}, "--ssl-keyfile /no/such: No such file or directory"),
        (lambda f, c, k: {"ssl_keyfile": None}, "it has no private key: add --ssl-keyfile"),
        (lambda f, c, k: {"ssl_keyfile": c}, "it has no private key in PEM format"),
        (lambda f, c, k: {"ssl_certfile": k}, "it has no certificate in PEM format"),
        (lambda f, c, k: {"ssl_ca_certs": k}, "it has no certificate in PEM format"),
        (
            lambda f, c, k: {"ssl_keyfile": make_certificate(f, "other")[1]},
            "the key does not belong to the certificate",
        ),
        (
            lambda f, c, k: {"ssl_keyfile": _encrypt(f, k)},
            "the key is encrypted: decrypt it with openssl pkey -in KEY -out NEW",
        ),
        (lambda f, c, k: {"ssl_ciphers": "NO-SUCH"}, "--ssl-ciphers NO-SUCH: OpenSSL has no such TLS 1.2 cipher"),
        (lambda f, c, k: {"ssl_certfile": None}, "--ssl-keyfile does nothing without --ssl-certfile"),
    ],
)
def test_what_is_wrong_with_the_files_is_said(
    folder: Path, files: tuple[str, str], change: Callable[[Path, str, str], dict[str, Any]], message: str
) -> None:
    settings: dict[str, Any] = {"ssl_certfile": files[0], "ssl_keyfile": files[1]}
    settings.update(change(folder, *files))
    with pytest.raises(CannotLoad, match="ssl") as raised:
        tls_context(replace(HTTPSettings(), **settings))
    assert message in str(raised.value)


def test_a_key_may_stand_in_the_certificates_file(folder: Path, files: tuple[str, str]) -> None:
    both = folder / "both.pem"
    both.write_text(Path(files[1]).read_text() + Path(files[0]).read_text())
    assert tls_context(HTTPSettings(ssl_certfile=str(both))) is not None
    assert load_app().app.settings.ssl_certfile is None


def test_the_command_line_checks_the_files(files: tuple[str, str]) -> None:
    good = command(*APP_DIR, "--check", "--ssl-certfile", files[0], "--ssl-keyfile", files[1], "web:app")
    assert good.returncode == 0
    bad = command(*APP_DIR, "--ssl-certfile", files[0], "web:app")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr.startswith(f"Error: --ssl-certfile {files[0]}: it has no private key")
    assert bad.stderr.count("\n") == 1


def serial_of(port: int) -> bytes | None:
    """Return the certificate that a server shows, in DER."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST)
        assert tls.recv(100).startswith(b"HTTP/1.1 200 OK")
        return tls.getpeercert(binary_form=True)


@pytest.mark.e2e
def test_certificates_are_read_anew_on_hup(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    with running("web:app", "--workers", "2", "--ssl-certfile", certificate, "--ssl-keyfile", key) as server:
        assert f"listens on https://127.0.0.1:{server.port}" in server.log
        first = serial_of(server.port)
        Path(key).write_text("broken")
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the old workers keep serving" in server.log)
        assert f"Error: --ssl-keyfile {key}: it has no private key in PEM format" in server.log
        assert serial_of(server.port) == first
        make_certificate(tmp_path)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: all(serial_of(server.port) != first for _ in range(20)))
        assert server.stop() == 0
