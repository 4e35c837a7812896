"""A short locust run against a server of its own: `make loadtest`.

    python loadtest/run.py [--seconds 20] [--users 20] [--workers 2]

Prints requests/s, percentiles and failures, leaves an HTML report and a JSON file in loadtest/results, compares
locust's count with the server's own, and ends with code 1 when a request failed or the counts differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

from processes import free_port, running
from prometheus_client.parser import text_string_to_metric_families

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
RESULTS = HERE / "results"


def counted(admin: int) -> int:
    """Return how many responses the server has counted, over all its workers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as response:
        text = response.read().decode()
    return int(
        sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "http_server_request_duration_seconds_count"
        )
    )


def percentile(times: Counter[float], share: float) -> float:
    """Return the time within which this share of the requests was answered, in milliseconds."""
    left = share * times.total()
    for ms in sorted(times):
        left -= times[ms]
        if left <= 0:
            return ms
    return 0.0


def main() -> int:
    """Start the server, run locust, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    port, admin = free_port(), free_port()
    server = [
        str(BIN / "tiny-listener"), "--app-dir", str(HERE / "servers"), "--port", str(port), "--admin-port",
        str(admin), "--workers", str(options.workers), "--log-level", "warning", "hello:app",
    ]  # fmt: skip
    locust = [
        str(BIN / "locust"), "-f", str(HERE / "locustfile.py"), "--headless", "--host", f"http://127.0.0.1:{port}",
        "--users", str(options.users), "--spawn-rate", str(options.users), "--run-time", f"{options.seconds}s",
        "--stop-timeout", "5", "--only-summary", "--html", str(RESULTS / "report.html"), "--json-file",
        str(RESULTS / "locust"), "--exit-code-on-error", "1",
    ]  # fmt: skip
    with running(server, port):
        code = subprocess.run(locust, check=False).returncode
        in_server = counted(admin)
    stats = json.loads((RESULTS / "locust.json").read_text())
    sent = sum(entry["num_requests"] for entry in stats)
    failed = sum(entry["num_failures"] for entry in stats)
    times: Counter[float] = Counter()
    for entry in stats:
        times.update({float(ms): count for ms, count in entry["response_times"].items()})
    p50, p95, p99 = (percentile(times, share) for share in (0.50, 0.95, 0.99))
    print(
        f"\n{sent / options.seconds:,.0f} requests/s on {options.workers} workers: "
        f"p50 {p50:g} ms, p95 {p95:g} ms, p99 {p99:g} ms; {failed} of {sent} failed"
    )
    print(f"the server counted {in_server}, locust {sent}: {'equal' if in_server == sent else 'DIFFERENT'}")
    print(f"report: {(RESULTS / 'report.html').relative_to(HERE.parent)}")
    return code or int(in_server != sent)


if __name__ == "__main__":
    sys.exit(main())
