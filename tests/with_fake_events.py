"""Runs the command with a carrier that stores nothing: `python with_fake_events.py PYTHON -m tiny_listener OPTIONS`.

Environment: FAKE_LOG, a file that it appends to what happens; FAKE_FAILURE, a file with the reason why the store cannot
be opened, while it exists.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path

from tiny_listener.cli.main import main
from tiny_listener.errors import CarrierError
from tiny_listener.events import questions, service
from tiny_listener.events.settings import EventSettings


def note(text: str) -> None:
    with Path(os.environ["FAKE_LOG"]).open("a") as file:
        file.write(f"{text}\n")


class FakeService:
    """Tells each worker its pid, and notes what it hears."""

    def __init__(self, settings: EventSettings) -> None:
        self._settings = settings
        self._links: dict[int, socket.socket] = {}

    def start(self, expected: Collection[int] = ()) -> None:
        file = Path(os.environ.get("FAKE_FAILURE", "/no/such/file"))
        if file.exists():
            raise CarrierError(file.read_text())
        note(f"start {os.getpid()} expected {sorted(expected)}")

    def attach(self, sock: socket.socket, slot: int) -> None:
        sock.settimeout(0)
        fd = sock.fileno()
        self._links[fd] = sock
        asyncio.get_running_loop().add_reader(fd, self._hear, fd, slot)
        note(f"attach {slot}")
        sock.send(f"{os.getpid()}\n".encode())

    def _hear(self, fd: int, slot: int) -> None:
        try:
            text = self._links[fd].recv(1000).decode()
        except ConnectionError:
            text = ""
        if not text:
            asyncio.get_running_loop().remove_reader(fd)
            self._links.pop(fd).close()
        note(f"{slot} {text.strip() or 'end'}")
        if "hang" in text:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            time.sleep(1000)

    async def answer(self, question: questions.Question) -> questions.Answer:
        match question:
            case questions.AskView():
                in_flight = dict.fromkeys(range(len(self._links)), 1)
                return questions.View(
                    5, oldest=2.5, retries=1, in_flight=in_flight, dead={"crashed": 2}, store="memory",
                )  # fmt: skip
            case questions.AskDead():
                rows = [row(n) for n in range(1, 8) if n > question.after and question.id in (None, f"id-{n}")]
                return questions.DeadLetters(rows[: question.limit], more=len(rows) > question.limit)
            case questions.AskHalted():
                return questions.Halted([questions.HaltedKey("bob", "id-1", 3)])
            case questions.AskRedrive() | questions.AskDiscard():
                note(repr(question))
                return questions.Number(7, is_done=getattr(question, "rate", None) is None)
            case questions.AskSkip():
                return questions.Wrong(f"the key {question.key!r} is not halted")
            case _:
                raise ValueError("no such question")

    async def close(self) -> None:
        note("closed")


def row(number: int) -> questions.DeadRow:
    """Return a dead letter of 200 kB: several of them fit into no single message."""
    return questions.DeadRow(
        number, f"id-{number}", f"order {number}", "order {n:int}", "bob", "crashed", "ValueError", "bad\x1b[31m", 3, 1,
        1.0, 2.0, 3.0, 0, "x" * 200_000,
    )  # fmt: skip


if __name__ == "__main__":
    service.EventService = FakeService  # type: ignore[assignment, misc]
    main(sys.argv[4:])
