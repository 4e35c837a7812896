"""HTTP as a source of events."""

from .body.files import FileResponse
from .body.forms import Form, Upload
from .body.json import Body
from .body.streaming import StreamingResponse
from .errors import BodyConsumedError, BodyTooLargeError, ClientDisconnectedError, HTTPError, ProtocolError
from .headers import Headers
from .listener import HTTPListener
from .request import Request
from .response import Response, redirect
from .settings import HTTPSettings
from .source import HTTPSource
from .target import URL

__all__ = [
    "URL",
    "Body",
    "BodyConsumedError",
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "FileResponse",
    "Form",
    "HTTPError",
    "HTTPListener",
    "HTTPSettings",
    "HTTPSource",
    "Headers",
    "ProtocolError",
    "Request",
    "Response",
    "StreamingResponse",
    "Upload",
    "redirect",
]
