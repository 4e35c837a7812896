"""The engine of published events: order by key, attempts, retries, dead letters. Pure: it does no I/O, and a clock is
passed in.
"""

from .engine import Effects, Engine

__all__ = ["Effects", "Engine"]
