"""What a server says of itself at its admin endpoint, as numbers of one moment."""

from __future__ import annotations

import urllib.request
from collections import Counter
from dataclasses import dataclass, field

__all__ = ["Scrape", "quantile", "read_metrics", "scrape"]

HTTP = "http_server_request_duration_seconds"


@dataclass
class Scrape:
    """A server's metrics, over all its workers.

    :ivar requests: that it has answered
    :ivar events: that it has dispatched, requests among them
    :ivar buckets: how many requests took so many seconds at most
    :ivar connections: that are open
    :ivar lag: of the worker's loop that is latest, in seconds
    :ivar resident: bytes of memory
    :ivar open_fds: file descriptors
    """

    requests: float = 0.0
    events: float = 0.0
    buckets: Counter[float] = field(default_factory=Counter)
    connections: float = 0.0
    lag: float = 0.0
    resident: float = 0.0
    open_fds: float = 0.0


def read_metrics(text: str) -> Scrape:
    """Return what a server's metrics in Prometheus' text format say."""
    # Locust's own image, where only locustfile.py is run and no server is asked, has no prometheus_client.
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415

    found = Scrape()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            match sample.name:
                case "http_server_request_duration_seconds_count":
                    found.requests += sample.value
                case "http_server_request_duration_seconds_bucket":
                    found.buckets[float(sample.labels["le"])] += int(sample.value)
                case "tiny_listener_events_total":
                    found.events += sample.value
                case "tiny_listener_connections":
                    found.connections += sample.value
                case "tiny_listener_event_loop_lag_seconds":
                    found.lag = max(found.lag, sample.value)
                case "process_resident_memory_bytes":
                    found.resident += sample.value
                case "process_open_fds":
                    found.open_fds += sample.value
    return found


def quantile(after: Scrape, before: Scrape, share: float) -> float:
    """Return in how many seconds this share of the requests between two moments was answered, as Prometheus' function
    `histogram_quantile` reckons; 0 without requests.
    """
    counts = [(le, after.buckets[le] - before.buckets[le]) for le in sorted(after.buckets)]
    wanted = share * counts[-1][1] if counts else 0.0
    if not wanted:
        return 0.0
    low = below = 0.0
    for le, count in counts:
        if count >= wanted:
            return low if le == float("inf") else low + (le - low) * (wanted - below) / (count - below)
        low, below = le, count
    return low


def scrape(admin: str) -> Scrape:
    """Ask a server.

    :param admin: the URL of its admin endpoint
    :raises OSError: it does not answer
    """
    with urllib.request.urlopen(f"{admin}/metrics", timeout=5) as response:
        return read_metrics(response.read().decode())
