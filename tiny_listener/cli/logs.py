"""The log of the command: one line an event, for people or for machines, on stderr or in a file.

Many processes write to the same place, so each line is one write(2). To a file that is open with O_APPEND the kernel
puts writes one behind the other, whatever their length; to a pipe only those of up to PIPE_BUF bytes (pipe(7)). A
longer text goes to a pipe in pieces that end where its lines end, and a longer line, or JSON object, is cut.

What clients send is in these lines: control characters are written as escapes, so that none of them ends a line, begins
another or speaks to a terminal. The lines of a traceback are indented: what begins at the left is an event.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import stat
from datetime import UTC, datetime
from typing import Any

import msgspec

__all__ = ["AS_IS", "JSONFormatter", "LineHandler", "TextFormatter", "escaped", "set_up_logging"]

AS_IS = "as_is"
"""The attribute of a record with a text for a terminal, such as the traceback of an application that cannot boot."""
STACKS = "stacks"
"""The attribute of a record with the stacks of a process: lines below it, as those of a traceback."""
STDERR = 2
SOCKET_LIMIT = 32 * 1024
"""Bytes: far less than what the kernel takes into a stream socket's queue at once; such is journald's stderr."""
FULL_PIPE_TIME = 1.0
"""Seconds to wait for the reader of a full pipe that does not block; then the line is lost."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""C0, DEL and C1 (ECMA-48), the line separators of Unicode, and surrogates, which UTF-8 cannot write."""
_NOT_ASCII_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029]")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", AS_IS}
"""Attributes that every record has; all others are fields that came with the event."""


def escaped(text: str) -> str:
    r"""Return a text as one line: control characters become `\n`, `\x1b`, `\u2028`."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class TextFormatter(logging.Formatter):
    """`INFO:     message`, as uvicorn's users know it."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text: str | None = getattr(record, AS_IS, None)
        if text is not None:
            return text.removesuffix("\n").encode("utf-8", "backslashreplace").decode()
        line = f"{record.levelname + ':':<9} {escaped(record.getMessage())}"
        below = self.formatException(record.exc_info) if record.exc_info else getattr(record, STACKS, None)
        if below is None:
            return line
        return "\n".join([line, *(f"  {escaped(part)}" for part in below.split("\n"))])

    def fit(self, record: logging.LogRecord, limit: int) -> list[bytes]:
        """Return the text in pieces of whole lines, each of at most so many bytes; longer lines are cut."""
        pieces = [b""]
        for text in self.format(record).split("\n"):
            line = text.encode() + b"\n"
            if len(line) > limit:
                note = f"... ({len(line)} bytes)\n".encode()
                line = line[: limit - len(note)].decode(errors="ignore").encode() + note
            if len(pieces[-1]) + len(line) > limit:
                pieces.append(b"")
            pieces[-1] += line
        return pieces


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, pid, slot, and the fields that the event came with.

    `pid` and `slot` are those of the worker that an event of the supervisor is about, or else of who writes.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return _to_json(self._entry(record))

    def fit(self, record: logging.LogRecord, limit: int) -> list[bytes]:
        """Return the object in at most so many bytes, with a newline: the longest texts are cut, as `cut` says."""
        entry = self._entry(record)
        while len(line := _to_json(entry).encode() + b"\n") > limit:
            entry["cut"] = True
            name = max(entry, key=lambda key: len(entry[key]) if isinstance(entry[key], str) else 0)
            text = entry[name]
            # Of a traceback the end says what happened.
            half = len(text) // 2
            entry[name] = f"...{text[-half:]}" if name == "exception" else f"{text[:half]}..."
            if half < 8:  # so many fields that it can never fit
                entry = {"message": "an event that is too long for a line", "cut": True}
        return [line]

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        slot = os.environ.get("TINY_LISTENER_SLOT")
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
            "slot": int(slot) if slot is not None and slot.isdecimal() else None,
        }
        entry |= {name: _plain(value) for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        elif (text := getattr(record, AS_IS, None)) is not None:
            entry["exception"] = text
        return {name: value for name, value in entry.items() if value is not None}


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _to_json(entry: dict[str, Any]) -> str:
    try:
        text = msgspec.json.encode(entry).decode()
    except (TypeError, ValueError):  # a surrogate, or what is no value of JSON
        return json.dumps(entry, default=str)
    return text if text.isascii() and "\x7f" not in text else _NOT_ASCII_CONTROL.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class LineHandler(logging.Handler):
    """Writes each event with one write(2), or as few as the module's text says, to a file descriptor.

    A log that cannot be written to (a full disk, a reader that is gone) is no reason for a server to fail.

    :param fd: stays what it is when a log file is reopened
    :param formatter: of the text
    """

    def __init__(self, fd: int, formatter: TextFormatter | JSONFormatter) -> None:
        super().__init__()
        self._fd = fd
        self._formatter = formatter
        self._limit = atomic_limit(fd)

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        try:
            data = self._formatter.format(record).encode() + b"\n"
            if self._limit is None or len(data) <= self._limit:
                self._write(data)
            else:
                for piece in self._formatter.fit(record, self._limit):
                    self._write(piece)
            if self._fd != STDERR and (text := getattr(record, AS_IS, None)) is not None:
                os.write(STDERR, text.encode("utf-8", "backslashreplace"))  # for who started it, and waits
        except OSError:
            pass
        except Exception:  # arguments that do not fit the message
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]  # not all of it, where a disk is all but full
            except BlockingIOError:  # somebody who shares the pipe made it so; its reader is waited for all the same
                if not select.select([], [self._fd], [], FULL_PIPE_TIME)[1]:
                    raise


def atomic_limit(fd: int) -> int | None:
    """Return how many bytes the kernel surely writes in one piece, beside other writers; None: any number."""
    with contextlib.suppress(OSError):
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode):
            return select.PIPE_BUF
        if stat.S_ISSOCK(mode):
            return SOCKET_LIMIT
    return None


NOISE = frozenset({"socket.send() raised exception.", "SSL connection is closed"})
"""What asyncio's own event loop logs of each further write to a connection that its client has broken. It says so as
often as the client likes, and nothing that the server does not know."""


def _is_no_noise(record: logging.LogRecord) -> bool:
    return record.msg not in NOISE


def set_up_logging(level: str, style: str, fd: int = STDERR) -> None:
    """Log what `tiny_listener` says; loggers of the application are its own business.

    :param level: the least severe level to log
    :param style: "text" or "json"
    :param fd: where
    """
    logging.getLogger("asyncio").addFilter(_is_no_noise)
    logger = logging.getLogger("tiny_listener")
    logger.handlers = [LineHandler(fd, JSONFormatter() if style == "json" else TextFormatter())]
    logger.setLevel(level.upper())
    logger.propagate = False
