"""What an application calls to receive and to send CloudEvents: a part of every `HTTPListener`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from ...core.lifecycle import State
from ..errors import HTTPError
from ..headers import FieldsLike
from ..request import Request
from ..response import Response

if TYPE_CHECKING:
    import httpx

    from ...cloudevents import CloudEvent, Mode
    from ...events.policy import Retry
    from .delivery import Delivered
    from .handshake import Handshake
    from .sender import Sender

__all__ = ["CloudEventsFace"]

MAX_BODY = 1024 * 1024
"""Bytes of a delivery by default. CloudEvents 1.0.2 asks consumers to take 64 KiB at least ("Size Limits")."""
MAX_BATCH = 100
"""Events of a batch by default: so many are stored within a few milliseconds, for which nothing else runs."""
ENDED = frozenset({State.NEW, State.STOPPED})


class CloudEventsFace:
    """Receives CloudEvents and sends them."""

    _sender: Sender | None = None

    def listen_cloudevents(
        self,
        at: str,
        /,
        *,
        path: str = "{type}",
        key: str | None = None,
        wait: bool = False,
        timeout: float = 10.0,
        tokens: Collection[str] = (),
        token_in_query: bool = False,
        handshake: Handshake | None = None,
        retired: bool = False,
        max_body: int = MAX_BODY,
        max_batch: int = MAX_BATCH,
        name: str | None = None,
    ) -> None:
        """Receive CloudEvents by POST, in binary, structured and batched mode, and publish each: see `publish`.

        The event is published with the attributes of the CloudEvent, its `partitionkey` as the key, and a hash of its
        `source` and `id` as the id, so that a delivery that is repeated is stored once.

        :param at: the path of the endpoint, such as `/events`
        :param path: the text of the published event: a template with attributes in braces. The sender chooses their
            values: a text before them, as in `cloudevent {type}`, keeps other routes out of its reach
        :param key: a template of the key; None: `partitionkey`, and no key without one
        :param wait: False: answer 202 when the events are stored. True: nothing is stored, the handlers run before the
            answer, which is 204, or what the handler returned
        :param timeout: seconds that the events may take to be stored, if too many wait; then 429
        :param tokens: a delivery needs one of them, as `Authorization: Bearer ...`; none: it needs none
        :param token_in_query: whether the token may be the parameter `access_token` of the query
        :param handshake: answers senders that ask for permission by OPTIONS; None: they are not told that they may
        :param retired: whether to answer 410 to everything, so that senders stop
        :param max_body: bytes of a delivery; when exceeded 413
        :param max_batch: events of a batch; when exceeded 413
        :param name: of the route; by default `cloudevents` and the path
        :raises ValueError: an argument has a wrong value
        """
        from .receiver import Receiver  # noqa: PLC0415 - only applications that receive some need it
        from .template import Template  # noqa: PLC0415
        from .tokens import Tokens  # noqa: PLC0415

        app: Any = self
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
            raise ValueError(f"timeout= takes a number of seconds above 0, not {timeout!r}")
        if isinstance(max_batch, bool) or not isinstance(max_batch, int) or max_batch < 1:
            raise ValueError(f"max_batch= takes a whole number from 1, not {max_batch!r}")
        receiver = Receiver(
            app,
            path=Template("path", path),
            key=None if key is None else Template("key", key),
            wait=wait,
            timeout=timeout,
            max_batch=max_batch,
            tokens=Tokens(tokens, in_query=token_in_query),
            handshake=handshake,
        )
        name = f"cloudevents {at}" if name is None else name

        async def receive(request: Request) -> Response:
            if retired:
                raise HTTPError(410, "this receiver has been retired: send it no further events")
            return await receiver.receive(request)

        app.post(at, name=name, max_body=max_body, include_in_schema=False)(receive)
        if handshake is not None:
            allowing = handshake

            async def validate(request: Request) -> Response:
                return allowing.answer(request.headers)

            app.options(at, name=f"{name} handshake", include_in_schema=False)(validate)

    async def send_cloudevent(
        self,
        url: str,
        event: CloudEvent | Sequence[CloudEvent],
        *,
        mode: Mode = "binary",
        timeout: float = 30.0,  # noqa: ASYNC109
        retry: Retry | None = None,
        token: str | None = None,
        origin: str | None = None,
        headers: FieldsLike = (),
        plain_http: bool = False,
        client: httpx.AsyncClient | None = None,
    ) -> Delivered:
        """Deliver an event to another system by POST, as a webhook. It needs httpx: `tiny-listener[cloudevents]`.

        A redirect is never followed. A receiver that answered 429 or 503 with Retry-After gets nothing from this
        worker before that time: a call within it fails at once, or waits if `retry` allows it.

        :param url: of the receiver
        :param event: the event; a list of them for `mode="batched"`
        :param mode: "binary", "structured", or "batched", which only a receiver that asks for batches may be sent
        :param timeout: seconds for one attempt, up to the end of the answer
        :param retry: after a failure that is not final; its waits are at least as long as Retry-After says, and one
            that is longer than its `most` ends it. None: one attempt
        :param token: sent as `Authorization: Bearer ...`
        :param origin: this system's name, as in the handshake: `WebHook-Request-Origin`
        :param headers: further header fields
        :param plain_http: whether `http://` is allowed, which the specification forbids
        :param client: to send with, instead of one that the listener keeps
        :returns: the answer, whose status is 2xx
        :raises CloudEventNotDelivered: it was not delivered; `status`, `retry_after` and `is_final` say why, and
            whether to try again
        :raises InvalidCloudEvent: its data cannot be encoded
        :raises CannotLoad: httpx is not installed
        :raises TypeError: an argument has a wrong type
        :raises ValueError: an argument has a wrong value, or the event has no data, which a delivery must have
        """
        from .sender import Sender, encoded  # noqa: PLC0415 - only applications that send some need it

        delivery = encoded(
            url,
            event,
            mode=mode,
            timeout=timeout,
            retry=retry,
            token=token,
            origin=origin,
            headers=headers,
            plain_http=plain_http,
            client=client,
        )
        app: Any = self
        if self._sender is None:
            self._sender = Sender()
        keeps = app.lifecycle.state not in ENDED
        if keeps and self._sender.close not in app.lifecycle.last:
            app.lifecycle.last.append(self._sender.close)
        return await self._sender.send(delivery, keeps=keeps)
