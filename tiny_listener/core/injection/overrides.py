"""Dependencies that are replaced for a while, in tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from .dependencies import Dependency, key_of

__all__ = ["Overrides"]


class Overrides(dict[Hashable, Dependency]):
    """The replaced dependencies of a listener: what to use instead, by their keys."""

    @property
    def may_exit(self) -> bool:
        """Whether one of them has a cleanup."""
        return any(dependency.is_generator for dependency in self.values())

    @contextlib.contextmanager
    def replaced(self, fn: Callable[..., Any], replacement: Callable[..., Any]) -> Iterator[None]:
        """Use another function while the block runs.

        :raises TypeError: it is neither a coroutine function nor an async generator function
        """
        other = Dependency(replacement)
        key = key_of(fn)
        before = self.get(key)
        self[key] = other
        try:
            yield
        finally:
            if before is None:
                del self[key]
            else:
                self[key] = before
