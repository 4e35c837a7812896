"""The limits of HTTP as options of the command line: each reaches the server, and each is checked."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from tests.server import command, serving
from tiny_listener.cli.application import HTTP_OPTIONS
from tiny_listener.cli.main import SECTIONS
from tiny_listener.cli.main import command as click_command
from tiny_listener.http import HTTPSettings

LIMITS = next(names for title, names in SECTIONS.items() if title.startswith("Limits"))


def ask(port: int, data: bytes) -> bytes:
    """Return the first bytes of what comes back."""
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(data)
        return client.recv(12)


def test_each_setting_is_an_option_with_its_default_in_the_help() -> None:
    settings = {field.name: field.default for field in dataclasses.fields(HTTPSettings)}
    assert settings.keys() == HTTP_OPTIONS
    texts = {parameter.name: getattr(parameter, "help", "") for parameter in click_command.params}
    for name in LIMITS:
        assert texts[name].endswith(f"[default: {settings[name]:g}]" if name not in BIG else f"[default: {BIG[name]}]")


BIG = {"max_headers": 65536, "max_body": 16777216}


def test_limits_reach_the_server() -> None:
    options = ("--max-request-line", "100", "--max-header-fields", "3", "--max-body", "5", "--header-timeout", "0.3")
    with serving("web:app", *options) as server:
        head = b"GET / HTTP/1.1\r\nHost: x\r\n"
        assert ask(server.port, head + b"\r\n") == b"HTTP/1.1 200"
        assert ask(server.port, b"GET /" + b"a" * 100 + b" HTTP/1.1\r\nHost: x\r\n\r\n") == b"HTTP/1.1 414"
        assert ask(server.port, head + b"A: b\r\n" * 3 + b"\r\n") == b"HTTP/1.1 431"
        assert ask(server.port, head.replace(b"GET /", b"POST /echo") + b"Content-Length: 6\r\n\r\n") == b"HTTP/1.1 413"
        assert ask(server.port, head) == b"HTTP/1.1 408"


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_checked(name: str) -> None:
    option = f"--{name.replace('_', '-')}"
    done = command(option, "-1", "web:app")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"'{option}': -1" in done.stderr
