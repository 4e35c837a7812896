"""The access log: one line for each response."""

from .formats import line_format
from .log import AccessLog

__all__ = ["AccessLog", "line_format"]
