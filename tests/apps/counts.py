"""Publishes events by request, and handles them: each handler appends to a file."""

import os
from pathlib import Path

from tiny_listener.http import HTTPListener

app = HTTPListener()
FILE = Path(os.environ.get("COUNTS_FILE", "/dev/null"))


def note(text: str) -> None:
    with FILE.open("a") as file:
        file.write(f"{text}\n")


@app.on_event("count {key} {n:int}")
async def count(key: str, n: int) -> None:
    note(f"{key} {n}")


@app.on_event("reject {n:int}")
async def reject(n: int) -> None:
    raise ValueError(f"no {n}")


@app.post("/go/{key}/{first:int}/{last:int}")
async def go(key: str, first: int, last: int) -> str:
    for n in range(first, last):
        await app.publish(f"count {key} {n}", key=key)
    return "published"


@app.post("/fail/{n:int}")
async def fail(n: int) -> str:
    return (await app.publish(f"reject {n}", key="bad")).id
