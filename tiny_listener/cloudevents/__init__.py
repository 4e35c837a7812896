"""CloudEvents 1.0.2: events as other systems send them, to and from JSON, HTTP messages and NATS messages.

Pure: nothing here opens a socket or knows a listener.
"""

from .errors import InvalidCloudEvent, UnknownFormat
from .event import ABSENT, CloudEvent
from .http_binding import HTTPMessage, Mode, from_http, from_http_batch, iter_http, mode_of, to_http, to_http_batch
from .json_format import from_json, from_json_batch, iter_json_batch, to_json, to_json_batch
from .nats_binding import NATSMessage, from_nats, to_nats

__all__ = [
    "ABSENT",
    "CloudEvent",
    "HTTPMessage",
    "InvalidCloudEvent",
    "Mode",
    "NATSMessage",
    "UnknownFormat",
    "from_http",
    "from_http_batch",
    "from_json",
    "from_json_batch",
    "from_nats",
    "iter_http",
    "iter_json_batch",
    "mode_of",
    "to_http",
    "to_http_batch",
    "to_json",
    "to_json_batch",
    "to_nats",
]
