"""The options of the HTTP server, with where each default comes from."""

from __future__ import annotations

from dataclasses import dataclass

from .forwarded import ProxyHeaders

__all__ = ["HTTPSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """How the HTTP server listens, and what it bears."""

    host: str = "127.0.0.1"
    """A name or an address; "" for all interfaces. Nobody outside sees a server that was not told to be seen."""
    port: int = 8000
    """As uvicorn's and gunicorn's; 0 for one of the system's choice."""
    uds: str | None = None
    """The path of a unix socket, in place of host and port."""
    uds_mode: int | None = None
    """The permissions of its file, such as 0o660: who may connect needs to write. By default what the umask leaves."""
    fd: int | tuple[int, ...] | None = None
    """The number of an open listening socket, or of several, in place of host and port."""
    ssl_certfile: str | None = None
    """A PEM file with the certificate and those that vouch for it: then the server speaks TLS, 1.2 and up."""
    ssl_keyfile: str | None = None
    """A PEM file with its key, unless that is in `ssl_certfile`; not encrypted."""
    ssl_ca_certs: str | None = None
    """A PEM file with the authorities that must vouch for a client: then each has to show a certificate."""
    ssl_ciphers: str | None = None
    """Ciphers of TLS 1.2, as OpenSSL lists them; OpenSSL's own choice by default."""
    proxy_headers: ProxyHeaders | None = None
    """Which fields say where a request came from when a trusted proxy sends it: `x-forwarded` (X-Forwarded-For and
    -Proto) or `forwarded` (RFC 7239); None: neither is looked at."""
    forwarded_allow_ips: str = "127.0.0.1,::1,unix:"
    """The proxies that are trusted: addresses and networks, `unix:` for a unix socket, `*` for everybody."""
    backlog: int = 2048
    """Connections that may wait to be accepted: uvicorn's and gunicorn's default."""
    max_request_line: int = 8 * 1024
    """Bytes, here and below with the CRLF of each line; past it 414. RFC 9112 section 3 recommends at least 8,000
    octets; nginx and Apache take 8 KiB."""
    max_header: int = 8 * 1024
    """Bytes of one header line; past it 431. nginx: large_client_header_buffers 8k."""
    max_headers: int = 64 * 1024
    """Bytes of all header lines; past it 431. h11 and gunicorn allow about as much."""
    max_header_fields: int = 100
    """Past it 431. Apache's LimitRequestFields, gunicorn's limit_request_fields."""
    max_body: int = 16 * 1024 * 1024
    """Bytes; past it 413. A route's own `max_body=...` comes first."""
    header_timeout: float = 30.0
    """Seconds from a request's first byte to the end of its head; past it 408. Apache: RequestReadTimeout 20-40.
    And as many for a TLS handshake."""
    body_timeout: float = 60.0
    """Seconds that a body may be idle; past it 408. nginx: client_body_timeout 60s."""
    keep_alive_timeout: float = 75.0
    """Seconds that a connection may be idle between requests; 0: none is kept, and each answer says so. nginx:
    keepalive_timeout 75s."""
    write_timeout: float = 60.0
    """Seconds that a client may take no byte of what was written, in any state. nginx: send_timeout 60s."""
    linger_time: float = 30.0
    """Seconds for which what a client sends after its last response is discarded. nginx: lingering_time 30s; Apache
    the same. During a drain no more than `linger_timeout`."""
    linger_timeout: float = 5.0
    """Seconds that such a client may be idle. nginx: lingering_timeout 5s."""
    limit_concurrency: int | None = None
    """Requests in flight in one worker, of which a connection has one at a time; past it 503 with Retry-After."""
    access_log: bool = False
    """One line a request on the logger `tiny_listener.access`."""

    @property
    def safe_size(self) -> int:
        """Bytes of a head that breaks no limit of bytes, whatever is in it."""
        return min(self.max_request_line, self.max_headers, self.max_header)
