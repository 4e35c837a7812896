"""Texts with attributes of a CloudEvent in them, such as `order {subject} placed`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ...cloudevents import InvalidCloudEvent
from ...cloudevents.checks import NAME, short

__all__ = ["Template"]

FIELD: Final = re.compile(r"\{([^{}]*)\}")


class Template:
    """A text with the names of attributes in braces.

    :param argument: the name of the argument that it was given as, for messages
    :param text: such as `{type}`
    :raises ValueError: a brace is alone, or has no name of an attribute behind it
    """

    __slots__ = ("_names", "_texts", "text")

    def __init__(self, argument: str, text: str) -> None:
        self.text: Final = text
        parts = FIELD.split(text)
        self._texts, self._names = parts[::2], parts[1::2]
        wrong = [name for name in self._names if not NAME.fullmatch(name) or name == "data"]
        if wrong or any("{" in part or "}" in part for part in self._texts):
            raise ValueError(
                f"{argument}={text!r} takes names of attributes in braces, such as {{type}} or {{subject}}: "
                "lower-case letters and digits"
            )
        if not text:
            raise ValueError(f"{argument}= must not be empty")

    def fill(self, attributes: Mapping[str, str]) -> str:
        """Return the text with the values of attributes.

        :raises InvalidCloudEvent: the event has not all of them
        """
        missing = [name for name in self._names if name not in attributes]
        if missing:
            raise InvalidCloudEvent(
                f"the CloudEvent lacks {' and '.join(missing)}, which this receiver needs for {short(self.text)}"
            )
        values = (*(attributes[name] for name in self._names), "")
        return "".join(part + value for part, value in zip(self._texts, values, strict=True))
