"""The values of an application's own metrics, in memory that its worker shares with the owner.

prometheus_client keeps each number that a metric has in an object of the class `values.ValueClass`. Its own class for
many processes writes a file for each of them, in a folder that an environment variable names before the first
import. `install` puts a class there whose objects live in a `Home`: memory without a name, which the owner made before
it forked the worker. Nothing is left behind by whoever is killed, and nothing has to be set.

    bytes       what
    0-7         uint64: how many bytes are in use, these 8 included; raised after the entry is written
    8-...       the entries
    ...         free, all zero

An entry is padded with zeros to a multiple of 8:

    0-3         uint32: length N of the key, bytes; never 0
    4-7         uint32: CRC-32 of the key; a processor may show other stores before these
    8-8+N       the key, in MessagePack; see `ValueKey`
    ...         double: the value
    ...         double: when it was set, seconds since the epoch, for gauges of the modes `mostrecent`; else 0

Numbers are in the byte order of the machine. The words are aligned, and one store moves one (see `row`).
"""

from __future__ import annotations

import logging
import os
import struct
import threading
from array import array
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from zlib import crc32

import msgspec
from msgspec import structs
from prometheus_client import values as prometheus_values

from .row import Memory
from .series import label_text

__all__ = ["DEFAULT_VALUES_CAPACITY", "Home", "ValueKey", "ValuesError", "ValuesReader", "install", "value_class"]

_log = logging.getLogger("tiny_listener.metrics")

DEFAULT_VALUES_CAPACITY: Final = 16 << 20
"""Bytes for one worker: some 100,000 values. The kernel gives only pages that were written to."""

_HEAD: Final = struct.Struct("=II")
_USED: Final = struct.Struct("=Q")
_VALUE: Final = 16


class ValuesError(Exception):
    """The memory holds what no `Home` writes."""


class ValueKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Whose a value is. PERF: the collector of cycles does not look at them: there may be 100,000 in each worker.

    :ivar kind: counter, gauge, histogram or summary
    :ivar mode: what becomes of the values of several workers, for a gauge: its `multiprocess_mode`; else ""
    :ivar family: the name of the metric
    :ivar sample: the name of the sample: that of the metric with `_total`, `_bucket`, `_sum`, `_count` or nothing
    :ivar labels: names and values; a bucket has `le` among them
    :ivar help: what the metric means; "" in all entries of a metric but the first
    """

    kind: str
    mode: str
    family: str
    sample: str
    labels: tuple[tuple[str, str], ...]
    help: str


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(ValueKey).decode
_Labels: TypeAlias = tuple[tuple[str, str], ...]


def _padded(size: int) -> int:
    return -(-size // 8) * 8


class Home:
    """Where the values of a process live.

    :ivar words: the memory, as doubles
    :ivar lock: applications observe in threads too, and a sum is a load and a store. Reentrant: a finalizer may
        observe while its thread is at it
    """

    def __init__(self, memory: Memory) -> None:
        """Live in `memory`, which is all zero and nobody else's."""
        self.lock = threading.RLock()
        self._capacity = len(memory)
        self._enter(memory, 8)
        self._places: dict[tuple[str, str, str, str, _Labels], int] = {}
        self._families: set[str] = set()
        self._complained = False

    def _enter(self, memory: Memory, used: int) -> None:
        self._memory = memory
        self._used = used
        self.words: Any = memoryview(memory).cast("B").cast("d")
        _USED.pack_into(memory, 0, used)

    def add(self, key: ValueKey) -> int | None:
        """Return the number of the word of a value, which is 0 if it is new; None where there is no room, which the
        log says once.
        """
        identity = key.kind, key.mode, key.family, key.sample, key.labels
        with self.lock:
            at = self._places.get(identity)
            if at is not None:
                return at
            # Most of an entry would be the same text over and over.
            text = _encode(key if key.family not in self._families else structs.replace(key, help=""))
            size = _padded(_HEAD.size + len(text))
            if self._used + size + _VALUE > self._capacity:
                self._complain(key)
                return None
            _HEAD.pack_into(self._memory, self._used, len(text), crc32(text))
            start = self._used + _HEAD.size
            self._memory[start : start + len(text)] = text
            at = self._places[identity] = (self._used + size) // 8
            self._families.add(key.family)
            self._used += size + _VALUE
            _USED.pack_into(self._memory, 0, self._used)
            return at

    def move(self, memory: Memory, *, whole: bool = False) -> None:
        """Go on in other memory, all zero and as large: the values of gauges go along; all others begin anew at 0,
        unless `whole`: what they counted, the old memory goes on to show.
        """
        with self.lock:
            used, old = self._used, self._memory
            memory[8:used] = old[8:used]
            words = memoryview(memory).cast("B").cast("d")
            for (kind, *_), at in self._places.items():
                if kind != "gauge" and not whole:
                    words[at] = 0.0
            self._enter(memory, used)

    def leave(self) -> None:
        """In a process that was forked: stop to write to what the parent writes to."""
        self.lock = threading.RLock()  # another thread of the parent may have held it
        self.move(bytearray(self._capacity), whole=True)

    def _complain(self, key: ValueKey) -> None:
        if not self._complained:
            self._complained = True
            _log.warning(
                "metrics: the application has more values than fit into %d MiB: %s with labels %s, and what is made "
                "after it, is not on the page",
                self._capacity >> 20, key.family, dict(key.labels),
            )  # fmt: skip


class _Nowhere:
    """The home of one value that found no room: the application reads in it what it wrote, and nobody else."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.words = array("d", (0.0, 0.0))


def value_class(home: Home) -> type[Any]:
    """Return a class for `prometheus_client.values.ValueClass` whose objects live in `home`."""

    class SharedValue:
        """One number of a metric."""

        __slots__ = ("_at", "_home")
        _multiprocess = True

        def __init__(  # noqa: PLR0917 - prometheus_client calls it so
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: Any,
        ) -> None:
            labels = tuple((label, label_text(value)) for label, value in zip(labelnames, labelvalues, strict=True))
            at = home.add(ValueKey(typ, multiprocess_mode, metric_name, name, labels, label_text(help_text)))
            self._home: Home | _Nowhere = home if at is not None else _Nowhere()
            self._at = at or 0

        def inc(self, amount: float) -> None:
            home = self._home
            with home.lock:
                home.words[self._at] += amount

        def set(self, value: float, timestamp: float | None = None) -> None:
            home = self._home
            with home.lock:
                home.words[self._at] = value
                home.words[self._at + 1] = timestamp or 0.0

        def get(self) -> float:
            value: float = self._home.words[self._at]
            return value

        def set_exemplar(self, exemplar: object) -> None:
            """There is no place for it; nor is there in prometheus_client's class for many processes."""

        def get_exemplar(self) -> None:
            return None

    return SharedValue


def install(home: Home) -> None:
    """Let the metrics that are made from now on, in this process and in those it forks, live in `home`.

    A process that the application forks itself counts for itself alone, until `Home.move` is called there.
    """
    prometheus_values.ValueClass = value_class(home)
    os.register_at_fork(after_in_child=home.leave)


class ValuesReader:
    """The owner's view of a home.

    :ivar entries: the keys found so far, each with the number of the word of its value; only appended to
    """

    def __init__(self, memory: Memory) -> None:
        """Read `memory`, from the beginning."""
        self.entries: list[tuple[ValueKey, int]] = []
        self._memory = memory
        self.words: Any = memoryview(memory).cast("B").cast("d")
        """The memory, as doubles."""
        self._read = 8

    def refresh(self, most: int | None = None) -> bool:
        """Find new entries, `most` at most; return whether there are more.

        :raises ValuesError: there is something that cannot be read, yet or at all; all before it was found
        """
        memory, at = self._memory, self._read
        (used,) = _USED.unpack_from(memory, 0)
        if used % 8 or used > len(memory):
            raise ValuesError(f"{used} of {len(memory)} bytes are in use")
        end_of_list = None if most is None else len(self.entries) + most
        while at < used:
            if len(self.entries) == end_of_list:
                return True
            length, checksum = _HEAD.unpack_from(memory, at)
            start = at + _HEAD.size
            end = at + _padded(_HEAD.size + length)
            if not length or end + _VALUE > used:
                raise ValuesError(f"an entry at byte {at} has {length} bytes")
            text = bytes(memory[start : start + length])
            if crc32(text) != checksum:
                raise ValuesError(f"the entry at byte {at} has a wrong checksum")
            try:
                key = _decode(text)
            except (msgspec.MsgspecError, UnicodeError) as error:
                raise ValuesError(f"the entry at byte {at} is none: {error}") from None
            self.entries.append((key, end // 8))
            self._read = at = end + _VALUE
        return False

    def release(self) -> None:
        """Let go of the memory, so that it can be unmapped."""
        self.words.release()
