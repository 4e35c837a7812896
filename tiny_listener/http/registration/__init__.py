"""How handlers of requests are registered: the decorators by method, and their options."""

from ...core.registration import EventGroup
from .options import HTTPOptions
from .verbs import Verbs

__all__ = ["Group", "HTTPOptions", "Verbs"]


class Group(Verbs, EventGroup):
    """A group of routes with a prefix and hooks of its own, with the decorators of an `HTTPListener`."""
