"""Events of any kind, for hypothesis."""

from __future__ import annotations

import datetime as dt
import string
from typing import Any

from hypothesis import strategies as st

from tiny_listener.cloudevents import ABSENT, CloudEvent
from tiny_listener.cloudevents.checks import DISALLOWED
from tiny_listener.cloudevents.event import CORE

__all__ = ["binary_types", "events", "json_types", "json_values", "names", "texts"]

texts = st.text(min_size=1, max_size=40).map(lambda text: DISALLOWED.sub("", text)).filter(bool)
names = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=24).filter(
    lambda name: name not in {*CORE, "data", "partitionkey", "traceparent", "expirytime"}
)
segments = st.text(string.ascii_letters + string.digits + "-._~!$&'()*+,;=@", max_size=12)
paths = st.lists(st.one_of(segments, st.just("%C3%BC")), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
sources = st.one_of(
    paths.filter(lambda path: not path.startswith("//")),
    paths.map(lambda path: f"https://user@[::1]:8080{path}?a=b&c=%20#d"),
    st.uuids().map(lambda one: one.urn),
)
times = st.one_of(
    st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=st.timezones()),
    st.just("2016-12-31T23:59:60Z"),
    st.just("2026-11-28t09:30:00.123456789+05:30"),
)
numbers = st.integers(-(2**31), 2**31 - 1)
extensions = st.dictionaries(
    names,
    st.one_of(
        texts, st.just(""), numbers, st.booleans(), st.binary(max_size=20), st.datetimes(timezones=st.just(dt.UTC))
    ),
    max_size=5,
)
json_values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=20),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)  # fmt: skip
json_types = st.sampled_from([None, "application/json", "TEXT/JSON", "application/vnd.x+Json; charset=UTF-8"])
binary_types = st.sampled_from([None, "application/octet-stream", 'image/png;a="b \\" c"', "application/json"])
payloads: st.SearchStrategy[tuple[Any, str | None]] = st.one_of(
    st.tuples(st.just(ABSENT), st.one_of(json_types, binary_types)),
    st.tuples(json_values, json_types),
    st.tuples(st.binary(max_size=60), binary_types),
    st.tuples(st.text(max_size=30), st.sampled_from(["text/plain", 'text/xml; charset="utf-16"'])),
)


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    """Draw an event."""
    data, kind = draw(payloads)
    return CloudEvent(
        draw(texts),
        draw(sources),
        data,
        id=draw(texts),
        time=draw(st.none() | times),
        subject=draw(st.none() | texts),
        datacontenttype=kind,
        dataschema=draw(st.none() | st.just("https://example.com/schema.json#/order")),
        extensions=draw(extensions),
    )
