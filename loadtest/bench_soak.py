"""The memory of a worker over many requests.

    python loadtest/bench_soak.py [MILLIONS]

wrk sends pipelined requests, hits and misses, in steps of a million or more until there were so many (10 million unless
told); after each the resident set is printed. Exit code 1 when it grows by more than 1 MiB after the first tenth, in
which caches and the allocator's arenas fill.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from arguments import Arguments, Decimal
from bench_http import CONNECTIONS, OURS, commands
from environment import bench_python
from processes import free_port, pinned, resident_bytes, running

MAY_GROW_KIB = 1024
SECONDS = 10
HERE = Path(__file__).parent


def send(port: int) -> int:
    """Send requests for a while; return how many were answered.

    :raises RuntimeError: one failed
    """
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", str(HERE / "wrk" / "soak.lua")]
    out = subprocess.run(
        pinned([*wrk, f"http://127.0.0.1:{port}"], 1), capture_output=True, text=True, check=True
    ).stdout
    if "Socket errors" in out:
        raise RuntimeError(f"requests failed:\n{out}")
    return int(re.search(r"(\d+) requests in", out)[1])  # type: ignore[index]


def main() -> int:
    """Send, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("millions", nargs="?", type=Decimal(0.001, 10**6), default=10.0)
    millions = parser.parse_args().millions
    port, sent, settled = free_port(), 0, 0.0
    kib = 0.0
    with running(pinned(commands(bench_python(), port, free_port())[OURS], 0), port) as process:
        while sent < millions * 1e6:
            sent += send(port)
            kib = resident_bytes(process.pid) / 1024
            if not settled and sent >= millions * 1e5:
                settled = kib
            print(f"{sent:12,} requests: {kib:10,.0f} KiB resident", flush=True)
    print(f"grew by {kib - settled:,.0f} KiB after the first tenth; {MAY_GROW_KIB:,} are allowed")
    return int(kib - settled > MAY_GROW_KIB)


if __name__ == "__main__":
    sys.exit(main())
