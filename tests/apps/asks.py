"""Asks for unix sockets, each in a place of its own, as often as it is told to."""

import asyncio
import itertools
import os
from collections import Counter

from tiny_listener import Event
from tiny_listener.http import HTTPListener

app = HTTPListener()
numbers = itertools.count()


@app.get("/ask/{times:int}")
async def ask(event: Event) -> dict[str, int]:
    loop, outcomes = asyncio.get_running_loop(), Counter[str]()
    for _ in range(event.params["times"]):
        path = os.environ["ASKED_FOR"].format(next(numbers))
        try:
            await loop.create_unix_server(asyncio.Protocol, path, mode=0o666)  # type: ignore[call-arg]
            outcomes["granted"] += 1
        except OSError as exc:
            outcomes[os.strerror(exc.errno or 0)] += 1
    return dict(outcomes)
