"""HTTP as a source of events."""

from .errors import BodyTooLargeError, ClientDisconnectedError, ProtocolError
from .headers import Headers
from .listener import HTTPListener
from .request import Request
from .response import Response
from .settings import HTTPSettings

__all__ = [
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "HTTPListener",
    "HTTPSettings",
    "Headers",
    "ProtocolError",
    "Request",
    "Response",
]
