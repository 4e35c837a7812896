"""What docs/understand/counting.md says, byte by byte: a reader that knows no more than the page reads the memory."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec
import pytest
from tiny_listener_metrics import FAMILIES, Ledger, Recorder
from tiny_listener_metrics.row import read_row

from tests.metrics.helpers import work

PAGE = (Path(__file__).parents[2] / "docs" / "understand" / "counting.md").read_text()
DUMP = re.compile(r"^(?P<at>[0-9a-f]{4})  (?P<bytes>[0-9a-f ]{47,48})  \|", re.MULTILINE)
WORDS = {m[1]: int(m[2]) for m in re.finditer(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)}


def shown_row() -> bytes:
    """The row that the page shows."""
    size = re.search(r"The row above has (\d+) bytes", PAGE)
    assert size is not None
    memory = bytearray(int(size[1]))
    for line in DUMP.finditer(PAGE):
        at = int(line["at"], 16)
        memory[at : at + 16] = bytes.fromhex(line["bytes"])
    return bytes(memory)


def read_by_the_page(memory: bytes) -> Iterator[tuple[str, tuple[str, ...], list[int]]]:
    """Yield each series: its family, its labels, and its words, as whole numbers."""
    magic, version, size, length = struct.unpack_from("=8sQQQ", memory)
    assert (magic, version, size) == (b"tlmetric", 2, len(memory))
    at, lowest = 32, len(memory) // 8
    while at < 32 + length:
        name_length, checksum, first = struct.unpack_from("=IIQ", memory, at)
        name = memory[at + 16 : at + 16 + name_length]
        assert crc32(name, first) == checksum
        family, labels = msgspec.msgpack.decode(name)
        assert first + WORDS[family] == lowest
        lowest = first
        yield family, tuple(labels), list(struct.unpack_from(f"={WORDS[family]}Q", memory, 8 * first))
        at += (16 + name_length + 7) // 8 * 8
    assert at == 32 + length
    assert not any(memory[at : 8 * lowest])


def test_the_page_names_each_family_with_its_words() -> None:
    assert {name: family.words for name, family in FAMILIES.items()} == WORDS


@pytest.mark.skipif(sys.byteorder == "big", reason="the page shows a machine that has the low byte first")
def test_the_row_that_is_shown() -> None:
    series = {(family, labels): words for family, labels, words in read_by_the_page(shown_row())}
    assert [family for family, _ in series] == [
        "tiny_listener_not_found",
        "tiny_listener_dispatch_seconds",
        "tiny_listener_events",
        "http_server_request_duration_seconds",
    ]
    total, *counts = series["tiny_listener_dispatch_seconds", ("GET:/user/{username}",)]
    assert struct.unpack("=d", struct.pack("=Q", total)) == (0.0003,)
    assert counts == [0, 0, 1, *[0] * 12]
    assert series["tiny_listener_events", ("GET:/user/{username}",)] == [1, 0, 0, 0, 0]
    assert series["http_server_request_duration_seconds", ("GET", "/user/{username}", "200")][1:] == [1, *[0] * 14]


def test_the_row_of_a_worker() -> None:
    ledger = Ledger()
    row = ledger.open_row()
    work(Recorder(row.writer()), 3)
    found = {}
    for family, labels, words in read_by_the_page(bytes(row.memory)):
        if FAMILIES[family].kind == "histogram":
            words[0] = round(struct.unpack("=d", struct.pack("=Q", words[0]))[0] * 1e9)
        found[family, labels] = words
    assert found == {(one.family, one.labels): words for one, words in read_row(row.memory).items()}
    assert len(found) >= 4
    ledger.close_row(row)
