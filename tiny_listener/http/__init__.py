"""HTTP as a source of events."""

from typing import TYPE_CHECKING, Any

from ..core.registration.foreign import refuse_import
from .addons.compress import Compress
from .addons.cors import CORS
from .addons.request_id import RequestID, request_id
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
from .target import URL

__all__ = [
    "CORS",
    "URL",
    "Body",
    "BodyConsumedError",
    "BodyTooLargeError",
    "ClientDisconnectedError",
    "Compress",
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
    "RequestID",
    "Response",
    "StreamingResponse",
    "Upload",
    "redirect",
    "request_id",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Say what to import instead of a name of other frameworks."""
        refuse_import(__name__, name)
