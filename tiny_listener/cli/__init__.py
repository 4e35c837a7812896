"""The command line: options, their sources, and what runs in the end."""

from .main import main

__all__ = ["main"]
