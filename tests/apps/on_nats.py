"""Uses all that published events have, for servers that share them; it notes what it handles in the file NOTES."""

import os
from pathlib import Path

from tiny_listener import Event, Reject
from tiny_listener.http import HTTPListener

app = HTTPListener()
NOTES = Path(os.environ.get("NOTES", "/dev/null"))


@app.on_event("note {key} {n:int}", dead_letter="halt")
async def note(key: str, n: int, event: Event) -> str:
    """Note it; a large number is refused, until the event is put back."""
    if n > 99 and "tlredrive" not in event.attributes:
        raise Reject("too large")
    with NOTES.open("a") as file:
        file.write(f"{key} {n}\n")
    return f"{key} {n}"


@app.post("/publish/{key}/{n:int}")
async def publish(key: str, n: int) -> bool:
    return (await app.publish(f"note {key} {n}", key=key)).duplicate


@app.post("/later/{key}/{n:int}")
async def later(key: str, n: int) -> None:
    await app.publish(f"note {key} {n}", key=key, delay=0.5)


@app.post("/ask/{key}/{n:int}")
async def ask(key: str, n: int) -> str:
    answer: str = await app.request(f"note {key} {n}", key=key, timeout=20)
    return answer
