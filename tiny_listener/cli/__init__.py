"""The command line: options, where they come from, and what the command runs."""

from .main import main

__all__ = ["main"]
