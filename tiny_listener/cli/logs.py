"""The log of the command: one line per event, as text or JSON, on stderr or in a file.

Several processes write to the same file, so each line is one write(2). For a file that is open with O_APPEND the kernel
never interleaves writes, whatever their length. For a pipe it does not only up to PIPE_BUF bytes (pipe(7)). A longer
text is written to a pipe in pieces that end at a line end; a longer line, or JSON object, is truncated.

The lines contain what clients send. Control characters are escaped, so that they cannot end a line, forge another, or
control a terminal. The lines of a traceback are indented: every line that starts at the left margin is an event.
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

__all__ = [
    "AS_IS",
    "JSONFormatter",
    "LineHandler",
    "TextFormatter",
    "escaped",
    "leave_root_logger",
    "set_up_logging",
]

AS_IS = "as_is"
"""Attribute of a record with text for a terminal, such as the traceback of an application that cannot boot."""
STACKS = "stacks"
"""Attribute of a record with the stacks of a process, which are written below it like a traceback."""
STDERR = 2
SOCKET_LIMIT = 32 * 1024
"""Bytes: far less than the kernel queues at once for a stream socket, such as journald's stderr."""
FULL_PIPE_TIME = 1.0
"""Seconds to wait for the reader of a full non-blocking pipe; then the line is lost."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""C0, DEL and C1 (ECMA-48), the line separators of Unicode, and surrogates, which UTF-8 cannot encode."""
_NOT_ASCII_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029]")
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", AS_IS}
"""Attributes of every record; all others are fields of the event."""


def escaped(text: str) -> str:
    r"""Return a text as one line: control characters become `\n`, `\x1b`, `\u2028`."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _time_of(record: logging.LogRecord) -> str:
    """Return when an event happened: UTC, in milliseconds (RFC 3339)."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(logging.Formatter):
    """`INFO:     message`, as in uvicorn; with the id of the request before the message, if a filter has set
    `record.request_id`.

    :param time: whether a line begins with the time
    """

    def __init__(self, *, time: bool = False) -> None:
        super().__init__()
        self._shows_time = time

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        text: str | None = getattr(record, AS_IS, None)
        if text is not None:
            return text.removesuffix("\n").encode("utf-8", "backslashreplace").decode()
        line = f"{record.levelname + ':':<9} "
        if self._shows_time:
            line = f"{_time_of(record)} {line}"
        if (request_id := getattr(record, "request_id", None)) is not None:
            line += f"[{escaped(str(request_id))}] "
        line += escaped(record.getMessage())
        below = self.formatException(record.exc_info) if record.exc_info else getattr(record, STACKS, None)
        if below is None:
            return line
        return "\n".join([line, *(f"  {escaped(part)}" for part in below.split("\n"))])

    def fit(self, record: logging.LogRecord, limit: int) -> list[bytes]:
        """Return the text in pieces of whole lines, each of at most `limit` bytes; longer lines are truncated."""
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
    """One JSON object per line: time, level, logger, message, pid, slot, and the fields of the event.

    `pid` and `slot` are those of the worker that a supervisor's event is about, otherwise those of the writing process.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return _to_json(self._entry(record))

    def fit(self, record: logging.LogRecord, limit: int) -> list[bytes]:
        """Return the object, with a newline, in at most `limit` bytes. The longest texts are truncated, and `cut` is
        set.
        """
        entry = self._entry(record)
        while len(line := _to_json(entry).encode() + b"\n") > limit:
            entry["cut"] = True
            name = max(entry, key=lambda key: len(entry[key]) if isinstance(entry[key], str) else 0)
            text = entry[name]
            # The end of a traceback says what happened.
            half = len(text) // 2
            entry[name] = f"...{text[-half:]}" if name == "exception" else f"{text[:half]}..."
            if half < 8:  # too many fields to ever fit
                entry = {"message": "the event is too long for one line", "cut": True}
        return [line]

    def _entry(self, record: logging.LogRecord) -> dict[str, Any]:
        slot = os.environ.get("TINY_LISTENER_SLOT")
        entry: dict[str, Any] = {
            "time": _time_of(record),
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
    except (TypeError, ValueError):  # a surrogate, or not a JSON value
        return json.dumps(entry, default=str)
    return text if text.isascii() and "\x7f" not in text else _NOT_ASCII_CONTROL.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


class LineHandler(logging.Handler):
    """Writes each event to a file descriptor with one write(2), or as few as the module's docstring says.

    A log that cannot be written (a full disk, a reader that is gone) does not make the server fail.

    :param fd: stays the same when a log file is reopened
    :param formatter: formats the records
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
                os.write(STDERR, text.encode("utf-8", "backslashreplace"))  # for the terminal that it was started from
        except OSError:
            pass
        except Exception:  # arguments that do not match the message
            self.handleError(record)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]  # a partial write, if the disk is nearly full
            except BlockingIOError:  # another process made the pipe non-blocking; wait for its reader anyway
                if not select.select([], [self._fd], [], FULL_PIPE_TIME)[1]:
                    raise


def atomic_limit(fd: int) -> int | None:
    """Return how many bytes the kernel is certain to write without interleaving; None: no limit."""
    with contextlib.suppress(OSError):
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode):
            return select.PIPE_BUF
        if stat.S_ISSOCK(mode):
            return SOCKET_LIMIT
    return None


NOISE = frozenset({"socket.send() raised exception.", "SSL connection is closed"})
"""What asyncio's own event loop logs for each further write to a broken connection. Clients could repeat it without
limit, and the server knows about it anyway."""


def _is_not_noise(record: logging.LogRecord) -> bool:
    return record.msg not in NOISE


def set_up_logging(level: str, style: str, fd: int = STDERR, *, time: bool = False) -> None:
    """Log what `tiny_listener` logs, and what all other loggers log that have no handler, nor a parent with one.

    These get it as logging's handler of last resort, so that `logging.basicConfig()` and `dictConfig()` of the
    application work as in a program without a server.

    :param level: the lowest level to log
    :param style: "text" or "json"
    :param fd: the file descriptor to write to
    :param time: whether lines of text begin with the time
    """
    logging.getLogger("asyncio").addFilter(_is_not_noise)
    handler = LineHandler(fd, JSONFormatter() if style == "json" else TextFormatter(time=time))
    logger = logging.getLogger("tiny_listener")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    logging.lastResort = handler
    if not logging.root.handlers:
        logging.root.setLevel(_OurLevel(logger.level))


class _OurLevel(int):
    """A level that the application has not set."""


def leave_root_logger() -> None:
    """Restore the root logger's level if the application has given it handlers, but no level.

    `logging.basicConfig()` expects a level of WARNING.
    """
    if logging.root.handlers and isinstance(logging.root.level, _OurLevel):
        logging.root.setLevel(logging.WARNING)
