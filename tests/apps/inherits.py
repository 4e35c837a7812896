"""Says which worker answers, and what it sees of systemd's variables."""

import os
from typing import Any

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/")
async def who() -> dict[str, Any]:
    return {"pid": os.getpid(), "systemd": [name for name in os.environ if name.startswith("LISTEN_")]}
