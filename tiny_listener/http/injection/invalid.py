"""The response to a request whose arguments do not fit: all problems together, as RFC 9457 describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...core.injection.resolvers import Problem
from ..errors import HTTPError
from ..request import Request
from ..response import Response, json_bytes

if TYPE_CHECKING:
    from ...core.aliases import AnyEvent

__all__ = ["InvalidRequest", "error_of_request"]

TITLES: Final = {400: "Bad Request", 415: "Unsupported Media Type", 422: "Unprocessable Content"}
"""By status, the most severe first: a body that is no JSON cannot be checked further."""


class InvalidRequest(HTTPError):  # noqa: N818 - it is the request that is invalid
    """Arguments of a handler are missing, or do not fit their types.

    Its response is `application/problem+json` (RFC 9457) with a list `errors` of `in`, `name`, `path` and `message`.

    :param problems: all of them
    """

    def __init__(self, problems: list[Problem]) -> None:
        statuses = {problem.status for problem in problems}
        status = next((one for one in TITLES if one in statuses), 422)
        self.errors: Final = [
            {"in": one.place, "name": one.name, "path": one.path, "message": one.message} for one in problems
        ]
        """For each problem where it is (`in`: query, header, cookie or body; `name`; `path` within the value) and what
        was wrong."""
        accept = {"accept": "application/json"} if status == 415 else {}
        super().__init__(status, "; ".join(map(str, problems)), accept)

    def response(self) -> Response:
        """Return it as a response."""
        content = {
            "type": "about:blank",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
            "errors": self.errors,
        }
        return Response(json_bytes(content), self.status, self.headers, content_type="application/problem+json")


def error_of_request(event: AnyEvent, problems: list[Problem]) -> Exception | None:
    """Return the error of a request; None if the event came from none.

    A path parameter that cannot be converted is the path of no page: 404.
    """
    request: Any = event.data.get("request")
    if not isinstance(request, Request):
        return None
    if any(problem.place == "path" for problem in problems):
        return HTTPError(404, "Page Not Found")
    return InvalidRequest(problems)
