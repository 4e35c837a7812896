"""The log of the command: lines for people, or for machines, on stderr."""

from __future__ import annotations

import logging
import os
import sys

import msgspec

__all__ = ["set_up_logging"]


class TextFormatter(logging.Formatter):
    """`INFO:     message`, as uvicorn's users know it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return f"{record.levelname + ':':<9} {super().format(record)}"


class JSONFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "slot": os.environ.get("TINY_LISTENER_SLOT"),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode({k: v for k, v in entry.items() if v is not None}).decode()


def set_up_logging(level: str, style: str) -> None:
    """Log what `tiny_listener` says to stderr; loggers of the application are its own business.

    :param level: the least severe level to log
    :param style: "text" or "json"
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if style == "json" else TextFormatter())
    logger = logging.getLogger("tiny_listener")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
