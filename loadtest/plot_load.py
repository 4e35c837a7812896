"""Draw a run of the load tests: what clients saw, and what the server said of itself, over the same seconds.

python plot_load.py TIMELINE.csv FILE.png|FILE.svg
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

CLIENTS, SERVER, FAILED = "#2a6f97", "#6a994e", "#c05746"
with Path(sys.argv[1]).open(newline="") as file:
    rows = list(csv.DictReader(file))


def column(name: str) -> list[float]:
    """Return one, with gaps where nothing is known."""
    return [float(row[name]) if row[name] else float("nan") for row in rows]


seconds = column("seconds")
figure, axes = plt.subplots(3, 1, figsize=(9, 8), sharex=True)
panels: Any = axes
rate, times, state = panels
rate.plot(seconds, column("requests_per_second"), color=CLIENTS, label="answered, clients")
rate.plot(seconds, column("server_requests_per_second"), "--", color=SERVER, label="HTTP requests, server")
rate.plot(seconds, column("failures_per_second"), color=FAILED, label="failed, clients")
rate.set_ylabel("per second")
users = rate.twinx()
users.fill_between(seconds, column("users"), color="#000000", alpha=0.06, label="users")
users.set_ylabel("users")
users.set_ylim(bottom=0)
for name, style in (("p50_ms", ":"), ("p95_ms", "-."), ("p99_ms", "-")):
    times.plot(seconds, column(name), style, color=CLIENTS, label=f"{name[:-3]}, clients")
times.plot(seconds, column("server_p99_ms"), "--", color=SERVER, label="p99, server")
times.set_yscale("log")
times.set_ylabel("milliseconds")
state.plot(seconds, column("server_loop_lag_ms"), color=SERVER, label="loop lag, ms")
state.plot(seconds, column("server_connections"), "--", color=CLIENTS, label="connections")
state.set_ylabel("server")
memory = state.twinx()
memory.plot(seconds, column("server_resident_mib"), color="#7b6d8d", label="resident, MiB")
memory.set_ylabel("MiB")
memory.set_ylim(bottom=0)
state.set_xlabel("seconds")
for panel in (rate, times, state):
    panel.grid(visible=True, alpha=0.2)
    panel.legend(frameon=False, loc="upper left", ncols=4, fontsize="small")
for panel in (rate, state):
    panel.set_ylim(bottom=0)
figure.tight_layout()
figure.savefig(sys.argv[2], dpi=110)
