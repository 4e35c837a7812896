"""HTTP as a source of events."""

from .addons.compress import Compress
from .addons.cors import CORS
from .addons.request_id import RequestID, request_id
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

__all__ = [
    "CORS",
    "Body",
    "BodyConsumedError",
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "Compress",
    "FileResponse",
    "Form",
    "HTTPError",
    "HTTPListener",
    "HTTPSettings",
    "HTTPSource",
    "Headers",
    "ProtocolError",
    "Request",
    "RequestID",
    "Response",
    "StreamingResponse",
    "Upload",
    "redirect",
    "request_id",
]
