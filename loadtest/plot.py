"""Draw what `bench_http.py` measured.

python plot.py FILE.png < RATES.json, where the JSON has requests per second by scenario, by server
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

rates: dict[str, dict[str, float]] = json.load(sys.stdin)
columns = min(3, len(rates))
rows = -(-len(rates) // columns)
figure, axes = plt.subplots(rows, columns, figsize=(6 * columns, 3.2 * rows), squeeze=False)
for place, (title, servers) in zip(axes.flat, rates.items(), strict=False):
    panel: Any = place
    names, values = list(servers)[::-1], list(servers.values())[::-1]
    colors = ["#2a6f97" if name.startswith("tiny") else "#b0b7bd" for name in names]
    panel.barh(names, values, color=colors)
    panel.bar_label(panel.containers[0], labels=[f"{value:,.0f}" for value in values], padding=3, fontsize=8)
    panel.set_title(f"{title}: requests per second")
    panel.set_xlim(0, max(values) * 1.18)
    panel.spines[["top", "right"]].set_visible(False)
for place in axes.flat[len(rates) :]:
    place.set_visible(False)
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=110)
