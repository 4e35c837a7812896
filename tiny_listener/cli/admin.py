"""Options that control access to the admin endpoint."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import click

__all__ = ["find_token", "refuse_to_be_open"]

VARIABLE = "TINY_LISTENER_ADMIN_TOKEN"
MAX_TOKEN = 4096
"""Maximum length of a token in bytes: a header field has no room for more (`HTTPSettings.max_header`)."""


def find_token(text: str | None, file: str | None) -> str | None:
    """Return the token that clients must present, or None.

    It is removed from the environment, so that workers and their children cannot leak it.

    :param file: holds the token in its first line, instead of `text`
    :raises click.UsageError: the file cannot be read, or the token could not be sent
    """
    os.environ.pop(VARIABLE, None)
    option = "--admin-token"
    if file is not None:
        option = f"--admin-token-file {file}"
        try:
            with Path(file).open("rb") as opened:
                text = opened.readline(MAX_TOKEN + 1).decode("latin-1").strip()
        except OSError as exc:
            raise click.UsageError(f"{option}: cannot read the file: {exc.strerror}") from None
    if text is None:
        return None
    if not text:
        raise click.UsageError(f"{option}: the token is empty: omit the option, or set a token")
    if not all(
        "!" <= character <= "~" for character in text
    ):  # what a header field can carry; RFC 9110, 11.2, allows less
        raise click.UsageError(f"{option}: a token must consist of printable ASCII characters without spaces")
    if len(text) > MAX_TOKEN:
        raise click.UsageError(f"{option}: a token has at most {MAX_TOKEN} characters")
    return text


def refuse_to_be_open(host: str, token: str | None, *, allowed: bool) -> None:
    """Make sure that other machines have no access without a token, unless that is intended.

    :param host: the host that the admin endpoint listens on
    :raises click.UsageError: it would be open to other machines
    """
    if token is None and not allowed and not _is_loopback(host):
        raise click.UsageError(
            f"--admin-host {host or repr(host)} is reachable from other machines: add --admin-token-file, or "
            "--admin-open to allow access without a token"
        )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or all addresses of a name; False if the name has none."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
    except (OSError, ValueError, UnicodeError):
        return False
