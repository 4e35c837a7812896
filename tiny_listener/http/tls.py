"""TLS: the context for a server's settings.

Certificates are read when a listener starts listening, in each worker. So a reload reads them again, and a worker that
cannot read them does not become ready: the old workers keep serving.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CannotLoad, WrongOptions

if TYPE_CHECKING:
    from .settings import HTTPSettings

__all__ = ["tls_context"]


def tls_context(settings: HTTPSettings) -> ssl.SSLContext | None:
    """Return the context for a server with these settings; None if they do not enable TLS.

    TLS 1.2 or later (RFC 8996 forbids older versions), without compression and renegotiation; ALPN offers only
    `http/1.1` (RFC 7301). If `ssl_ca_certs` is set, clients must present a certificate from one of its authorities.

    :raises CannotLoad: a file cannot be read or is invalid
    :raises WrongOptions: the settings contradict each other
    """
    if settings.ssl_certfile is None:
        for name in ("ssl_keyfile", "ssl_ca_certs", "ssl_ciphers"):
            if getattr(settings, name) is not None:
                raise WrongOptions(f"{_option(name)} does nothing without --ssl-certfile")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    certificate, key = settings.ssl_certfile, settings.ssl_keyfile
    _check_pem("ssl_certfile", certificate, b"-----BEGIN CERTIFICATE-----", "it has no certificate in PEM format")
    if key is not None:
        _check_pem("ssl_keyfile", key, b"PRIVATE KEY-----", "it has no private key in PEM format")
    else:
        _check_pem("ssl_certfile", certificate, b"PRIVATE KEY-----", "it has no private key: add --ssl-keyfile")
    name, path = ("ssl_keyfile", key) if key is not None else ("ssl_certfile", certificate)
    _do(name, path, lambda: context.load_cert_chain(certificate, key, _no_password))
    ca_certs, ciphers = settings.ssl_ca_certs, settings.ssl_ciphers
    if ca_certs is not None:
        _check_pem("ssl_ca_certs", ca_certs, b"-----BEGIN CERTIFICATE-----", "it has no certificate in PEM format")
        _do("ssl_ca_certs", ca_certs, lambda: context.load_verify_locations(ca_certs))
        context.verify_mode = ssl.CERT_REQUIRED
    if ciphers is not None:
        _do("ssl_ciphers", ciphers, lambda: context.set_ciphers(ciphers))
    return context


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_pem(name: str, path: str, marker: bytes, otherwise: str) -> None:
    # For every error in a file OpenSSL says only "PEM lib".
    try:
        text = Path(path).read_bytes()
    except OSError as exc:
        raise CannotLoad(f"{_option(name)} {path}: {exc.strerror}") from None
    if marker not in text:
        raise CannotLoad(f"{_option(name)} {path}: {otherwise}")


REASONS = {
    "KEY_VALUES_MISMATCH": "the key does not belong to the certificate",
    "No cipher can be selected.": "OpenSSL has no such TLS 1.2 cipher; `openssl ciphers` lists those that it has",
}


def _do(name: str, value: str, step: Callable[[], Any]) -> None:
    try:
        step()
    except ssl.SSLError as exc:
        reason = str(getattr(exc, "reason", None) or exc.args[0])
        raise CannotLoad(f"{_option(name)} {value}: {REASONS.get(reason, f'OpenSSL cannot use it: {exc}')}") from None
    except (OSError, ValueError) as exc:
        raise CannotLoad(f"{_option(name)} {value}: {getattr(exc, 'strerror', None) or exc}") from None


def _no_password() -> str:
    # Without this OpenSSL would ask at the terminal, in each worker.
    raise ValueError("the key is encrypted: decrypt it with openssl pkey -in KEY -out NEW and protect the file")
