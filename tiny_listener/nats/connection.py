"""The connection to NATS, and requests to the API of JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import CarrierError
from ..events.settings import NatsSettings

try:
    import nats
    import nats.errors
    from nats.aio.client import Client
    from nats.aio.msg import Msg
except ImportError:
    raise CarrierError(
        "--events nats://... needs nats-py, which is not installed: pip install 'tiny-listener[nats]'"
    ) from None

__all__ = ["ApiError", "Connection", "Msg", "Unavailable", "status_of"]

logger = logging.getLogger("tiny_listener.carrier")

CONNECT: Final = 5.0
"""Seconds for the first connection."""
ANSWER: Final = 5.0
"""Seconds for an answer of the API."""
PING: Final = 2
"""Seconds between pings. A link is dead when two of them are not answered."""
STATUS: Final = "Status"


class ApiError(Exception):
    """JetStream refused a request.

    :ivar code: `err_code` of the answer, see `server/errors.json` of nats-server
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code: Final = code


class Unavailable(Exception):  # noqa: N818 - what the state is
    """JetStream did not answer: whether it did what it was asked is not known."""


def status_of(msg: Msg) -> int | None:
    """Return the status in the header of a message; None: it has none."""
    status = (msg.headers or {}).get(STATUS)
    return int(status) if status is not None and status.isdigit() else None


class _Client(Client):
    """Says nothing in plain text where TLS was asked for: a server without it would get the credentials."""

    def _connect_command(self) -> bytes:
        transport = self._transport
        writer = None if transport is None else getattr(transport, "_io_writer", None)
        if self.options.get("tls") is not None and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise nats.errors.SecureConnRequiredError
        command: bytes = super()._connect_command()
        return command


class Connection:
    """A connection that is made again whenever it is lost.

    :param settings: where, and with which credentials
    :param on_reconnect: awaited after each reconnect, with whether it is to another server, or to one that was started
        again
    """

    def __init__(self, settings: NatsSettings, on_reconnect: Callable[[bool], Awaitable[None]]) -> None:
        self._settings: Final = settings
        self._on_reconnect: Final = on_reconnect
        self._client: Final = _Client()
        self._last_error = ""
        self._refused: asyncio.Future[str]
        self._is_open = False
        self._server = ""
        self.reconnects = 0
        self.heard = time.monotonic()
        """When the server last answered."""

    async def open(self) -> None:
        """Connect.

        :raises CarrierError: there is no server, it refuses the credentials, or it is too old
        """
        where = ", ".join(self._settings.servers)
        try:
            options = self._options()
        except (OSError, ssl.SSLError, ValueError) as exc:
            raise CarrierError(f"--events {where}: {exc}") from None
        self._refused = asyncio.get_running_loop().create_future()
        connecting = asyncio.ensure_future(self._client.connect(**options))
        try:
            # nats-py would try again and again what a server has refused.
            await asyncio.wait((connecting, self._refused), timeout=CONNECT, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                connecting.cancel()
                await asyncio.wait((connecting,))
                if self._refused.done():
                    raise CarrierError(f"NATS at {where} refuses this server: {self._refused.result()}")
                raise CarrierError(
                    f"No NATS server answers at {where}{self._last_error}: start it, or correct --events"
                )
            connecting.result()
        except (nats.errors.Error, OSError, ValueError) as exc:
            raise CarrierError(f"NATS at {where} cannot be used: {' '.join(str(exc).split())}") from None
        self._is_open = True
        self._server = self._server_id()
        self.heard = time.monotonic()

    def _options(self) -> dict[str, Any]:
        settings = self._settings
        options: dict[str, Any] = {
            "servers": list(settings.servers),
            "name": f"tiny-listener {settings.app} on {settings.host}",
            "error_cb": self._failed,
            "disconnected_cb": self._lost,
            "reconnected_cb": self._found,
            "connect_timeout": 2,
            "reconnect_time_wait": 0.25,
            "max_reconnect_attempts": -1,
            "ping_interval": PING,
            "max_outstanding_pings": 2,
            "inbox_prefix": settings.inbox_prefix,
            "pending_size": 0,  # what is published while there is no connection is published again after it
        }
        if settings.credentials is not None:
            Path(settings.credentials).read_bytes()  # for its error
            options["user_credentials"] = settings.credentials
        if settings.nkey is not None:
            options["nkeys_seed_str"] = _secret(settings.nkey)
        if settings.user is not None:
            options["user"] = settings.user
            options["password"] = "" if settings.password_file is None else _secret(settings.password_file)
        if settings.token_file is not None:
            options["token"] = _secret(settings.token_file)
        if settings.tls_ca or settings.tls_cert or any(url.startswith("tls://") for url in settings.servers):
            context = ssl.create_default_context(cafile=settings.tls_ca)
            if settings.tls_cert is not None:
                context.load_cert_chain(settings.tls_cert, settings.tls_key)
            options["tls"] = context
        return options

    async def _failed(self, exc: Exception) -> None:
        text = " ".join(str(exc).split()) or type(exc).__name__
        self._last_error = f" ({text})"
        if self._is_open:
            logger.warning("NATS: %s", text)
        elif "authorization" in text.lower() and not self._refused.done():
            self._refused.set_result(text)

    async def _lost(self) -> None:
        if self._is_open and not self._client.is_closed:
            logger.error("The connection to NATS is lost: no event is started, and publishing waits, until it is back")

    async def _found(self) -> None:
        self.reconnects += 1
        self.heard = time.monotonic()
        logger.info("The connection to NATS is back")
        known, self._server = self._server, self._server_id()
        await self._on_reconnect(known != self._server)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection by now."""
        return bool(self._client.is_connected)

    def _server_id(self) -> str:
        return str(self._client._server_info.get("server_id"))  # noqa: SLF001 - a new one after each start

    @property
    def version(self) -> tuple[int, ...]:
        """The version of the server, such as `(2, 12, 0)`."""
        text = str(self._client._server_info.get("version", "0"))  # noqa: SLF001 - no other way tells all of it
        return tuple(int(part) for part in text.split("-", maxsplit=1)[0].split(".") if part.isdigit())

    @property
    def has_jetstream(self) -> bool:
        """Whether JetStream is on at the server, as it says."""
        return bool(self._client._server_info.get("jetstream"))  # noqa: SLF001

    @property
    def max_payload(self) -> int:
        """The bytes of the largest message."""
        return int(self._client.max_payload)

    async def subscribe(self, subject: str, take: Callable[[Msg], None]) -> None:
        """Call a function with each message of a subject."""

        async def call(msg: Msg) -> None:
            self.heard = time.monotonic()
            try:
                take(msg)
            except Exception:  # nats-py would show its text only
                logger.exception("A message of %s cannot be taken", msg.subject)

        # What is not taken in time would be dropped: there is always room.
        await self._client.subscribe(subject, cb=call, pending_msgs_limit=0, pending_bytes_limit=0)

    def new_inbox(self) -> str:
        """Return a subject for answers, which nobody else has."""
        return str(self._client.new_inbox())

    async def publish(
        self, subject: str, data: bytes = b"", *, reply: str = "", headers: dict[str, str] | None = None
    ) -> bool:
        """Publish a message. Return False if there is no connection."""
        try:
            await self._client.publish(subject, data, reply, headers)
        except (nats.errors.Error, OSError):
            return False
        return True

    async def api(self, subject: str, body: Any = None) -> dict[str, Any]:
        """Ask the API of JetStream.

        :param subject: without `$JS.API.`
        :param body: encoded as JSON
        :raises ApiError: it refused
        :raises Unavailable: there was no answer
        """
        data = b"" if body is None else msgspec.json.encode(body)
        try:
            msg = await self._client.request(f"$JS.API.{subject}", data, timeout=ANSWER)
        except (nats.errors.Error, OSError, TimeoutError) as exc:
            raise Unavailable(" ".join(str(exc).split()) or type(exc).__name__) from None
        self.heard = time.monotonic()
        answer: dict[str, Any] = msgspec.json.decode(msg.data)
        if (error := answer.get("error")) is not None:
            if error.get("code") == 503 or error.get("err_code") == 10008:
                raise Unavailable(str(error.get("description")))
            raise ApiError(int(error.get("err_code", 0)), str(error.get("description")))
        return answer

    async def close(self) -> None:
        """Send what is waiting, and close."""
        self._is_open = False
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._client.flush(1)
        with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(2):
                await self._client.close()


def _secret(file: str) -> str:
    """Return what a file has, without the end of its line.

    :raises ValueError: it is empty
    """
    text = Path(file).read_text().strip()
    if not text:
        raise ValueError(f"{file} is empty, and a secret is expected")
    return text
