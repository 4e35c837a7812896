"""The values of an application's own metrics, in memory that its worker shares with the owner.

prometheus_client keeps each number of a metric in an object of the class `values.ValueClass`. Its own class for
multiple processes writes a file for each process, in a folder that an environment variable names before the first
import. `install` replaces it by a class whose objects are in a `ValueStore`: anonymous memory that the owner
allocated before it forked the worker. Nothing is left behind when a process is killed, and nothing has to be
configured.

    bytes       meaning
    0-7         uint64: number of bytes in use, including these 8; raised after the entry is written
    8-...       the entries
    ...         free, all zero

An entry is padded with zeros to a multiple of 8:

    0-3         uint32: length N of the key, bytes; never 0
    4-7         uint32: CRC-32 of the key; a processor may publish other stores before these
    8-8+N       the key, in MessagePack; see `ValueKey`
    ...         double: the value
    ...         double: when it was set, seconds since the epoch, for gauges with mode `mostrecent`; otherwise 0

Numbers are in native byte order. The words are aligned, and one store moves one word (see `row`).
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

from .row import RowMemory
from .series import label_text

__all__ = ["DEFAULT_VALUES_CAPACITY", "ValueKey", "ValueStore", "ValuesError", "ValuesReader", "install", "value_class"]

_log = logging.getLogger("tiny_listener.metrics")

DEFAULT_VALUES_CAPACITY: Final = 16 << 20
"""Bytes for one worker: some 100,000 values. The kernel allocates only pages that were written to."""

_HEAD: Final = struct.Struct("=II")
_USED: Final = struct.Struct("=Q")
_VALUE: Final = 16


class ValuesError(Exception):
    """The memory holds something that no `ValueStore` writes."""


class ValueKey(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The key of a value. PERF: not tracked by the garbage collector: there may be 100,000 in each worker.

    :ivar kind: counter, gauge, histogram or summary
    :ivar mode: how to aggregate the values of several workers. For a gauge its `multiprocess_mode`; otherwise ""
    :ivar family: name of the metric
    :ivar sample: name of the sample: that of the metric with `_total`, `_bucket`, `_sum`, `_count` or nothing
    :ivar labels: names and values; a bucket has `le` among them
    :ivar help: HELP text of the metric; "" in all entries of a metric but the first
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


class ValueStore:
    """The values of a process.

    :ivar words: the memory, as doubles
    :ivar lock: applications may observe in threads, and a sum is a load and a store. Reentrant: a finalizer may observe
        while its thread holds it
    """

    def __init__(self, memory: RowMemory) -> None:
        """Use `memory`, which must be all zero and not used by anything else."""
        self.lock = threading.RLock()
        self._capacity = len(memory)
        self._enter(memory, 8)
        self._places: dict[tuple[str, str, str, str, _Labels], int] = {}
        self._families: set[str] = set()
        self._logged = False

    def _enter(self, memory: RowMemory, used: int) -> None:
        self._memory = memory
        self._used = used
        self.words: Any = memoryview(memory).cast("B").cast("d")
        _USED.pack_into(memory, 0, used)

    def add(self, key: ValueKey) -> int | None:
        """Return the word index of a value; a new value is 0. None: there is no room, which is logged once."""
        identity = key.kind, key.mode, key.family, key.sample, key.labels
        with self.lock:
            at = self._places.get(identity)
            if at is not None:
                return at
            # Store the HELP text once per metric: it would be most of every entry.
            text = _encode(key if key.family not in self._families else structs.replace(key, help=""))
            size = _padded(_HEAD.size + len(text))
            if self._used + size + _VALUE > self._capacity:
                self._log_full(key)
                return None
            _HEAD.pack_into(self._memory, self._used, len(text), crc32(text))
            start = self._used + _HEAD.size
            self._memory[start : start + len(text)] = text
            at = self._places[identity] = (self._used + size) // 8
            self._families.add(key.family)
            self._used += size + _VALUE
            _USED.pack_into(self._memory, 0, self._used)
            return at

    def move(self, memory: RowMemory, *, whole: bool = False) -> None:
        """Switch to other memory, all zero and of the same size. The values of gauges are kept. All others start at 0
        again, since the old memory still shows what they counted; with `whole` they are kept too.
        """
        with self.lock:
            used, old = self._used, self._memory
            memory[8:used] = old[8:used]
            words = memoryview(memory).cast("B").cast("d")
            for (kind, *_), at in self._places.items():
                if kind != "gauge" and not whole:
                    words[at] = 0.0
            self._enter(memory, used)

    def detach(self) -> None:
        """In a forked process: stop writing to the parent's memory."""
        self.lock = threading.RLock()  # a thread of the parent may have held it
        self.move(bytearray(self._capacity), whole=True)

    def _log_full(self, key: ValueKey) -> None:
        if not self._logged:
            self._logged = True
            _log.warning(
                "metrics: the application has more values than fit into %d MiB: %s with labels %s, and all later ones, "
                "are not exposed",
                self._capacity >> 20, key.family, dict(key.labels),
            )  # fmt: skip


class _PrivateStore:
    """Store for one value that has no room: only the application itself can read it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.words = array("d", (0.0, 0.0))


def value_class(store: ValueStore) -> type[Any]:
    """Return a class for `prometheus_client.values.ValueClass` whose objects are in `home`."""

    class SharedValue:
        """One number of a metric."""

        __slots__ = ("_at", "_store")
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
            at = store.add(ValueKey(typ, multiprocess_mode, metric_name, name, labels, label_text(help_text)))
            self._store: ValueStore | _PrivateStore = store if at is not None else _PrivateStore()
            self._at = at or 0

        def inc(self, amount: float) -> None:
            store = self._store
            with store.lock:
                store.words[self._at] += amount

        def set(self, value: float, timestamp: float | None = None) -> None:
            store = self._store
            with store.lock:
                store.words[self._at] = value
                store.words[self._at + 1] = timestamp or 0.0

        def get(self) -> float:
            value: float = self._store.words[self._at]
            return value

        def set_exemplar(self, exemplar: object) -> None:
            """Not supported, as in prometheus_client's class for multiple processes."""

        def get_exemplar(self) -> None:
            return None

    return SharedValue


def install(store: ValueStore) -> None:
    """Keep the metrics that are made from now on, in this process and in those it forks, in `home`.

    A process that the application forks itself counts privately until `ValueStore.move` is called there.
    """
    prometheus_values.ValueClass = value_class(store)
    os.register_at_fork(after_in_child=store.detach)


class ValuesReader:
    """The owner's view of a `ValueStore`.

    :ivar entries: the keys found so far, each with the word index of its value; append-only
    """

    def __init__(self, memory: RowMemory) -> None:
        """Read `memory` from the beginning."""
        self.entries: list[tuple[ValueKey, int]] = []
        self._memory = memory
        self.words: Any = memoryview(memory).cast("B").cast("d")
        """The memory, as doubles."""
        self._read = 8

    def refresh(self, most: int | None = None) -> bool:
        """Find new entries, at most `most`; return whether there are more.

        :raises ValuesError: an entry cannot be read, either not yet or not at all; all entries before it were found
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
                raise ValuesError(f"the entry at byte {at} is invalid: {error}") from None
            self.entries.append((key, end // 8))
            self._read = at = end + _VALUE
        return False

    def release(self) -> None:
        """Release the memory, so that it can be unmapped."""
        self.words.release()
