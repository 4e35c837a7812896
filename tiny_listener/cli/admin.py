"""Who may ask the admin endpoint: the options that say so."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path

import click

__all__ = ["find_token", "refuse_to_be_open"]

VARIABLE = "TINY_LISTENER_ADMIN_TOKEN"
LONGEST = 4096
"""Bytes of a token: a header field has no room for more (`HTTPSettings.max_header`)."""


def find_token(text: str | None, file: str | None) -> str | None:
    """Return the token that clients have to show, or None.

    It is taken out of the environment: what workers, and children of theirs, do not know they cannot give away.

    :param file: holds it in its first line, in place of `text`
    :raises click.UsageError: the file cannot be read, or the token could not be sent
    """
    os.environ.pop(VARIABLE, None)
    option = "--admin-token"
    if file is not None:
        option = f"--admin-token-file {file}"
        try:
            with Path(file).open("rb") as opened:
                text = opened.readline(LONGEST + 1).decode("latin-1").strip()
        except OSError as exc:
            raise click.UsageError(f"{option}: cannot be read: {exc.strerror}") from None
    if text is None:
        return None
    if not text:
        raise click.UsageError(f"{option}: the token is empty: leave the option out, or give one")
    if not all("!" <= character <= "~" for character in text):  # RFC 9110, 11.2, allows less; this is what can be sent
        raise click.UsageError(f"{option}: a token has only letters, digits and signs of ASCII, and no blanks")
    if len(text) > LONGEST:
        raise click.UsageError(f"{option}: a token has at most {LONGEST} characters")
    return text


def refuse_to_be_open(host: str, token: str | None, *, allowed: bool) -> None:
    """See to it that nobody on other machines asks without a token, unless that is meant.

    :param host: where the admin endpoint is to listen
    :raises click.UsageError: it would be open to others
    """
    if token is None and not allowed and not _is_loopback(host):
        raise click.UsageError(
            f"--admin-host {host or repr(host)} is open to other machines: add --admin-token-file, or --admin-open "
            "if all may read what is there"
        )


def _is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address, or all addresses of a name; False for one that has none."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return all(ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback for *_, address in found)
    except (OSError, ValueError, UnicodeError):
        return False
