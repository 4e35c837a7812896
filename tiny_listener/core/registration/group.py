"""A group of routes with a prefix and hooks of its own, such as the routes of one module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ...errors import RouteError
from ..hooks import Hooks
from ..injection import Dependency
from .registrar import Definition, Registrar

if TYPE_CHECKING:
    from .route import Route

__all__ = ["EventGroup"]


class _Membership(NamedTuple):
    """Where a group is included, and how."""

    parent: Registrar
    prefix: str
    name: str | None
    dependencies: tuple[Dependency, ...]


class EventGroup(Registrar):
    """Routes that a listener, or another group, includes together.

    It has the decorators of a listener. Its hooks concern its own routes only.

    :param prefix: before the paths of its HTTP routes: begins with a slash, does not end with one, may have parameters
    :param name: before the names of its routes, with a dot, so that several groups may have a handler `index`
    :param dependencies: `Depends(...)` to run before each of its handlers
    :raises RouteError: the prefix is malformed
    :raises TypeError: a dependency is none
    """

    def __init__(self, prefix: str = "", *, name: str | None = None, dependencies: Iterable[Any] = ()) -> None:
        self.prefix: Final = _checked_prefix(prefix)
        self.name: Final = name
        self.dependencies: Final = _checked_dependencies(dependencies)
        self.hooks = Hooks()
        self.definitions: list[Definition] = []
        """Its handlers, and those of the groups that it includes."""
        self._memberships: list[_Membership] = []

    def _take(self, definition: Definition) -> Route | None:
        self.definitions.append(definition)
        for membership in self._memberships:
            self._pass_on(definition, membership)
        return None

    def join(self, parent: Registrar, prefix: str, name: str | None, dependencies: tuple[Any, ...]) -> None:
        """Register all handlers with a parent; see `Registrar.include`.

        :raises RouteError: as `include`, or the group would contain itself
        """
        if parent is self or self._contains(parent):
            raise RouteError(f"the group {self!r} cannot include itself")
        membership = _Membership(
            parent,
            _checked_prefix(prefix) + self.prefix,
            self.name if name is None else name,
            (*_checked_dependencies(dependencies), *self.dependencies),
        )
        self._memberships.append(membership)
        for definition in list(self.definitions):
            self._pass_on(definition, membership)

    def _contains(self, other: Registrar) -> bool:
        """Whether another group is within this one."""
        parents = other.parents if isinstance(other, EventGroup) else []
        return any(parent is self or self._contains(parent) for parent in parents)

    @property
    def parents(self) -> list[Registrar]:
        """What it is included in."""
        return [membership.parent for membership in self._memberships]

    def _pass_on(self, definition: Definition, membership: _Membership) -> None:
        membership.parent.define(definition.within(self, membership.prefix, membership.name, membership.dependencies))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prefix={self.prefix!r}, name={self.name!r})"


def _checked_prefix(prefix: str) -> str:
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        right = "/" + prefix.strip("/")
        raise RouteError(f"a prefix begins with a slash and does not end with one: write {right!r}, not {prefix!r}")
    return prefix


def _checked_dependencies(dependencies: Iterable[Any]) -> tuple[Dependency, ...]:
    found = tuple(dependencies)
    for one in found:
        if not isinstance(one, Dependency):
            raise TypeError(f"dependencies= takes Depends(fn), not {one!r}")
    return found
