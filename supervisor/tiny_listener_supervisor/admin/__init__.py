"""The admin endpoint: /metrics, the status page, the probes."""
