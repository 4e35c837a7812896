"""Who asks, and what they may."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from tiny_listener import Depends
from tiny_listener.http import Cookie, Group, Header, HTTPError, Response

from .models import Role

access = Group(name="access")
DENIED = {401: "Who are you?", 403: "You may not do this."}
"""What routes for users answer besides."""


@dataclass(frozen=True)
class User:
    name: str
    role: Role


TOKENS = {"ann-token": User("ann", Role.CUSTOMER), "bob-token": User("bob", Role.CLERK)}
"""Stands for a store of tokens that expire."""


async def user(authorization: Annotated[str, Header] = "", token: Annotated[str, Cookie] = "") -> User:
    """The user of a bearer token, or of the cookie that a login has set."""
    found = TOKENS.get(authorization.removeprefix("Bearer ") or token)
    if found is None:
        raise HTTPError(401, "who are you?", {"www-authenticate": "Bearer"})
    return found


CurrentUser = Annotated[User, Depends(user)]


def needs(role: Role) -> Callable[..., Coroutine[Any, Any, User]]:
    """Make a dependency: a user with this role."""

    async def checked(user: CurrentUser) -> User:
        if user.role is not role:
            raise HTTPError(403, f"only a {role.value} may do this")
        return user

    return checked


Clerk = Annotated[User, Depends(needs(Role.CLERK))]


@access.post("/login", responses={204: "The cookie is set.", 401: "Who are you?"})
async def login(authorization: Annotated[str, Header], user: CurrentUser) -> Response:
    """Keep the bearer token in a cookie, for browsers."""
    response = Response(status=204)
    response.set_cookie("token", authorization.removeprefix("Bearer "), httponly=True, samesite="strict")
    return response


@access.get("/me", responses={401: "Who are you?"})
async def me(user: CurrentUser) -> User:
    """Who am I?"""
    return user
