"""What publish() takes, and what it says of anything else."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.publishing.running import App
from tiny_listener import Event, EventNotFound, EventTooLarge, ListenerError, Publication, Retry, RetryLater
from tiny_listener.events.envelope import key_text, new_id
from tiny_listener.http import HTTPListener
from tiny_listener.testing import EventClient

DAY = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def events() -> Iterator[EventClient]:
    app = App()

    @app.on_event("it")
    async def it(event: Event) -> None: ...

    @app.on_event("order {id} placed")
    async def placed(event: Event) -> None: ...

    with EventClient(app) as client:
        yield client


@pytest.mark.parametrize(
    ("key", "text"),
    [("k", "k"), ("é" * 128, "é" * 128), ("k" * 256, "k" * 256), (0, "0"), (-7, "-7"), (b"\xc3\xa9", "é")],
)
def test_keys(events: EventClient, key: str | int | bytes, text: str) -> None:
    events.publish("it", key=key)
    assert [event.key for event in events.waiting] == [text]


@pytest.mark.parametrize(
    ("key", "error", "match"),
    [
        ("", ValueError, "1 to 256 bytes of UTF-8, not 0"),
        (b"", ValueError, "not 0"),
        ("k" * 257, ValueError, "not 257"),
        ("é" * 129, ValueError, "not 258"),
        (b"k" * 300, ValueError, "not 300"),
        (b"\xff", ValueError, r"bytes of UTF-8.*key\.hex\(\)"),
        ("\ud800", ValueError, "UTF-8 can encode"),
        (10**300, ValueError, "not 301"),
        (1.5, TypeError, "float"),
        (True, TypeError, "bool"),
        (["k"], TypeError, "list"),
        (bytearray(b"k"), TypeError, "bytearray"),
    ],
)
def test_wrong_keys(events: EventClient, key: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=r"key= takes .*" + match):
        events.publish("it", key=key)
    assert not events.waiting


@given(st.one_of(st.text(), st.binary(), st.integers()))
def test_a_key_is_text_of_1_to_256_bytes_or_an_error(key: str | bytes | int) -> None:
    try:
        text = key_text(key)
    except ValueError:
        text = ""
    if text:
        assert len(text.encode()) <= 256
        assert key_text(text) == text
    else:
        with pytest.raises(ValueError, match="key="):
            key_text(key)


class Markup(str):
    """A text of a library, such as markupsafe or numpy."""

    __slots__ = ()

    def __str__(self) -> str:
        return self


def test_texts_of_subclasses_are_taken_as_texts_and_harm_no_other(events: EventClient) -> None:
    async def several() -> None:
        text = Markup("x")
        await events.app.publish_many([
            Publication("it", id="first"),
            Publication(Markup("it"), key=text),
            Publication("it", id=text),
            Publication("it", cid=text),
            Publication("it", attributes={text: text}),
            Publication(events.app.event("order {id} placed", id=text)),
            Publication("it", id="last"),
        ], timeout=2)  # fmt: skip

    events._do(several())
    events.run()
    assert [event.outcome for event in events.settled] == ["ok"] * 7


@pytest.mark.parametrize("value", ["", "i" * 257, "\udfff", 7, b"id"])
@pytest.mark.parametrize("name", ["id", "cid"])
def test_wrong_ids(events: EventClient, name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{name}= takes"):
        events.publish("it", **{name: value})


def test_new_ids_are_of_version_7_and_sort_by_time() -> None:
    ids = [uuid.UUID(new_id()) for _ in range(100)]
    assert len(set(ids)) == 100
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert [one.int >> 80 for one in ids] == sorted(one.int >> 80 for one in ids)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"delay": -1}, ValueError, "0 or more seconds, not -1"),
        ({"delay": float("nan")}, ValueError, "0 or more"),
        ({"delay": float("inf")}, ValueError, "0 or more"),
        ({"delay": 10**400}, ValueError, "0 or more"),
        ({"delay": dt.timedelta(seconds=-1)}, ValueError, "0 or more"),
        ({"delay": "5"}, TypeError, "seconds or a timedelta"),
        ({"delay": True}, TypeError, "seconds or a timedelta"),
        ({"at": DAY.replace(tzinfo=None)}, ValueError, "tzinfo=datetime.UTC"),
        ({"at": DAY.date()}, TypeError, "a datetime with a time zone"),
        ({"at": -1.0}, ValueError, "seconds since 1970"),
        ({"at": 10**400}, ValueError, "seconds since 1970"),
        ({"at": "tomorrow"}, TypeError, "a datetime"),
        ({"at": DAY, "delay": 1}, TypeError, "not both"),
        ({"timeout": 0}, ValueError, "timeout="),
        ({"timeout": float("nan")}, ValueError, "timeout="),
        ({"timeout": 10**400}, ValueError, "timeout="),
        ({"timeout": "1"}, ValueError, "timeout="),
        ({"attributes": {"Trace": "x"}}, ValueError, "lower-case"),
        ({"attributes": {"": "x"}}, ValueError, "lower-case"),
        ({"attributes": {"tlholds": "[]"}}, ValueError, "'tl'"),
        ({"attributes": {"a": 1}}, TypeError, "takes texts"),
        ({"attributes": {"a": "\ud800"}}, ValueError, "UTF-8"),
    ],
)
def test_wrong_options(events: EventClient, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        events.publish("it", **options)
    assert not events.waiting


def test_a_path_that_no_route_matches(events: EventClient) -> None:
    with pytest.raises(EventNotFound, match="nothing"):
        events.publish("nothing")
    with pytest.raises(EventNotFound, match=r"nothing \{id\}"):
        events.publish(events.app.event("nothing {id}", id="1"))


@pytest.mark.parametrize("path", [None, 5, b"it", ["it"]])
def test_a_path_that_is_no_text(events: EventClient, path: Any) -> None:
    with pytest.raises(TypeError, match=r"path= takes a str, or the name of an event as app\.event\(\) makes it"):
        events.publish(path)
    with pytest.raises(TypeError, match=r"publish_many\(\) takes Publication"):
        events._do(events.app.publish_many([Publication("it"), path]))
    assert not events.waiting


def test_a_path_with_half_a_surrogate_pair_harms_no_other(events: EventClient) -> None:
    with pytest.raises(ValueError, match="UTF-8"):
        events.publish("order \ud800 placed")
    with pytest.raises(ValueError, match="UTF-8"):
        events.publish(events.app.event("order {id} placed", id="\ud800"))
    events.publish("order 1 placed")
    events.run()
    assert [event.outcome for event in events.settled] == ["ok"]


def test_a_route_of_requests() -> None:
    app = HTTPListener()

    @app.get("/it")
    async def it() -> None: ...

    @app.on_event("other")
    async def other() -> None: ...

    with EventClient(app) as events, pytest.raises(EventNotFound, match="handles requests"):
        events.publish("GET:/it")
    app.remove_on_event_hook("other")
    with EventClient(app) as events, pytest.raises(EventNotFound, match="every route is one of requests"):
        events.publish("GET:/it")


def test_a_listener_that_does_not_run(events: EventClient) -> None:
    app = App()

    @app.on_event("it")
    async def it() -> None: ...

    with pytest.raises(ListenerError, match="needs a running listener"):
        app.publish("it")

    @app.startup
    async def early() -> None:
        await app.publish("it")

    with pytest.raises(ListenerError, match="call it from a handler, or from listen"), EventClient(app):
        pass


LIMIT = 256 * 1024
LUMP = 200 + len("it")


def test_an_event_of_256_kib(events: EventClient) -> None:
    events.publish("it", bytes(LIMIT - LUMP))
    with pytest.raises(EventTooLarge, match=f"has {LIMIT + 1} bytes, and at most {LIMIT} are allowed"):
        events.publish("it", bytes(LIMIT - LUMP + 1))
    with pytest.raises(EventTooLarge):
        events.publish("it", attributes={"a": "é" * (LIMIT // 2)})
    for path in ("order " + "é" * (LIMIT // 2) + " placed", events.app.event("order {id} placed", id="x" * LIMIT)):
        with pytest.raises(EventTooLarge):
            events.publish(path)
    events.run()
    assert len(events.settled) == 1


def test_several_of_which_one_is_wrong_are_not_stored(events: EventClient) -> None:
    async def several() -> None:
        await events.app.publish_many([Publication("it"), Publication("it", key="")])

    with pytest.raises(ValueError, match="key="):
        events._do(several())
    events.run()
    assert not events.settled


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10**400, "1", None, True])
def test_a_wrong_wait(seconds: Any) -> None:
    with pytest.raises(ValueError, match="RetryLater"):
        RetryLater(seconds)
    with pytest.raises(ValueError, match="first"):
        Retry(first=seconds)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 1.0}, "max_attempts"),
        ({"factor": 0.5}, "factor"),
        ({"most": -1}, "most"),
        ({"on": "ValueError"}, "on="),
        ({"on": ()}, "on="),
        ({"on": (ValueError, 1)}, "on="),
        ({"blocking": 1}, "blocking"),
    ],
)
def test_a_wrong_policy(options: dict[str, Any], match: str) -> None:
    with pytest.raises((TypeError, ValueError), match=match):
        Retry(**options)
