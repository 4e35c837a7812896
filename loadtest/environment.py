"""The interpreter and the environment that benchmarks run in.

How an interpreter was built decides as much as the server does: the same CPython compiled without profile-guided
optimisation serves a quarter fewer requests. What people deploy (a distribution's package, a container image) is
optimised; what a version manager compiles on the machine most often is not. So the fastest one of the same version
is taken, as a short loop measures it, and printed next to the figures.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["bench_python", "describe"]

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv-bench"
PEERS = ROOT / "loadtest" / "peers.txt"
NAME = f"python{sys.version_info.major}.{sys.version_info.minor}"
PROBE = """
import ensurepip, re, sys, time, venv

class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y

PAIR = re.compile(r"(\\w+)=(\\w*)")

async def answer(point):
    return point

def step(n):
    text = f"key{n}=value{n}"
    name, _, value = text.partition("=")
    try:
        answer(Point(name, {"name": value})).send(None)
    except StopIteration as stop:
        stop.value.y["name"].encode().split(b"e", 1)
    return PAIR.match(text).groups()

def loop():
    began = time.perf_counter()
    for n in range(2000):
        step(n)
    return (time.perf_counter() - began) / 2000

print(min(loop() for _ in range(50)), sys.base_prefix)
"""
"""What a server does all day, in a few lines: the seconds that one step takes."""


def probe(python: str) -> tuple[float, str] | None:
    """Return the seconds of a step of the probe, and where the interpreter is installed; None if it is of no use."""
    done = subprocess.run([python, "-I", "-c", PROBE], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    seconds, _, prefix = done.stdout.strip().partition(" ")
    return float(seconds), prefix


def fastest_python() -> str:
    """Return the fastest interpreter of this version on the PATH; the one that runs this if no other gains a tenth."""
    own = probe(sys.executable)
    best, least = sys.executable, own[0] * 0.9 if own else float("inf")
    seen = {own[1] if own else ""}
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        candidate = Path(folder) / NAME
        if not candidate.is_file():
            continue
        found = probe(str(candidate))
        if found is not None and found[1] not in seen:
            seen.add(found[1])
            if found[0] < least:
                best, least = str(candidate), found[0]
    return best


def bench_python() -> str:
    """Return the interpreter of an environment with this project and its peers in it, made if it is not there yet.

    :raises subprocess.CalledProcessError: it cannot be made
    """
    files = [ROOT / "constraints.txt", ROOT / "pyproject.toml", PEERS]
    stamp = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    marker, python = VENV / ".stamp", str(VENV / "bin" / "python")
    if not marker.is_file() or marker.read_text() != stamp:
        print("Making the benchmarks' environment ...", file=sys.stderr)
        subprocess.run([fastest_python(), "-m", "venv", "--clear", str(VENV)], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, "-c", "constraints.txt", "-e", "."], cwd=ROOT, check=True)
        subprocess.run([*install, "-r", str(PEERS)], cwd=ROOT, check=True)
        marker.write_text(stamp)
    return python


def describe(python: str) -> str:
    """Name an interpreter for people."""
    ask = "import platform, sys; print(platform.python_implementation(), platform.python_version(), sys.base_prefix)"
    words = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    found = probe(python)
    speed = f", {found[0] * 1e9:,.0f} ns for a step of the probe" if found else ""
    return f"{words[0]} {words[1]} in {words[2]}{speed}"
