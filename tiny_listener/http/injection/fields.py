"""Arguments from the fields of a request: its query, its headers and its cookies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...core.injection.conversion import one_or_list
from ...core.injection.markers import Argument, Marker, planners
from ...core.injection.resolvers import ItemResolver, Resolver
from ...core.injection.signatures import EMPTY
from ..errors import HTTPError
from ..request import Request
from ..syntax import is_token

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Cookie", "Header", "Query"]


class _Field(ItemResolver):
    """One field of a request. For an event that came from no request it is the item of its data with that name."""

    __slots__ = ("_takes_list",)

    def __init__(self, argument: Argument, place: str, name: str) -> None:
        found = one_or_list(str if argument.annotation in (EMPTY, Any) else argument.annotation)
        if found is None:
            raise argument.wrong(
                f"is in the {place}, whose fields are texts: annotate it with str, int, float, bool, UUID, Enum, date, "
                "datetime, or a list of these"
            )
        convert, self._takes_list = found
        super().__init__(place, name, argument.annotation, convert, default=argument.default)

    @property
    def of_requests(self) -> bool:
        """See `Resolver`."""
        return True

    def __call__(self, event: Any) -> Any:
        """See `Resolver`."""
        request = event.data.get("request")
        if not isinstance(request, Request):
            if self.name in event.data:
                return event.data[self.name]
            return self.missing()
        values = self._values(request)
        if self._takes_list:
            found = values.getlist(self.name)  # type: ignore[attr-defined]
            return self.converted(found) if found else self.missing()
        text = values.get(self.name)
        if text is None:
            return self.missing()
        return self.converted(text)

    def _values(self, request: Request) -> Mapping[str, str]:
        raise NotImplementedError


class QueryField(_Field):
    """A field of the query."""

    __slots__ = ()

    def _values(self, request: Request) -> Mapping[str, str]:
        try:
            return request.query
        except HTTPError as exc:
            raise self.unfit(exc.detail, status=exc.status, name="") from None


class HeaderField(_Field):
    """A header field; several of one name are joined with a comma, unless the argument takes a list."""

    __slots__ = ()

    def _values(self, request: Request) -> Mapping[str, str]:
        return request.headers


class CookieField(_Field):
    """A cookie."""

    __slots__ = ()

    def _values(self, request: Request) -> Mapping[str, str]:
        return request.cookies


if TYPE_CHECKING:

    def Query(name: str = ..., *, default: Any = ...) -> Any:  # noqa: N802
        """Take an argument from the query of the request."""

    def Header(name: str = ..., *, default: Any = ...) -> Any:  # noqa: N802
        """Take an argument from a header of the request: `user_agent` from `user-agent`, or from the given name."""

    def Cookie(name: str = ..., *, default: Any = ...) -> Any:  # noqa: N802
        """Take an argument from a cookie of the request."""

else:

    class _FieldMarker(Marker):
        __slots__ = ()
        of_request: ClassVar[bool] = True

    class Query(_FieldMarker):
        """Take an argument from the query of the request."""

        __slots__ = ()

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            return QueryField(argument, "query", self.name or argument.name)

    class Header(_FieldMarker):
        """Take an argument from a header of the request: `user_agent` from `user-agent`, or from the given name."""

        __slots__ = ()

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            name = self.name or argument.name.replace("_", "-")
            if not is_token(name):
                raise argument.wrong(f"names a header {name!r}: a header name has no such character (RFC 9110, 5.1)")
            return HeaderField(argument, "header", name.lower())

    class Cookie(_FieldMarker):
        """Take an argument from a cookie of the request."""

        __slots__ = ()

        def plan(self, argument: Argument) -> Resolver:
            """See `Marker`."""
            name = self.name or argument.name
            if not is_token(name):
                raise argument.wrong(f"names a cookie {name!r}: a cookie name has no such character (RFC 6265, 4.1.1)")
            if isinstance(one_or_list(argument.annotation), tuple) and one_or_list(argument.annotation)[1]:
                raise argument.wrong("is a cookie, which has one value: annotate it with str, int ...")
            return CookieField(argument, "cookie", name)


def _plan(argument: Argument) -> Resolver | None:
    """A type that is one text, or a list of such, is a field of the query."""
    if not argument.place.is_http or argument.annotation is EMPTY or one_or_list(argument.annotation) is None:
        return None
    return QueryField(argument, "query", argument.name)


planners.append(_plan)
