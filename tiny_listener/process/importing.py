"""Imports an application from a string such as `http_web:app`, with helpful errors."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from typing import Any

__all__ = ["import_from_string"]


def import_from_string(import_str: str) -> Any:
    """Return the object that `MODULE:ATTRIBUTE` names; the attribute may have dots.

    :raises ImportError: the string is malformed, or the module or attribute does not exist
    :raises Exception: raised by the module while it is imported
    """
    module_name, _, attributes = str(import_str).partition(":")
    if not module_name or not attributes or not all(attributes.split(".")) or not all(module_name.split(".")):
        raise ImportError(
            f"{import_str!r} is not of the form MODULE:ATTRIBUTE, such as 'http_web:app' "
            "(use the dotted module name, without .py)"
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        # Only if the requested module itself is missing: a missing import inside it is the application's own error.
        if exc.name is None or not (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise
        raise ImportError(f"No module named {exc.name!r}{_nearest_module(exc.name)}") from None
    where = module_name
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise ImportError(f"{where!r} has no attribute {attribute!r}{_nearest(attribute, dir(found))}") from None
        where += f"{'.' if ':' in where else ':'}{attribute}"
    return found


def _nearest(name: str, known: list[str], before: str = "") -> str:
    near = difflib.get_close_matches(name, [n for n in known if not n.startswith("_")], n=3)
    return f"; did you mean {' or '.join(repr(before + n) for n in near)}?" if near else ""


def _nearest_module(name: str) -> str:
    """Return a suggestion for a missing module: similar names in its package, or in the application's folder, which
    comes first on the path.
    """
    package, _, last = name.rpartition(".")
    folders = getattr(sys.modules.get(package), "__path__", ()) if package else sys.path[:1]
    return _nearest(last, [module.name for module in pkgutil.iter_modules(folders)], before=name[: -len(last)])
