"""Publishes events over HTTP until all of them are stored, whatever happens to the server.

    python loadtest/events/publishers.py PORT NAME SEED KEYS EVENTS THREADS SKEW SECONDS

Each thread has keys of its own, and publishes the next event of a key once the one before is stored. A request without
an answer is sent again: the ids of its events are the same. SKEW is 0 for keys that are equally frequent, or the
exponent of Zipf's law. It takes SECONDS, or longer if the server is not as fast. Prints the
number of events of each key, as JSON.
"""

from __future__ import annotations

import http.client
import itertools
import json
import random
import sys
import threading
import time

BATCH = 16
"""Events in a request at most, each of another key."""
TIMEOUT = 30.0
PAUSE = 0.02


def main() -> None:
    """Run the threads."""
    port, name, seed, keys, events, threads, skew, seconds = sys.argv[1:]
    counts: list[dict[str, int]] = [{} for _ in range(int(threads))]
    running = [
        threading.Thread(
            target=_publish,
            args=(int(port), f"{name}{number}", random.Random(f"{seed} {name} {number}"), counts[number]),
            kwargs={
                "keys": max(1, int(keys) // int(threads)),
                "events": int(events) // int(threads),
                "skew": float(skew),
                "seconds": float(seconds),
            },
        )
        for number in range(int(threads))
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(json.dumps({key: count for found in counts for key, count in found.items()}))


def _publish(
    port: int,
    name: str,
    chance: random.Random,
    counts: dict[str, int],
    *,
    keys: int,
    events: int,
    skew: float,
    seconds: float,
) -> None:
    names = [f"{name}-{number}" for number in range(keys)]
    weights = list(itertools.accumulate(1 / (rank + 1) ** skew for rank in range(keys)))
    connection, left, started = None, events, time.monotonic()
    while left > 0:
        time.sleep(max(0.0, started + seconds * (1 - left / events) - time.monotonic()))
        chosen = list(dict.fromkeys(chance.choices(names, cum_weights=weights, k=min(BATCH, left))))
        entries = [(key, counts.get(key, 0) + 1) for key in chosen]
        connection = _post(port, connection, json.dumps(entries))
        counts.update(entries)
        left -= len(entries)


def _post(port: int, connection: http.client.HTTPConnection | None, body: str) -> http.client.HTTPConnection:
    """Send a request until it is answered with 200; return the connection to use next."""
    while True:
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
            connection.request("POST", "/publish", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            if response.status == 200:
                return connection
            if response.status < 500:
                raise SystemExit(f"{response.status}: {text.decode()}")
        except (OSError, http.client.HTTPException):
            pass
        if connection is not None:
            connection.close()
        connection = None
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
