"""Texts with attributes in them."""

from __future__ import annotations

import pytest

from tiny_listener.cloudevents import InvalidCloudEvent
from tiny_listener.http.cloudevents.template import Template


def test_a_template_is_filled() -> None:
    attributes = {"type": "a{id}", "id": "5", "subject": ""}
    for text, filled in (
        ("{type}", "a{id}"),
        ("order {id} of {type}!", "order 5 of a{id}!"),
        ("x", "x"),
        ("-{subject}-", "--"),
    ):
        assert Template("path", text).fill(attributes) == filled


def test_an_attribute_that_is_missing_is_named() -> None:
    with pytest.raises(InvalidCloudEvent, match="lacks subject and x, which this receiver needs for"):
        Template("path", "{type}/{subject}/{x}").fill({"type": "t"})


@pytest.mark.parametrize("text", ["", "{", "}", "{}", "{Type}", "{a-b}", "{data}", "{a}}", "{{a}}", "{n:int}"])
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path="):
        Template("path", text)
