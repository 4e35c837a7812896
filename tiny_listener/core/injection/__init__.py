"""Dependency injection: what a signature asks for, planned once when the function is registered.

`planner` has the rules, `resolvers` what they result in, `codegen` compiles a plan to one function.
"""

from .codegen import Filled
from .dependencies import Dependency, Depends, clean_up, depend, exits_of
from .event_values import Data, Param
from .hook import HandlerHook, Hook, check_coro_func
from .markers import Argument, Marker, Place, planners, request_patterns
from .planner import Injectable, classes_of, is_payload

__all__ = [
    "Argument",
    "Data",
    "Dependency",
    "Depends",
    "Filled",
    "HandlerHook",
    "Hook",
    "Injectable",
    "Marker",
    "Param",
    "Place",
    "check_coro_func",
    "classes_of",
    "clean_up",
    "depend",
    "exits_of",
    "is_payload",
    "planners",
    "request_patterns",
]
