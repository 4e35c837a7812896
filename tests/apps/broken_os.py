"""Wants a file that is not there."""

from pathlib import Path

Path("/no/such/file").read_text()
