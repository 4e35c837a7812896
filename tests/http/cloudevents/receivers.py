"""Applications that receive CloudEvents, and clients that send them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tiny_listener import Event
from tiny_listener.cloudevents import CloudEvent, Mode, to_http, to_http_batch
from tiny_listener.core.publishing.embedded import EmbeddedCarrier
from tiny_listener.core.runtime import Host
from tiny_listener.events.settings import EventSettings, Limits
from tiny_listener.http import HTTPListener
from tiny_listener.http.testing import TestClient, TestResponse

__all__ = ["Receiving", "order", "post"]


class Receiving:
    """An application with an endpoint at /events, which writes down what it handles.

    :param limits: of the carrier
    :param options: of the endpoint
    """

    def __init__(self, limits: Limits | None = None, **options: Any) -> None:
        self.app = HTTPListener()
        self.seen: list[Event] = []
        self.app.attach(Host(carrier=EmbeddedCarrier(EventSettings(folder=None, limits=limits or Limits()))))
        self.app.listen_cloudevents("/events", **options)

        @self.app.on_event("order.{what}")
        async def order_event(event: Event) -> None:
            self.seen.append(event)

    def client(self, **options: Any) -> TestClient:
        return TestClient(self.app, **options)


def order(data: Any = None, **changes: Any) -> CloudEvent:
    """Return an event that has a handler."""
    return CloudEvent(**{"type": "order.placed", "source": "/shop", "data": data, **changes})


def post(
    client: TestClient,
    event: CloudEvent | Sequence[CloudEvent],
    mode: Mode = "binary",
    at: str = "/events",
    **headers: str,
) -> TestResponse:
    """Send one event, or a batch."""
    if isinstance(event, CloudEvent):
        assert mode != "batched"
        message = to_http(event, mode)
    else:
        message = to_http_batch(event)
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(at, content=message.body, headers={**dict(message.headers), **fields})
