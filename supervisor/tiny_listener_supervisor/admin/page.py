"""The status page of the admin endpoint: one HTML document without external resources.

Its parts are in `assets`. The served document contains all of them, and its policy (Content Security Policy Level 3)
allows only these scripts and styles, by their hashes. So text from others that the page shows can never run as code.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

__all__ = ["Page", "page"]

SCRIPTS = ("numbers.js", "history.js", "graph.js", "tables.js", "page.js")
"""In the order of their dependencies."""


class Page(NamedTuple):
    """The document and the header fields that go with it."""

    body: bytes
    headers: dict[str, str]


@cache
def page() -> Page:
    """Return the page. It is read once."""
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
