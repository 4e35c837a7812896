"""Draw what `latency.py` measured.

python plot_latency.py FILE.png < FIGURES.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

COLORS = ("#2a6f97", "#c05746", "#6a994e", "#7b6d8d")
measured: dict[str, dict[str, Any]] = json.load(sys.stdin)
figure, axes = plt.subplots(figsize=(8, 4.5))
panel: Any = axes
for (name, figures), color in zip(measured.items(), COLORS, strict=False):
    rates = [point["rate"] for point in figures["points"]]
    for column, style in (("p50", "-"), ("p99", "--")):
        times = [point[column] / 1000 for point in figures["points"]]
        panel.plot(rates, times, style, color=color, marker="o", markersize=4, label=f"{name} {column}")
panel.set_yscale("log")
panel.set_xlim(left=0)
panel.set_xlabel("requests per second, sent at a fixed rate")
panel.set_ylabel("milliseconds from when they were due")
panel.grid(visible=True, which="both", alpha=0.2)
panel.spines[["top", "right"]].set_visible(False)
panel.legend(frameon=False)
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=110)
