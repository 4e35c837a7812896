"""An application with metrics of its own, of every kind that prometheus_client has."""

from __future__ import annotations

import os

from prometheus_client import Counter, Gauge, Histogram, Summary

from tiny_listener import Param
from tiny_listener.http import HTTPListener

app = HTTPListener()

MODES = ("all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent")

imports = Counter("own_imports", "How often this module was imported.")
imports.inc()
things = Counter("own_things", "Things, by kind.", ["kind"])
sizes = Histogram("own_size_bytes", "How large things are.", ["kind"], buckets=(1, 10))
waits = Summary("own_wait_seconds", "How long things took.")
gauges = {mode: Gauge(f"own_{mode}_level", f"A gauge {mode}.", multiprocess_mode=mode) for mode in MODES}  # type: ignore[arg-type]
gauges["livesum"].set(1)
taken = Counter("tiny_listener_not_found", "A name that is taken.")
if os.environ.get("UNWRITABLE"):
    Counter("own_unwritable", "Labels that no page can have.", ["kind"]).labels("\ud800").inc()


@app.get("/count/{kind}/{size:int}")
async def count(kind: Param, size: Param) -> dict[str, int]:
    things.labels(kind).inc()
    sizes.labels(kind).observe(float(size))
    waits.observe(0.5)
    taken.inc()
    return {"pid": os.getpid()}


@app.get("/set/{value:int}")
async def set_gauges(value: Param) -> dict[str, int]:
    for gauge in gauges.values():
        gauge.set(float(value))
    return {"pid": os.getpid()}
