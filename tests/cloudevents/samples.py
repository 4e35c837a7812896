"""An event that tests share."""

from __future__ import annotations

from tiny_listener.cloudevents import CloudEvent

__all__ = ["EURO", "EVENT", "FIELDS"]

FIELDS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}
"""The header fields of an event with no more than it needs."""
EVENT = CloudEvent("t", "/s", id="1")
"""The same event."""
EURO = "Euro \u20ac \U0001f600"
"""The example of the bindings' section 3.1.3.2."""
