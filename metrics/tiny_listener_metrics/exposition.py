"""The page that Prometheus fetches, from the totals of a ledger.

`LedgerCollector` is a collector as prometheus_client knows them. `Exposition.pieces` gives the text that
prometheus_client writes for it, in a tenth of the time (see `format`), and piece by piece: a page of 100,000 samples
takes seconds, in which the event loop has other things to do.
"""

from __future__ import annotations

import logging
import platform
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from .format import Format, Totals, family_metric
from .ledger import Exemplars, Ledger
from .series import FAMILIES, Family
from .steps import Steps, slices

__all__ = ["Exposition", "LedgerCollector", "accepts_gzip", "accepts_openmetrics", "compress", "compressed"]

_log = logging.getLogger("tiny_listener.metrics")

MAX_LEFT_OUT: Final = 100
"""Metrics of the application that the log tells of: names may be made of anything."""
MAX_COMPRESSED: Final = 64 * 1024
"""Bytes that are compressed at once: 1 ms."""
SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""What the names of a metric's samples end with, by its type."""

T = TypeVar("T")


class LedgerCollector:
    """A prometheus_client collector of everything in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Collect the totals of `ledger`, in the thread that owns it."""
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """The families that have series."""
        totals_of_all = self._ledger.totals()
        exemplars = self._ledger.exemplars()
        for family, totals in _by_family(totals_of_all):
            yield family_metric(family, totals, exemplars)

    def describe(self) -> Iterator[Metric]:
        """All families, without samples, so that a registry knows which names are taken."""
        for family in FAMILIES.values():
            yield family_metric(family, {})


class Exposition:
    """Writes the page, as text or as OpenMetrics."""

    def __init__(self, ledger: Ledger, *, version: str, python: str | None = None) -> None:
        """`version` of tiny-listener and of Python, by default of the one that runs, for `build_info`."""
        self.ledger = ledger
        """Whose totals it writes."""
        self.registry = CollectorRegistry()
        """Further collectors of this process, for the same page. The names of the ledger's are taken."""
        self.registry.register(_TakenNames(ledger))
        self.registry.register(_BuildInfo(version, python or platform.python_version()))
        self._application: Collector | None = None
        self._left_out: set[str] = set()
        """Names of metrics of the application that the log has told of."""
        self._text = Format(generate_text, CONTENT_TYPE_PLAIN_0_0_4, "")
        self._openmetrics = Format(generate_openmetrics, CONTENT_TYPE_OPENMETRICS, "# EOF\n")

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """Return `pieces` at once, and the content type."""
        pieces, content_type = self.pieces(accept)
        return b"".join(pieces), content_type

    def pieces(self, accept: str | None = None) -> tuple[Generator[bytes, None, None], str]:
        """Return the pieces of the page and its content type, for the value of the Accept field (None without one).

        Each takes a few milliseconds to make, whatever there is on the page; some are empty, so that an event loop can
        go on before there is something to show. Of several pages one is made at a time: see `Ledger.read`.
        """
        form = self._openmetrics if accepts_openmetrics(accept or "") else self._text
        return self._pieces(form), form.content_type

    def _pieces(self, form: Format) -> Generator[bytes, None, None]:
        totals_of_all = yield from _meanwhile_nothing(self.ledger.read())
        exemplars: Exemplars = {}
        if form is self._openmetrics:
            exemplars = yield from _meanwhile_nothing(self.ledger.read_exemplars())
        for family, totals in _by_family(totals_of_all):
            yield from form.family(family, totals, exemplars)
        taken = {name for family in FAMILIES.values() for name in _names_of(family.name, family.kind)}
        for metric in self.registry.collect():
            yield from form.metric(metric)
            taken.update(_names_of(metric.name, metric.type))
        if self._application is not None:
            yield from self._application_pieces(form, taken, self._application)
        yield form.end.encode()

    def show_application(self, collector: Collector) -> None:
        """Show what the application measures itself. A collector with a method `collect_in_steps` yields None there
        when the event loop may go on before the next metric is complete.

        Whatever it is, the page is whole: a metric whose name is taken, by one of tiny-listener's or by another before
        it, or that cannot be written, is left out, and the log says so.
        """
        self._application = collector

    def _application_pieces(self, form: Format, taken: set[str], collector: Collector) -> Iterator[bytes]:
        collect = getattr(collector, "collect_in_steps", collector.collect)
        for metric in collect():
            if metric is None:
                yield b""
                continue
            names = _names_of(metric.name, metric.type)
            if not taken.isdisjoint(names):
                self._leave_out(metric.name, "its name is taken: give it another")
                continue
            of_metric: list[bytes] = []
            try:
                for piece in form.metric(metric):
                    of_metric.append(piece)
                    yield b""
            except Exception as error:  # prometheus_client writes no metric that its format cannot have
                self._leave_out(metric.name, f"it cannot be written: {error.args[0] if error.args else error!r}")
            else:
                taken.update(names)
                yield from of_metric

    def _leave_out(self, name: str, why: str) -> None:
        if name not in self._left_out and len(self._left_out) < MAX_LEFT_OUT:
            self._left_out.add(name)
            _log.warning("metrics: %s of the application is not on the page: %s", name, why)


def accepts_openmetrics(accept: str) -> bool:
    """Whether the value of an Accept field (RFC 9110, 12.5.1) asks for OpenMetrics 1 rather than text.

    prometheus_client's own choice takes the first type it knows, whatever its weight, repeats the client's
    version in the answer, and raises for a version that is no number.
    """
    openmetrics = text = 0.0
    for item in accept.split(","):
        name, *fields = (part.strip().lower() for part in item.split(";"))
        params = dict(field.partition("=")[::2] for field in fields)
        try:
            weight = float(params.get("q", "1"))
        except ValueError:
            continue
        if name == "application/openmetrics-text" and params.get("version", "1").split(".")[0] == "1":
            openmetrics = max(openmetrics, weight)
        elif name == "text/plain":
            text = max(text, weight)
    return openmetrics > 0 and openmetrics >= text


def _names_of(name: str, kind: str) -> list[str]:
    """The names that a metric takes."""
    return [name, *(name + suffix for suffix in SUFFIXES.get(kind, ()))]


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the value of an Accept-Encoding field (RFC 9110, 12.5.3) takes gzip."""
    weights: dict[str, float] = {}
    for item in accept_encoding.split(","):
        name, *fields = (part.strip().lower() for part in item.split(";"))
        params = dict(field.partition("=")[::2] for field in fields)
        try:
            weights[name] = float(params.get("q", "1"))
        except ValueError:
            continue
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0


def compressed(page: bytes) -> bytes:
    """Return `compress` at once."""
    return b"".join(compress((page,)))


def compress(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Return a page in gzip (RFC 1952), at the level that takes the least time: it is a tenth as long even so.

    Some of the pieces are empty: each compresses little at a time.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        for part in slices(len(piece), MAX_COMPRESSED):
            yield packer.compress(piece[part])
        if not piece:
            yield b""
    yield packer.flush()


class _TakenNames:
    """Holds the names of a ledger's families in a registry, and collects nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._families = LedgerCollector(ledger)

    def describe(self) -> Iterable[Metric]:
        return self._families.describe()

    def collect(self) -> Iterable[Metric]:
        return ()


class _BuildInfo:
    """`tiny_listener_build_info`. No `prometheus_client.Gauge`: that one would write a file where the
    application has chosen prometheus_client's multi-process mode.
    """

    def __init__(self, version: str, python: str) -> None:
        self._metric = GaugeMetricFamily(
            "tiny_listener_build_info",
            "1, with the versions of tiny-listener and of Python as labels.",
            labels=("version", "python"),
        )
        self._metric.add_metric((version, python), 1)

    def collect(self) -> Iterable[Metric]:
        yield self._metric

    describe = collect


def _meanwhile_nothing(steps: Steps[T]) -> Generator[bytes, None, T]:
    """Take steps that make nothing of the page."""
    try:
        while True:
            next(steps)
            yield b""
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        steps.close()


def _by_family(totals: Totals) -> Iterator[tuple[Family, Totals]]:
    """The totals of each family that has any, in the order of `FAMILIES`."""
    families: dict[str, Totals] = {name: {} for name in FAMILIES}
    for series, words in totals.items():
        families[series.family][series] = words
    for name, of_family in families.items():
        if of_family:
            yield FAMILIES[name], of_family
