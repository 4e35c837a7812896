"""The router: patterns, convertors, the trie that searches, and the interface to them."""

from .convertors import CONVERTOR_TYPES, MAX_INT_DIGITS, Convertor, register_convertor
from .pattern import Literal, Param, Pattern, Token, compile_path, parse_pattern
from .router import Routable, Router

__all__ = [
    "CONVERTOR_TYPES",
    "MAX_INT_DIGITS",
    "Convertor",
    "Literal",
    "Param",
    "Pattern",
    "Routable",
    "Router",
    "Token",
    "compile_path",
    "parse_pattern",
    "register_convertor",
]
