"""An application with metrics of its own: as many label sets as LABEL_SETS says, 10,000, in each worker.

tiny-listener --app-dir loadtest/servers labels:app
"""

from __future__ import annotations

import os

from prometheus_client import Counter

from tiny_listener.http import HTTPListener

app = HTTPListener()
orders = Counter("orders", "Orders by customer.", ["customer"])


@app.startup
async def count() -> None:
    """Let every label set have a value."""
    for number in range(int(os.environ.get("LABEL_SETS", "10000"))):
        orders.labels(f"customer {number}").inc()


@app.get("/user/Bob")
async def hello() -> str:
    """Greet somebody."""
    return "Hello, Bob!"
