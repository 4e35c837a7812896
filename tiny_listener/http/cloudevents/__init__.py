"""CloudEvents over HTTP: an endpoint that receives them, responses that are such, and deliveries to others."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .delivery import CloudEventNotDelivered, Delivered
    from .handshake import Handshake
    from .response import CloudEventResponse

__all__ = ["CloudEventNotDelivered", "CloudEventResponse", "Delivered", "Handshake"]

_MODULES = {
    "CloudEventNotDelivered": "delivery",
    "CloudEventResponse": "response",
    "Delivered": "delivery",
    "Handshake": "handshake",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: most applications know no CloudEvents, and pay nothing for them."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
