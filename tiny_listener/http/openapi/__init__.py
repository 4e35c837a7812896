"""The OpenAPI 3.1 document of an application, made from the signatures of its handlers."""

from .document import Info, describe
from .serving import serve_document

__all__ = ["Info", "describe", "serve_document"]
