"""Delivers CloudEvents to other systems, as HTTP 1.1 Web Hooks for Event Delivery says. Needs httpx."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ...cloudevents import CloudEvent, HTTPMessage, Mode, to_http, to_http_batch
from ...errors import CannotLoad
from ...events.policy import Retry
from ..headers import FieldsLike, Headers, text_pairs
from .delivery import CloudEventNotDelivered, Delivered, judge

if TYPE_CHECKING:
    import httpx

__all__ = ["Delivery", "Sender", "encoded"]

MAX_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read."""
MAX_BLOCKED: Final = 1000
"""Receivers whose Retry-After is remembered."""


class Delivery(NamedTuple):
    """One delivery; the fields are the arguments of `HTTPListener.send_cloudevent`, checked.

    :ivar shown: the URL without its query and user, for messages
    """

    url: str
    shown: str
    message: HTTPMessage
    timeout: float
    retry: Retry | None
    client: httpx.AsyncClient | None


def encoded(
    url: str,
    event: CloudEvent | Sequence[CloudEvent],
    *,
    mode: Mode,
    timeout: float,
    retry: Retry | None,
    token: str | None,
    origin: str | None,
    headers: FieldsLike,
    plain_http: bool,
    client: httpx.AsyncClient | None,
) -> Delivery:
    """Return a delivery, checked; see `HTTPListener.send_cloudevent`.

    :raises TypeError: an argument has a wrong type
    :raises ValueError: an argument has a wrong value
    """
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise ValueError(
            f"send_cloudevent() takes the URL of a receiver, such as https://example.com/events, not {url!r}"
        )
    if parts.scheme == "http" and not plain_http:
        raise ValueError(f"webhooks need https, which {url!r} is not: plain_http=True sends without TLS nevertheless")
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise ValueError(f"timeout= takes a number of seconds above 0, not {timeout!r}")
    if retry is not None and not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry, such as Retry(max_attempts=3), not {retry!r}")
    message = _message(event, mode)
    fields = Headers([*message.headers, *text_pairs(headers)])
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    if origin is not None:
        fields["webhook-request-origin"] = origin
    fields["accept-encoding"] = "identity"  # an answer must not be larger than its bytes
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return Delivery(url, shown, HTTPMessage(list(text_pairs(fields)), message.body), float(timeout), retry, client)


def _message(event: CloudEvent | Sequence[CloudEvent], mode: Mode) -> HTTPMessage:
    if isinstance(event, CloudEvent):
        if mode == "batched":
            raise TypeError("mode='batched' takes a list of CloudEvents")
        message = to_http(event, mode)
        if not message.body or all(name != "content-type" for name, _ in message.headers):
            raise ValueError(
                "a delivery has a body and a Content-Type: give the event data, and bytes a datacontenttype=, "
                "or send it with mode='structured'"
            )
        return message
    several = list(event)
    if not all(isinstance(one, CloudEvent) for one in several):
        raise TypeError(f"send_cloudevent() takes a CloudEvent, or a list of them, not {type(event).__name__}")
    if mode != "batched":
        raise TypeError("several CloudEvents need mode='batched', which only receivers understand that ask for it")
    return to_http_batch(several)


class Sender:
    """Delivers events. It keeps connections, and what receivers said about when to come again.

    :param clock: returns seconds that only grow
    :param sleep: waits for seconds
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Any] = asyncio.sleep,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._clock: Final = clock
        self._sleep: Final = sleep
        self._draw: Final = draw
        self._blocked: Final[dict[str, float]] = {}
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def send(self, delivery: Delivery, *, keeps: bool) -> Delivered:
        """Deliver, again if that may help; see `HTTPListener.send_cloudevent`.

        :param keeps: whether connections stay open; `close` follows
        :raises CloudEventNotDelivered: it was not delivered
        :raises CannotLoad: httpx is not installed
        """
        attempt = 1
        async with self._connections(delivery, keeps=keeps) as client:
            while True:
                try:
                    return await self._attempt(delivery, client)
                except CloudEventNotDelivered as exc:
                    retry, least = delivery.retry, exc.retry_after or 0.0
                    if exc.is_final or retry is None or attempt >= retry.max_attempts or least > retry.most:
                        raise
                    wait = max(least, retry.wait(attempt, self._draw))
                attempt += 1
                await self._sleep(wait)

    @asynccontextmanager
    async def _connections(self, delivery: Delivery, *, keeps: bool) -> AsyncIterator[httpx.AsyncClient]:
        if delivery.client is not None:
            yield delivery.client
        elif keeps:
            self._client = self._client or _new_client()
            yield self._client
        else:
            async with _new_client() as client:
                yield client

    async def _attempt(self, delivery: Delivery, client: httpx.AsyncClient) -> Delivered:
        left = self._blocked.get(delivery.shown, 0.0) - self._clock()
        if left > 0:
            why = f"it wanted no request for another {left:.0f} s"
            raise CloudEventNotDelivered(delivery.shown, why, status=429, retry_after=left)
        import httpx  # noqa: PLC0415 - an optional dependency; there is a client of it

        try:
            async with asyncio.timeout(delivery.timeout):
                answer = await _post(delivery, client)
        except TimeoutError:
            raise CloudEventNotDelivered(delivery.shown, f"no answer within {delivery.timeout:g} s") from None
        except httpx.InvalidURL as exc:
            raise ValueError(f"send_cloudevent() takes the URL of a receiver, not {delivery.url!r}: {exc}") from None
        except httpx.HTTPError as exc:
            text = str(exc) or type(exc).__name__
            raise CloudEventNotDelivered(delivery.shown, "the connection failed", detail=text) from exc
        fields = {name.lower(): value for name, value in answer.headers}
        error = judge(delivery.shown, answer.status, fields, answer.body, dt.datetime.now(dt.UTC))
        if error is None:
            return answer
        if error.retry_after:
            self._block(delivery.shown, error.retry_after)
        raise error

    def _block(self, receiver: str, seconds: float) -> None:
        now = self._clock()
        for known in [known for known, until in self._blocked.items() if until <= now]:
            del self._blocked[known]
        if len(self._blocked) >= MAX_BLOCKED:
            del self._blocked[min(self._blocked, key=self._blocked.__getitem__)]
        self._blocked[receiver] = now + seconds


async def _post(delivery: Delivery, client: httpx.AsyncClient) -> Delivered:
    request = client.stream(
        "POST",
        delivery.url,
        content=delivery.message.body,
        headers=delivery.message.headers,
        follow_redirects=False,
        timeout=delivery.timeout,
    )
    async with request as response:
        # The transport of a test may have read it all.
        body = bytearray(response.content if response.is_stream_consumed else b"")
        if not response.is_stream_consumed:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) >= MAX_ANSWER:
                    break
        return Delivered(response.status_code, list(response.headers.multi_items()), bytes(body[:MAX_ANSWER]))


def _new_client() -> httpx.AsyncClient:
    try:
        import httpx  # noqa: PLC0415 - an optional dependency
    except ImportError:
        raise CannotLoad("send_cloudevent() needs httpx: pip install 'tiny-listener[cloudevents]'") from None
    return httpx.AsyncClient()
