"""Shows which of a service manager's variables handlers see."""

import os

from tiny_listener.http import HTTPListener

app = HTTPListener()


@app.get("/")
async def variables() -> list[str]:
    return sorted(os.environ.keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
