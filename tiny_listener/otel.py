"""Spans of OpenTelemetry; see `contrib.otel`."""

from .contrib.otel import instrument

__all__ = ["instrument"]
