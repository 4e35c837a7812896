"""The lines of the log: what is in them, what cannot be in them, and that they arrive whole."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tiny_listener.cli import logs
from tiny_listener.cli.logs import SOCKET_LIMIT, JSONFormatter, LineHandler, TextFormatter, atomic_limit, escaped

NASTY = "a\r\nINFO: forged\x1b[2J\x00\x7f\x9b\u2028\ud800é"


def record(message: str, *args: object, **fields: Any) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "tiny_listener.x", "levelname": "INFO", "msg": message, "args": args})
    vars(made).update(fields)
    return made


def failed(text: str) -> logging.LogRecord:
    try:
        raise ValueError(text)
    except ValueError:
        return record("It failed", exc_info=sys.exc_info())


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe; what nobody reads does not block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def test_a_line_for_people() -> None:
    assert TextFormatter().format(record("%d workers", 2, slot=1)) == "INFO:     2 workers"
    assert TextFormatter().format(record("not shown", as_is="Error: this is\n")) == "Error: this is"


@pytest.mark.parametrize("time", [False, True])
def test_a_line_with_the_id_of_its_request_and_the_time(time: bool) -> None:
    formatter = TextFormatter(time=time)
    start = "1970-01-01T00:00:00.250+00:00 INFO:     " if time else "INFO:     "
    assert formatter.format(record("x", created=0.25)) == f"{start}x"
    assert formatter.format(record("x", created=0.25, request_id="a1")) == f"{start}[a1] x"
    assert formatter.format(record("x", created=0.25, request_id=None)) == f"{start}x"
    assert formatter.format(record("x", created=0.25, request_id="a\nERROR: b")) == f"{start}[a\\nERROR: b] x"
    below = formatter.format(record("x", created=0.25, stacks="1\n2"))
    assert below == f"{start}x\n  1\n  2"
    assert formatter.format(record("not shown", as_is="Error: this is\n")) == "Error: this is"


def test_the_id_of_a_request_is_a_field() -> None:
    assert json.loads(JSONFormatter().format(record("x", request_id="a1")))["request_id"] == "a1"
    assert "request_id" not in json.loads(JSONFormatter().format(record("x")))


def test_no_text_breaks_a_line_or_speaks_to_the_terminal() -> None:
    assert escaped(NASTY) == r"a\r\nINFO: forged\x1b[2J\x00\x7f\x9b\u2028\ud800é"
    line = TextFormatter().format(record("%s", NASTY))
    assert line.isprintable()
    line = JSONFormatter().format(record("%s", NASTY, target=NASTY))
    assert line.isprintable()
    assert json.loads(line)["message"] == json.loads(line)["target"] == NASTY
    lines = TextFormatter().format(failed(NASTY)).split("\n")
    assert lines[0] == "INFO:     It failed"
    assert all(part.isprintable() for part in lines)
    assert all(part.startswith("  ") for part in lines[1:])
    assert lines[-2] == r"  ValueError: a\r"
    assert lines[-1].startswith(r"  INFO: forged\x1b[2J")


def test_an_object_for_machines() -> None:
    made = failed("x")
    vars(made).update(created=0.25, process=7, reason="hung", duration=1.5, place=Path("/x"), slot=3)
    shown = json.loads(JSONFormatter().format(made))
    assert shown.pop("exception").splitlines()[-1] == "ValueError: x"
    assert shown == {
        "time": "1970-01-01T00:00:00.250+00:00", "level": "info", "logger": "tiny_listener.x", "message": "It failed",
        "pid": 7, "slot": 3, "reason": "hung", "duration": 1.5, "place": "/x",
    }  # fmt: skip
    assert json.loads(JSONFormatter().format(record("Boot", as_is="Traceback\nx\n")))["exception"] == "Traceback\nx\n"


def test_a_worker_writes_the_number_of_its_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_LISTENER_SLOT", "5")
    assert json.loads(JSONFormatter().format(record("x")))["slot"] == 5
    assert json.loads(JSONFormatter().format(record("x", slot=6)))["slot"] == 6
    monkeypatch.setenv("TINY_LISTENER_SLOT", "odd")
    assert "slot" not in json.loads(JSONFormatter().format(record("x")))


def test_what_is_written_in_one_piece(tmp_path: Path, pipe: tuple[int, int]) -> None:
    with (tmp_path / "log").open("w") as file, socket.socket(socket.AF_UNIX) as sock:
        assert atomic_limit(file.fileno()) is None
        assert atomic_limit(pipe[1]) == select.PIPE_BUF
        assert atomic_limit(sock.fileno()) == SOCKET_LIMIT
    assert atomic_limit(10**6) is None


@pytest.mark.parametrize("formatter", [TextFormatter(), JSONFormatter()])
def test_a_line_that_fits_a_pipe_and_one_that_is_a_byte_longer(
    formatter: TextFormatter | JSONFormatter, pipe: tuple[int, int]
) -> None:
    handler = LineHandler(pipe[1], formatter)
    rest = len(formatter.format(record("", created=0.25)))
    for length in (select.PIPE_BUF - rest - 1, select.PIPE_BUF - rest):
        handler.emit(record("x" * length, created=0.25))
        data = os.read(pipe[0], 65536)
        assert data.count(b"\n") == 1
        assert len(data) <= select.PIPE_BUF
        assert (b"x" * length in data) == (length + rest + 1 <= select.PIPE_BUF)
        if isinstance(formatter, JSONFormatter):
            assert json.loads(data).get("cut", False) == (length + rest + 1 > select.PIPE_BUF)
        else:
            assert (f"... ({length + rest + 1} bytes)\n".encode() in data) == (b"x" * length not in data)


def test_a_long_traceback_goes_to_a_pipe_in_pieces_of_whole_lines() -> None:
    made = failed("\n".join("é" * 70 for _ in range(100)))
    pieces = TextFormatter().fit(made, 4096)
    assert b"".join(pieces).decode() == TextFormatter().format(made) + "\n"
    assert len(pieces) > 3
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in pieces)
    (line,) = JSONFormatter().fit(made, 4096)
    assert len(line) <= 4096
    assert json.loads(line)["message"] == "It failed"
    assert json.loads(line)["exception"].startswith("...")
    assert json.loads(line)["exception"].endswith("é" * 70)


def test_an_event_of_too_many_fields_is_still_a_line() -> None:
    fields: dict[str, Any] = {f"field{number}": number for number in range(1000)}
    (line,) = JSONFormatter().fit(record("x", **fields), 4096)
    assert json.loads(line) == {"message": "the event is too long for one line", "cut": True}


def test_a_log_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    handler = LineHandler(file, TextFormatter())
    os.close(file)
    handler.handle(record("lost"))
    full = os.open("/dev/full", os.O_WRONLY)
    LineHandler(full, TextFormatter()).handle(record("lost"))
    os.close(full)


def fill(writing: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4095 + b"\n")


def test_a_full_pipe_that_does_not_block_is_waited_for_and_not_for_ever(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    fill(writing)
    handler = LineHandler(writing, TextFormatter())
    monkeypatch.setattr(logs, "FULL_PIPE_TIME", 20.0)
    reader = threading.Timer(0.05, os.read, (reading, 65536))
    reader.start()
    handler.handle(record("kept"))
    reader.join()
    assert os.read(reading, 2**20).endswith(b"INFO:     kept\n")
    fill(writing)
    monkeypatch.setattr(logs, "FULL_PIPE_TIME", 0.01)
    handler.handle(record("lost"))
    assert b"lost" not in os.read(reading, 2**20)


def test_threads_and_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    handler = LineHandler(file, TextFormatter())
    children = []
    for number in range(4):
        if (pid := os.fork()) == 0:
            for _ in range(500):
                handler.emit(record(str(number) * 9000))
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(file)
    lines = path.read_text().splitlines()
    assert len(lines) == 2000
    assert all(len(set(line.removeprefix("INFO:     "))) == 1 and len(line) == 9010 for line in lines)
