"""CloudEvents over HTTP: an endpoint that receives them, and responses that are such."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .handshake import Handshake
    from .response import CloudEventResponse

__all__ = ["CloudEventResponse", "Handshake"]

_MODULES = {"CloudEventResponse": "response", "Handshake": "handshake"}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: most applications know no CloudEvents, and pay nothing for them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
