"""The decorators for requests, of listeners and groups."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from ...core.aliases import F
from ...core.injection import request_patterns
from ...core.injection.signatures import where
from ...core.registration import Definition, Registrar
from ...core.registration.foreign import instead_of
from ...core.registration.options import EVENT_CHECKS, OptionCheck, check_options
from .options import ALL_CHECKS, HTTP_CHECKS, AnyOptions, HTTPOptions

__all__ = ["Verbs"]

FOREIGN = re.compile(r"/<(?:\w+:)?(?P<flask>[A-Za-z_]\w*)>(?=/|$)|/:(?P<colon>[A-Za-z_]\w*)(?=/|$)")
"""How others write a parameter."""


class Verbs(Registrar):
    """Registers handlers of requests."""

    option_checks: ClassVar[Mapping[str, OptionCheck]] = ALL_CHECKS

    if not TYPE_CHECKING:  # checkers know that there is no such attribute

        def __getattr__(self, name: str) -> Any:
            """Say what to write instead of a name of other frameworks."""
            hint = instead_of("attribute", name)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    def check_options(self, definition: Definition) -> None:
        """See `Registrar`: options of requests are for routes of requests, those of published events for others."""
        super().check_options(definition)
        if definition.is_http or any(is_one(definition.path) for is_one in request_patterns):
            check_options(where(definition.fn), definition.opts, HTTP_CHECKS, "a route of requests")
        else:
            check_options(where(definition.fn), definition.opts, EVENT_CHECKS, "a route that is not one of requests")

    def on_event(
        self, path: str = "{_:path}", *, name: str | None = None, **opts: Unpack[AnyOptions]
    ) -> Callable[[F], F]:
        """Register the decorated function as the handler of a pattern; see `add_on_event_hook`."""
        return super().on_event(path, name=name, **opts)  # type: ignore[misc]

    def route(
        self, method: str, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]
    ) -> Callable[[F], F]:
        """Register the decorated function for requests with a method and a path.

        :param path: a pattern that begins with a slash; in a group with a prefix it may be empty
        :param name: the name of the route; by default the function's name
        :param opts: see `HTTPOptions`
        :raises ValueError: the path does not begin with a slash
        """
        self._refuse_function(path, method.lower(), '"/path"')
        if not path.startswith("/") and (path or not getattr(self, "prefix", "")):
            raise ValueError(f"the path {path!r} must begin with a slash: /{path}")
        if (foreign := FOREIGN.search(path)) is not None:
            name = foreign["flask"] or foreign["colon"]
            raise ValueError(
                f"the path {path!r} has {foreign[0].strip('/')} in it: write {{{name}}}, or {{{name}:int}}; if it is "
                f'meant as it stands, @app.on_event("{method}:...") takes it'
            )

        def register(fn: F) -> F:
            self.define(Definition(f"{method}:{path}", fn, name, dict(opts), is_http=True))
            return fn

        return register

    def get(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve GET, and HEAD with it; see `route`."""
        return self.route("GET", path, name=name, **opts)

    def head(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve HEAD; see `route`."""
        return self.route("HEAD", path, name=name, **opts)

    def post(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve POST; see `route`."""
        return self.route("POST", path, name=name, **opts)

    def put(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve PUT; see `route`."""
        return self.route("PUT", path, name=name, **opts)

    def patch(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve PATCH; see `route`."""
        return self.route("PATCH", path, name=name, **opts)

    def delete(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve DELETE; see `route`."""
        return self.route("DELETE", path, name=name, **opts)

    def options(self, path: str, *, name: str | None = None, **opts: Unpack[HTTPOptions]) -> Callable[[F], F]:
        """Serve OPTIONS; see `route`. Without such a route the response lists the allowed methods of the path."""
        return self.route("OPTIONS", path, name=name, **opts)
