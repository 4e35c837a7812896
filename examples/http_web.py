"""The tiny web framework of the documentation, on HTTPListener.

Run it:  tiny-listener http_web:app     and open http://127.0.0.1:8000/user/Bob
"""

from tiny_listener import Event
from tiny_listener.http import HTTPListener, Request

app = HTTPListener()


@app.after_event
async def log(event: Event, request: Request) -> None:
    host, port = request.client or ("-", 0)
    print(f'INFO:     {host}:{port} - "{request.method} {request.path} HTTP/{request.http_version}" 200 OK')


@app.get("/")
async def home() -> str:
    return "Welcome!"


@app.get("/user/{username}")
async def hello(username: str) -> str:
    return f"Hello, {username}!"
