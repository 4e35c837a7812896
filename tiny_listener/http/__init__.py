"""HTTP as a source of events."""

from .errors import BodyConsumedError, BodyTooLargeError, ClientDisconnectedError, HTTPError, ProtocolError
from .files import FileResponse
from .forms import Form, Upload
from .headers import Headers
from .listener import HTTPListener
from .request import Request
from .response import Response, redirect
from .settings import HTTPSettings
from .streaming import StreamingResponse
from .typed import Body

__all__ = [
    "Body",
    "BodyConsumedError",
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "FileResponse",
    "Form",
    "HTTPError",
    "HTTPListener",
    "HTTPSettings",
    "Headers",
    "ProtocolError",
    "Request",
    "Response",
    "StreamingResponse",
    "Upload",
    "redirect",
]
