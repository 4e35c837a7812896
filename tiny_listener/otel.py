"""OpenTelemetry spans; see `contrib.otel`."""

from .contrib.otel import instrument

__all__ = ["instrument"]
