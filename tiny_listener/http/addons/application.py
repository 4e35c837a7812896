"""What addons know of the application that they are installed in."""

from __future__ import annotations

from typing import Any, Protocol

from ...core.hooks import Hooks
from .response_hooks import OnResponse

__all__ = ["Application"]


class Application(Protocol):
    """The part of an `HTTPListener` that the addons here use."""

    hooks: Hooks

    def on_response(self, fn: OnResponse, /) -> Any:
        """See `HTTPListener`."""

    def get(self, path: str, *, name: str | None = None, include_in_schema: bool = True) -> Any:
        """See `HTTPListener`."""
