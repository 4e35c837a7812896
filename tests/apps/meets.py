"""Imported when as many processes import it as `MEET` says: servers that boot at the same moment."""

import os
import threading
from pathlib import Path

from tiny_listener.http import HTTPListener

FOLDER = Path(os.environ["FOLDER"])
(FOLDER / f"here.{os.getpid()}").touch()
for _ in range(20_000):  # at most a while: one that was refused does not come
    if len(list(FOLDER.glob("here.*"))) >= int(os.environ["MEET"]):
        break
    threading.Event().wait(0.0005)

app = HTTPListener()


@app.get("/")
async def who() -> dict[str, int]:
    return {"pid": os.getpid(), "parent": os.getppid()}
