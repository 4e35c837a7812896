"""The page that the admin endpoint shows to people: one HTML document that needs nothing from elsewhere.

Its parts lie in `assets`, as what they are. The document that is sent holds them all, and its policy (Content Security
Policy Level 3) lets nothing run, and no style count, but those parts, by their hashes. So a text that the page shows,
and that somebody else wrote, stays a text.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

__all__ = ["Page", "page"]

SCRIPTS = ("numbers.js", "history.js", "graph.js", "tables.js", "page.js")
"""In the order in which they need each other."""


class Page(NamedTuple):
    """The document and the header fields that go with it."""

    body: bytes
    headers: dict[str, str]


@cache
def page() -> Page:
    """Return the page, read once."""
    assets = resources.files(__package__) / "assets"

    def text_of(name: str) -> str:
        return (assets / name).read_text(encoding="utf-8")

    style, script = text_of("page.css"), "\n".join(map(text_of, SCRIPTS))
    html = text_of("page.html").replace("/* style */", style).replace("/* script */", script)
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'self'",
        "img-src": "data:",  # the icon
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return Page(
        html.encode(),
        {
            "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            "cross-origin-opener-policy": "same-origin",
            "referrer-policy": "no-referrer",
        },
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
