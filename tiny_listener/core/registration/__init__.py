"""How handlers become routes: decorators, groups, options, several subscribers, and events named by their route."""

from .group import EventGroup
from .named import NamedEvent
from .options import EventOptions
from .registrar import Definition, Registrar
from .route import Route
from .table import RouteTable

__all__ = [
    "Definition",
    "EventGroup",
    "EventOptions",
    "NamedEvent",
    "Registrar",
    "Route",
    "RouteTable",
]
