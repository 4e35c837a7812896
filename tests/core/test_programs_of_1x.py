"""Programs as they were written for 1.x run unchanged."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tiny_listener import Context, Data, Depends, Event, EventAlreadyExists, EventNotFound, Listener, Param


class MyContext(Context):
    """A context of the application."""


async def name_of_route(event: Event) -> str:
    return event.route.name


def test_steps_that_wait_for_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    class App(Listener):
        async def listen(self) -> None:
            ctx = self.new_ctx()
            later = ctx.trigger_event("second: greet carol@example.org")
            ctx.trigger_event("first: store Carol's age", data={"age": 41})
            await later
            asyncio.ensure_future(self.graceful_shutdown())  # noqa: RUF006

    app = App()

    @app.on_event("first: store {name}'s age")
    async def first(event: Event, name: Param) -> None:
        print("stored", name, event.data["age"])

    @app.on_event("second: greet {address}")
    async def second(event: Event, address: Param) -> None:
        await event.wait_event_done("first")
        print("greeted", address)

    app.run()
    assert capsys.readouterr().out == "stored Carol 41\ngreeted carol@example.org\n"


def test_a_chat_over_tcp_whose_handlers_have_no_names() -> None:
    class App(Listener):
        async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while line := await reader.readline():
                try:
                    self.trigger_event(line.strip().decode(), data={"writer": writer})
                except EventNotFound:
                    writer.write(b"pardon?\n")
            writer.close()

        async def listen(self) -> None:
            server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
            answers.append(await ask(server.sockets[0].getsockname()[1]))
            asyncio.ensure_future(self.graceful_shutdown())  # noqa: RUF006

    async def ask(port: int) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        lines = []
        for said in (b"who are you?\n", b"I see.\n", b"hm\n"):
            writer.write(said)
            lines.append(await reader.readline())
        writer.close()
        return lines

    app = App()
    answers: list[list[bytes]] = []

    async def get_writer(event: Event) -> asyncio.StreamWriter:
        writer: asyncio.StreamWriter = event.data["writer"]
        return writer

    @app.on_event("{_}?")
    async def _(writer: asyncio.StreamWriter = Depends(get_writer)) -> None:  # noqa: B008
        writer.write(b"a good question\n")

    @app.on_event("{_}.")
    async def _(writer: asyncio.StreamWriter = Depends(get_writer)) -> None:  # noqa: B008
        writer.write(b"good\n")

    assert list(app.routes) == ["_", "{_}."]
    app.run()
    assert answers == [[b"a good question\n", b"good\n", b"pardon?\n"]]


def test_arguments_of_1x() -> None:
    class App(Listener[MyContext]):
        async def listen(self) -> None:
            """Nothing to open."""

    app = App()
    seen: list[Any] = []

    @app.before_event
    async def before(event: Event, *, ctx: MyContext) -> None:
        assert event.ctx is ctx

    @app.on_error(ValueError)
    async def failed(event: Event, error: ValueError) -> None:
        seen.append(str(error))

    @app.on_event("{name} is {age:int}")
    async def handler(
        event: Event, name: Param, age: Param, other: Data, missing: Any = None, *, dep: str = Depends(name_of_route)
    ) -> None:
        seen.append([name, age, other, missing, dep])
        raise ValueError("deliberate")

    async def main() -> None:
        await app.trigger_event("Bob is 7", cid="bob", timeout=5, data={"other": ...})

    asyncio.run(main())
    assert seen == [["Bob", 7, ..., None, "handler"], "deliberate"]


def test_other_names_are_still_taken_once() -> None:
    app = Listener()

    @app.on_event("a")
    async def one() -> None: ...

    with pytest.raises(EventAlreadyExists):
        app.add_on_event_hook(one, "b")
