"""What load tests there are."""

__all__ = ["USERS"]

USERS = {
    "api": ("Browser", "Program"),
    "webhooks": ("Sender",),
    "streams": ("Reader",),
    "files": ("Uploader",),
    "misses": ("Lost",),
    "slow": ("Slow",),
    "churn": ("Newcomer",),
    "tcp": ("Talker",),
}
"""The classes of `users` by scenario; what they report is named `SCENARIO what`. They are named here, and not imported,
for locust changes all sockets of a process that imports it."""
