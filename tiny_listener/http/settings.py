"""The options of the HTTP server, with the source of each default."""

from __future__ import annotations

from dataclasses import dataclass

from .forwarded import ProxyHeaders

__all__ = ["HTTPSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPSettings:
    """How the HTTP server listens, and its limits."""

    host: str = "127.0.0.1"
    """A host name or an address; "" for all interfaces. By default the server is not reachable from outside."""
    port: int = 8000
    """As in uvicorn and gunicorn; 0: chosen by the system."""
    uds: str | None = None
    """The path of a unix socket, instead of host and port."""
    uds_mode: int | None = None
    """Permissions of the unix socket, such as 0o660: clients need write permission. By default 0777 less the umask."""
    fd: int | tuple[int, ...] | None = None
    """The file descriptor of an open listening socket, or of several, instead of host and port."""
    ssl_certfile: str | None = None
    """A PEM file with the certificate and its chain: the server then uses TLS, 1.2 or later."""
    ssl_keyfile: str | None = None
    """A PEM file with the private key, unless it is in `ssl_certfile`; not encrypted."""
    ssl_ca_certs: str | None = None
    """A PEM file with certificate authorities: each client must then present a certificate from one of them."""
    ssl_ciphers: str | None = None
    """TLS 1.2 ciphers, in OpenSSL's format; by default OpenSSL's choice."""
    proxy_headers: ProxyHeaders | None = None
    """The fields in which trusted proxies report the origin of a request: `x-forwarded` (X-Forwarded-For, -Proto,
    -Host, -Port and -Prefix: the proxy has to set or remove each) or `forwarded` (RFC 7239); None: all are ignored."""
    forwarded_allow_ips: str = "127.0.0.1,::1,unix:"
    """The trusted proxies: addresses and networks, `unix:` for a unix socket, `*` for all."""
    backlog: int = 2048
    """Maximum number of connections that wait to be accepted: uvicorn's and gunicorn's default."""
    max_request_line: int = 8 * 1024
    """Bytes; here and below including the CRLF of each line; when exceeded 414. RFC 9112 section 3 recommends at least
    8,000 octets; nginx and Apache allow 8 KiB."""
    max_header: int = 8 * 1024
    """Bytes of one header line; when exceeded 431. nginx: large_client_header_buffers 8k."""
    max_headers: int = 64 * 1024
    """Bytes of all header lines; when exceeded 431. h11 and gunicorn allow about as much."""
    max_header_fields: int = 100
    """When exceeded 431. Apache's LimitRequestFields, gunicorn's limit_request_fields."""
    max_body: int = 16 * 1024 * 1024
    """Bytes; when exceeded 413. The `max_body=...` of a route takes precedence."""
    header_timeout: float = 30.0
    """Seconds from the first byte of a request to the end of its head; when exceeded 408. Apache: RequestReadTimeout
    20-40. The same limit applies to a TLS handshake."""
    body_timeout: float = 60.0
    """Seconds that a body may be idle; when exceeded 408. nginx: client_body_timeout 60s."""
    keep_alive_timeout: float = 75.0
    """Seconds that a connection may be idle between requests; 0 disables keep-alive, and each response says so. nginx:
    keepalive_timeout 75s."""
    write_timeout: float = 60.0
    """Seconds that a client may read no byte of what was written, in any state. nginx: send_timeout 60s."""
    linger_time: float = 30.0
    """Seconds for which the server discards what a client sends after its last response. nginx: lingering_time 30s;
    Apache the same. During a drain at most `linger_timeout`."""
    linger_timeout: float = 5.0
    """Seconds that such a client may be idle. nginx: lingering_timeout 5s."""
    limit_concurrency: int | None = None
    """Maximum number of requests in flight per worker; a connection has one at a time. When exceeded 503 with
    Retry-After."""
    access_log: bool = False
    """Log one line per request to the logger `tiny_listener.access`."""
    access_log_format: str | None = None
    """The format of these lines, with gunicorn's atoms, such as `%(h)s %(t)s "%(r)s" %(s)s %(b)s`; None: our own."""

    @property
    def safe_size(self) -> int:
        """Bytes of a head that cannot exceed any byte limit, whatever is in it."""
        return min(self.max_request_line, self.max_headers, self.max_header)
