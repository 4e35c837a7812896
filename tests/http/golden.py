"""The golden files: requests as bytes, and next to each its interpretation by RFC 9110 and 9112.

`NNN-name.http` are the bytes, `NNN-name.toml` what is expected of them. Both kinds have `rfc`, the section that says
so, and `shows`, what the file shows in one line.

A file in `valid` has a `[[request]]` for each request that is answered: `method`, `target`, `version` (the minor one),
`keep_alive`, the response's `status`; and, where a handler gets it, `path`, `host`, `body` and some `headers` (octets
as Latin-1).

A file in `invalid` has the `status` of the error that ends its connection; `answered`, how many good requests it has
before that; `is_head`, when the error has no content; and `found_by`, who sees it: the `reader` of bytes, the check of
the `target`, the `server` (a limit of a route), or nobody before the `end` of the input.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Golden:
    """One file and what is expected of it."""

    name: str
    data: bytes
    expected: dict[str, Any]

    @property
    def requests(self) -> list[dict[str, Any]]:
        """What a valid file has."""
        requests: list[dict[str, Any]] = self.expected["request"]
        return requests


def load(kind: str) -> list[Golden]:
    """Return the files of a kind, `valid` or `invalid`, in their order."""
    return [
        Golden(path.stem, path.read_bytes(), tomllib.loads(path.with_suffix(".toml").read_text("utf-8")))
        for path in sorted((FOLDER / kind).glob("*.http"))
    ]


VALID = load("valid")
INVALID = load("invalid")
