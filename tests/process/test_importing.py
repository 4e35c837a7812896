"""What a text like `module:attribute` names."""

from __future__ import annotations

import pytest

from tiny_listener import Listener, import_from_string


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("json", "MODULE:ATTRIBUTE"),
        (":app", "MODULE:ATTRIBUTE"),
        ("json:", "MODULE:ATTRIBUTE"),
        ("json:dump..x", "MODULE:ATTRIBUTE"),
        ("json:dumbs", "did you mean 'dumps'"),
        ("no_such_module_here:app", "No module named 'no_such_module_here'"),
    ],
)
def test_import_errors_say_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(ImportError, match=message):
        import_from_string(text)


def test_import_from_string() -> None:
    assert import_from_string("tiny_listener:Listener.run") is Listener.run
