"""Real NATS servers for tests: of the newest version, and of the oldest that is supported."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import ROOT, free_ports

sys.path.insert(0, str(ROOT / "loadtest"))

from events.nats_servers import NEWEST, OLDEST, Files, NatsServer, NoAnswer, Setup, running

__all__ = [
    "EACH_VERSION",
    "NEEDED",
    "NEWEST",
    "Files",
    "NatsServer",
    "NoAnswer",
    "Setup",
    "certificates",
    "cluster",
    "single",
]

NEEDED = pytest.mark.needs(NEWEST)
"""For tests that run the newest server."""
EACH_VERSION = [
    pytest.param(NEWEST, id="newest", marks=NEEDED),
    pytest.param(OLDEST, id="oldest", marks=pytest.mark.needs(OLDEST)),
]
"""The binaries of both."""


@contextlib.contextmanager
def single(folder: Path, setup: Setup | None = None, **options: Any) -> Iterator[NatsServer]:
    """Run a server while the block runs, ready from its beginning.

    :param options: fields of `Setup`
    """
    with running(folder, free_ports(1), dataclasses.replace(setup or Setup(), **options)) as (server,):
        yield server


@contextlib.contextmanager
def cluster(folder: Path, size: int = 3, setup: Setup | None = None, **options: Any) -> Iterator[list[NatsServer]]:
    """Run a cluster while the block runs, with a leader from its beginning."""
    with running(folder, free_ports(2 * size), dataclasses.replace(setup or Setup(), **options)) as servers:
        yield servers


def certificates(folder: Path) -> Files:
    """Make an authority, and a certificate by it for 127.0.0.1, for servers and for clients."""
    folder.mkdir(exist_ok=True)
    ca, ca_key, key, csr, certificate = (
        str(folder / name) for name in ("ca.pem", "ca-key.pem", "key.pem", "csr.pem", "cert.pem")
    )
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl("req", "-x509", *new, "-days", "2", "-keyout", ca_key, "-out", ca, "-subj", "/CN=tests")
    _openssl("req", *new, "-keyout", key, "-out", csr, "-subj", "/CN=localhost")
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
    _openssl(
        *("x509", "-req", "-in", csr, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "2"),
        *("-extfile", str(extensions), "-out", certificate),
    )
    return Files(ca, certificate, key)


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)
