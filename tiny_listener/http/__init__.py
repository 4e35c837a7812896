"""HTTP as a source of events."""

from .body.files import FileResponse
from .body.forms import Form, Upload
from .body.streaming import StreamingResponse
from .errors import BodyConsumedError, BodyTooLargeError, ClientDisconnectedError, HTTPError, ProtocolError
from .headers import Headers
from .injection import Body, Cookie, Header, InvalidRequest, Query
from .listener import HTTPListener
from .registration import Group, HTTPOptions
from .request import Request
from .response import Response, redirect
from .settings import HTTPSettings
from .source import HTTPSource

__all__ = [
    "Body",
    "BodyConsumedError",
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "Cookie",
    "FileResponse",
    "Form",
    "Group",
    "HTTPError",
    "HTTPListener",
    "HTTPOptions",
    "HTTPSettings",
    "HTTPSource",
    "Header",
    "Headers",
    "InvalidRequest",
    "ProtocolError",
    "Query",
    "Request",
    "Response",
    "StreamingResponse",
    "Upload",
    "redirect",
]
