"""An application that opens its own server: events from whatever speaks asyncio's streams.

Run it with any number of workers; they share the port, and none of them knows:

    tiny-listener --workers 4 http_streams:app
"""

from asyncio import IncompleteReadError, LimitOverrunError, StreamReader, StreamWriter, start_server

from httptools import HttpParserError, HttpRequestParser

from tiny_listener import Data, Event, EventNotFound, Listener

PORT = 8000


class Target:
    """Takes the request target from the parser."""

    def __init__(self, head: bytes) -> None:
        self.url = b""
        parser = HttpRequestParser(self)
        parser.feed_data(head)
        self.method = parser.get_method().decode()

    def on_url(self, url: bytes) -> None:
        self.url += url


class App(Listener):
    async def listen(self) -> None:
        await start_server(self.serve, "127.0.0.1", PORT)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            target = Target(await reader.readuntil(b"\r\n\r\n"))
            await self.trigger_event(f"{target.method}:{target.url.decode()}", data={"writer": writer})
        except EventNotFound:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 15\r\nConnection: close\r\n\r\nPage Not Found\n")
        except (IncompleteReadError, LimitOverrunError, HttpParserError, UnicodeDecodeError):
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()


app = App()


@app.after_event
async def respond(event: Event, writer: Data) -> None:
    body = str(event.result).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(body), body))


@app.on_event("GET:/")
async def home() -> str:
    return "Welcome!"


@app.on_event("GET:/user/{username}")
async def hello(event: Event) -> str:
    return f"Hello, {event.params['username']}!"
