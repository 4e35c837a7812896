"""A chat over TCP: each line that somebody sends is an event.

Run it:  tiny-listener tcp_chat:app     and talk:  nc 127.0.0.1 8025

    /name Bob          call yourself Bob
    /who               who is here?
    anything else      is said to all the others
"""

from asyncio import StreamReader, StreamWriter, start_server

from tiny_listener import Context, Event, Listener

PORT = 8025


class Guest(Context):
    """What the events of one connection share."""

    @property
    def writer(self) -> StreamWriter:
        writer: StreamWriter = self.scope["writer"]
        return writer

    @property
    def name(self) -> str:
        return str(self.scope.get("name", "somebody"))

    def tell(self, line: str) -> None:
        self.writer.write(f"{line}\n".encode())


class Chat(Listener[Guest]):
    def __init__(self) -> None:
        super().__init__()
        self.guests: set[Guest] = set()

    async def listen(self) -> None:
        await start_server(self.welcome, "127.0.0.1", PORT, limit=1024)
        self.ready()
        await self.draining
        for guest in self.guests:  # else they would be cut off in the end
            guest.writer.close()

    async def welcome(self, reader: StreamReader, writer: StreamWriter) -> None:
        host, port = writer.get_extra_info("peername")
        guest = self.new_ctx(f"{host}:{port}", scope={"writer": writer})
        self.guests.add(guest)
        try:
            async for line in reader:
                await guest.trigger_event(line.decode(errors="replace").strip())
                guest.events.clear()  # nobody waits for what was said
                await writer.drain()
        except (ConnectionError, ValueError):  # gone, or a line past the limit
            pass
        finally:
            self.guests.discard(guest)
            guest.drop()
            writer.close()


app = Chat()


@app.on_event("/name {name}")
async def rename(guest: Guest, name: str) -> None:
    guest.scope["name"] = name
    guest.tell(f"Hello, {name}!")


@app.on_event("/who")
async def who(guest: Guest) -> None:
    guest.tell(", ".join(sorted(g.name for g in app.guests)))


@app.on_event("{text:path}")
async def say(event: Event[Guest], text: str) -> None:
    for other in app.guests - {event.ctx}:
        other.tell(f"{event.ctx.name}: {text}")
