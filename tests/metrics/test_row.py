"""The memory between a worker and its owner: round trips, limits, and damage."""

from __future__ import annotations

import logging
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_listener_metrics.row import (
    DEFAULT_CAPACITY,
    MAX_SERIES,
    MIN_CAPACITY,
    EntryNotReadyError,
    RowError,
    RowReader,
    RowWriter,
    entry_bytes,
    format_row,
    read_row,
)
from tiny_listener_metrics.series import (
    DISPATCH,
    EVENTS,
    EVENTS_NOT_FOUND,
    FAMILIES,
    HTTP_DURATION,
    OVERFLOW,
    Family,
    Series,
    http_route,
    label_text,
    method_label,
    status_label,
)

from tests.metrics.helpers import memory_for_row

LENGTH_AT = 24
DIRECTORY_AT = 32

any_text = st.text(st.characters(), max_size=40)  # with lone surrogates, unlike st.text()


def series_of(family: Family, text: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Family, tuple[str, ...]]]:
    return st.tuples(st.just(family), st.tuples(*[text] * family.own_labels))


any_series = st.one_of([series_of(family, any_text) for family in FAMILIES.values()])


@given(st.lists(any_series, max_size=30))
def test_what_is_written_is_read(names: list[tuple[Family, tuple[str, ...]]]) -> None:
    memory = memory_for_row()
    writer = RowWriter(memory)
    expected: dict[Series, list[int]] = {}
    for family, labels in names:
        first = writer.add(family, *labels)
        words = expected.setdefault(Series(family.name, tuple(map(label_text, labels))), [0] * family.words)
        last = family.words - 1
        writer.counts[first + last] += 1
        words[last] += 1
        if family.kind == "histogram":
            writer.sums[first] += 0.5
            words[0] += 500_000_000
    assert read_row(memory) == expected
    assert list(read_row(memory)) == list(expected)


@given(st.text(st.characters()))
def test_a_label_can_be_written(text: str) -> None:
    label = label_text(text)
    assert label.encode().decode() == label
    assert label_text(label) == label


@given(st.text())
def test_a_label_that_can_be_written_stays_as_it_is(text: str) -> None:
    assert label_text(text) == text


def test_a_lone_surrogate_is_escaped() -> None:
    assert label_text("a\ud800\x00ü") == "a\\ud800\x00ü"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("GET:/user/{username}", "/user/{username}"),
        ("PURGE:/cache", "/cache"),
        ("M-SEARCH:*", "*"),
        ("GET:GET:/x", "GET:/x"),
        ("{_:path}", "{_:path}"),
        ("{method}:/user", "{method}:/user"),
        ("step 1: save {username}'s data", "step 1: save {username}'s data"),
        (":/x", ":/x"),
        ("", ""),
    ],
)
def test_http_route_is_the_pattern_without_the_method(pattern: str, expected: str) -> None:
    assert http_route(pattern) == expected


@given(st.text(st.characters()), st.integers())
def test_hostile_methods_and_statuses_have_few_labels(method: str, status: int) -> None:
    assert method_label(method) in {method, "_OTHER"}
    assert method_label(method.lower()) == "_OTHER"
    assert status_label(status) in {"_OTHER", *map(str, range(100, 600))}


@pytest.mark.parametrize(
    ("status", "label"), [(99, "_OTHER"), (100, "100"), (599, "599"), (600, "_OTHER"), (-1, "_OTHER")]
)
def test_status_limits(status: int, label: str) -> None:
    assert status_label(status) == label


def test_the_layout_is_the_one_described() -> None:
    memory = memory_for_row(4096)
    first = RowWriter(memory).add(EVENTS_NOT_FOUND)
    assert struct.unpack_from("=8sQQ", memory) == (b"tlmetric", 2, 4096)
    assert first == 4096 // 8 - 1
    (length,) = struct.unpack_from("=Q", memory, LENGTH_AT)
    assert length == entry_bytes(EVENTS_NOT_FOUND.overflow)
    name_length, _, word = struct.unpack_from("=IIQ", memory, DIRECTORY_AT)
    assert (word, (16 + name_length + 7) // 8 * 8) == (first, length)
    assert b"tiny_listener_not_found" in memory[DIRECTORY_AT + 16 : DIRECTORY_AT + 16 + name_length]


def test_the_same_series_is_made_once() -> None:
    writer = RowWriter(memory_for_row())
    assert writer.add(EVENTS, "a") == writer.add(EVENTS, "a") != writer.add(EVENTS, "b")


def test_histograms_fill_whole_cache_lines() -> None:
    assert DISPATCH.words == HTTP_DURATION.words == 16
    assert list(DISPATCH.bounds) == sorted(set(DISPATCH.bounds))
    assert list(HTTP_DURATION.bounds) == sorted(set(HTTP_DURATION.bounds))


def test_a_reader_goes_on_where_it_was() -> None:
    memory = memory_for_row()
    writer, reader = RowWriter(memory), RowReader(memory)
    assert reader.refresh() == []
    writer.add(EVENTS, "a")
    writer.add(EVENTS_NOT_FOUND)
    assert [entry.series for entry in reader.refresh()] == [
        Series(EVENTS.name, ("a",)),
        Series(EVENTS_NOT_FOUND.name, ()),
    ]
    assert reader.refresh() == []
    writer.add(EVENTS, "b")
    assert [entry.series.labels for entry in reader.refresh()] == [("b",)]
    assert [entry.series.labels for entry in reader.entries] == [("a",), (), ("b",)]
    reader.release()


# ------------------------------------------------------------------------------------------- fullness


def room_for(*series: Series) -> int:
    return MIN_CAPACITY + sum(entry_bytes(one) + 8 * FAMILIES[one.family].words for one in series)


def test_the_capacity_from_both_sides(caplog: pytest.LogCaptureFixture) -> None:
    series = [Series(DISPATCH.name, (name,)) for name in ("GET:/a", "GET:/b")]
    enough, too_little = memory_for_row(room_for(*series)), memory_for_row(room_for(*series) - 8)

    writer = RowWriter(enough)
    for one in series:
        writer.add(DISPATCH, *one.labels)
    assert list(read_row(enough)) == series
    assert not caplog.records

    writer = RowWriter(too_little)
    for one in series:
        writer.add(DISPATCH, *one.labels)
    assert list(read_row(too_little)) == [series[0], DISPATCH.overflow]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "GET:/b" in caplog.text


@pytest.mark.parametrize("capacity", [MIN_CAPACITY, room_for(Series(DISPATCH.name, ("GET:/a",))) + 96])
def test_a_full_row_counts_everything_in_overflow_series(capacity: int) -> None:
    memory = memory_for_row(capacity)
    writer = RowWriter(memory)
    for number in range(50):
        for family in FAMILIES.values():
            first = writer.add(family, *[f"GET:/{number}"] * family.own_labels)
            writer.counts[first + family.words - 1] += 1
    row = read_row(memory)
    for family in FAMILIES.values():
        assert set(family.overflow.labels) <= {OVERFLOW}
        assert family.overflow in row
        of_family = [words for series, words in row.items() if series.family == family.name]
        assert sum(words[-1] for words in of_family) == 50


def test_the_number_of_series_from_both_sides() -> None:
    memory = memory_for_row()
    writer = RowWriter(memory, max_series=3)
    places = [writer.add(EVENTS, str(number)) for number in range(3)]
    assert [series.labels for series in read_row(memory)] == [("0",), ("1",), ("2",)]
    overflow = writer.add(EVENTS, "3")
    assert overflow not in places
    assert [series.labels for series in read_row(memory)] == [("0",), ("1",), ("2",), (OVERFLOW,)]
    assert writer.add(EVENTS, "4") == overflow
    assert [writer.add(EVENTS, str(number)) for number in range(3)] == places
    assert len(read_row(memory)) == 4


def test_the_default_row_holds_the_greatest_number_of_series() -> None:
    memory = memory_for_row(DEFAULT_CAPACITY)
    writer = RowWriter(memory)
    for number in range(MAX_SERIES):
        writer.add(HTTP_DURATION, "GET", f"/{number:06}" + 180 * "x", "200")
    assert HTTP_DURATION.overflow not in read_row(memory)
    writer.add(HTTP_DURATION, "GET", "/", "200")
    assert HTTP_DURATION.overflow in read_row(memory)


def test_an_endless_label_goes_to_the_overflow_series() -> None:
    memory = memory_for_row(8192)
    writer = RowWriter(memory)
    writer.add(EVENTS, "x" * 10_000)
    writer.add(EVENTS, "short")
    assert [series.labels for series in read_row(memory)] == [(OVERFLOW,), ("short",)]


# --------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("size", [0, 8, MIN_CAPACITY - 8, MIN_CAPACITY + 1])
def test_no_row_is_made_of_too_little_memory(size: int) -> None:
    with pytest.raises(RowError, match=str(MIN_CAPACITY)):
        format_row(bytearray(size))


@pytest.mark.parametrize(
    "memory",
    [
        bytearray(),
        bytearray(24),
        bytearray(4096),
        memory_for_row(4096)[:-8],
        memory_for_row(4096)[:-1],
        bytearray(b"x" * 4096),
    ],
)
def test_what_is_no_row_is_refused(memory: bytearray) -> None:
    with pytest.raises(RowError):
        read_row(memory)
    with pytest.raises(RowError):
        RowWriter(memory)


@pytest.mark.parametrize("version", [1, 3])
def test_another_version_of_the_layout_is_refused(version: int) -> None:
    memory = memory_for_row()
    memory[8] = version
    with pytest.raises(RowError, match="version"):
        read_row(memory)


def test_a_row_has_one_writer() -> None:
    memory = memory_for_row()
    RowWriter(memory).add(EVENTS_NOT_FOUND)
    with pytest.raises(RowError, match="new one"):
        RowWriter(memory)


@given(st.binary(max_size=8), st.integers(0, 4096 - 8))
def test_garbled_bytes_raise_nothing_but_row_errors(garbage: bytes, at: int) -> None:
    memory = memory_for_row(4096)
    writer = RowWriter(memory)
    writer.add(EVENTS, "a")
    writer.add(DISPATCH, "b")
    memory[at : at + len(garbage)] = garbage
    try:
        row = read_row(memory)
    except RowError:
        return
    assert set(row) <= {Series(EVENTS.name, ("a",)), Series(DISPATCH.name, ("b",))}


@pytest.mark.parametrize("length", [1, 8, 4000, 1 << 63])
def test_a_directory_of_impossible_length(length: int) -> None:
    memory = memory_for_row(4096)
    struct.pack_into("=Q", memory, LENGTH_AT, length)
    with pytest.raises(RowError):
        read_row(memory)


def test_an_entry_that_has_not_arrived_yet_is_read_later() -> None:
    memory = memory_for_row()
    writer, reader = RowWriter(memory), RowReader(memory)
    writer.add(EVENTS, "a")
    written = memory[DIRECTORY_AT : DIRECTORY_AT + 200]
    for seen in (0, 12, 30):  # nothing of it, half its head, half its name
        memory[DIRECTORY_AT + seen : DIRECTORY_AT + 200] = bytes(200 - seen)
        with pytest.raises(EntryNotReadyError):
            reader.refresh()
    memory[DIRECTORY_AT : DIRECTORY_AT + 200] = written
    assert [entry.series.labels for entry in reader.refresh()] == [("a",)]


def test_a_sum_that_is_no_number() -> None:
    memory = memory_for_row()
    writer = RowWriter(memory)
    first = writer.add(DISPATCH, "a")
    for value in (float("nan"), float("inf")):
        writer.sums[first] = value
        with pytest.raises(RowError, match="not a number"):
            read_row(memory)
