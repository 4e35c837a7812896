"""What an application calls to receive CloudEvents: a part of every `HTTPListener`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..errors import HTTPError
from ..request import Request
from ..response import Response

if TYPE_CHECKING:
    from .handshake import Handshake

__all__ = ["CloudEventsFace"]

MAX_BODY = 1024 * 1024
"""Bytes of a delivery by default. CloudEvents 1.0.2 asks consumers to take 64 KiB at least ("Size Limits")."""
MAX_BATCH = 100
"""Events of a batch by default: so many are stored within a few milliseconds, for which nothing else runs."""


class CloudEventsFace:
    """Receives CloudEvents."""

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
