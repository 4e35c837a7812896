"""The page that Prometheus scrapes, from the totals of a ledger.

`LedgerCollector` is a prometheus_client collector. `Exposition.pieces` produces the same text that prometheus_client
would, in a tenth of the time (see `format`), and piece by piece: a page of 100,000 samples takes seconds, and the event
loop has to run meanwhile.
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

MAX_EXCLUDED: Final = 100
"""Maximum number of application metrics that the log names: names can be generated."""
MAX_COMPRESSED: Final = 64 * 1024
"""Bytes that are compressed at a time: 1 ms."""
SUFFIXES: Final = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
"""Suffixes of a metric's sample names, by its type."""

T = TypeVar("T")


class LedgerCollector:
    """A prometheus_client collector of everything in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        """Collect the totals of `ledger`, in the thread that owns it."""
        self._ledger = ledger

    def collect(self) -> Iterator[Metric]:
        """Yield the families that have series."""
        totals_of_all = self._ledger.totals()
        exemplars = self._ledger.exemplars()
        for family, totals in _by_family(totals_of_all):
            yield family_metric(family, totals, exemplars)

    def describe(self) -> Iterator[Metric]:
        """Yield all families without samples, so that a registry knows which names are in use."""
        for family in FAMILIES.values():
            yield family_metric(family, {})


class Exposition:
    """Writes the metrics page, as text or as OpenMetrics."""

    def __init__(self, ledger: Ledger, *, version: str, python: str | None = None) -> None:
        """`version` of tiny-listener and of Python, by default of the running one, for `build_info`."""
        self.ledger = ledger
        """The ledger whose totals it writes."""
        self.registry = CollectorRegistry()
        """Further collectors of this process, for the same page. The ledger's names are reserved."""
        self.registry.register(_TakenNames(ledger))
        self.registry.register(_BuildInfo(version, python or platform.python_version()))
        self._application: Collector | None = None
        self._excluded: set[str] = set()
        """Names of application metrics that the log has reported."""
        self._text = Format(generate_text, CONTENT_TYPE_PLAIN_0_0_4, "")
        self._openmetrics = Format(generate_openmetrics, CONTENT_TYPE_OPENMETRICS, "# EOF\n")

    def render(self, accept: str | None = None) -> tuple[bytes, str]:
        """Return all `pieces` joined, and the content type."""
        pieces, content_type = self.pieces(accept)
        return b"".join(pieces), content_type

    def pieces(self, accept: str | None = None) -> tuple[Generator[bytes, None, None], str]:
        """Return the pieces of the page and its content type, for the value of the Accept field (None: it is absent).

        Each piece takes a few milliseconds to make, whatever is on the page. Some are empty, so that the event loop can
        run before there is output. Make only one page at a time: see `Ledger.read`.
        """
        form = self._openmetrics if accepts_openmetrics(accept or "") else self._text
        return self._pieces(form), form.content_type

    def _pieces(self, form: Format) -> Generator[bytes, None, None]:
        totals_of_all = yield from _empty_pieces(self.ledger.read())
        exemplars: Exemplars = {}
        if form is self._openmetrics:
            exemplars = yield from _empty_pieces(self.ledger.read_exemplars())
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
        """Expose the application's own metrics. If the collector has a method `collect_in_steps`, that may yield None
        to let the event loop run before the next metric is complete.

        The page is always complete. A metric that cannot be written, or whose name is used by tiny-listener or by an
        earlier metric, is not exposed, and the log says so.
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
                self._exclude(metric.name, "its name is already in use; rename it")
                continue
            of_metric: list[bytes] = []
            try:
                for piece in form.metric(metric):
                    of_metric.append(piece)
                    yield b""
            except Exception as error:  # prometheus_client raises for a metric that its format does not allow
                self._exclude(metric.name, f"it cannot be written: {error.args[0] if error.args else error!r}")
            else:
                taken.update(names)
                yield from of_metric

    def _exclude(self, name: str, why: str) -> None:
        if name not in self._excluded and len(self._excluded) < MAX_EXCLUDED:
            self._excluded.add(name)
            _log.warning("metrics: %s of the application is not exposed: %s", name, why)


def accepts_openmetrics(accept: str) -> bool:
    """Whether the value of an Accept field (RFC 9110, 12.5.1) prefers OpenMetrics 1 to text.

    prometheus_client takes the first type it knows whatever its weight, repeats the client's version in the response,
    and raises for a version that is not a number.
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
    """Return the names that a metric uses."""
    return [name, *(name + suffix for suffix in SUFFIXES.get(kind, ()))]


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether the value of an Accept-Encoding field (RFC 9110, 12.5.3) accepts gzip."""
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
    """Return all of `compress` joined."""
    return b"".join(compress((page,)))


def compress(pieces: Iterable[bytes]) -> Generator[bytes, None, None]:
    """Compress a page with gzip (RFC 1952) at the fastest level, which still reduces it to a tenth.

    Some of the pieces are empty: each step compresses little.
    """
    packer = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    for piece in pieces:
        for part in slices(len(piece), MAX_COMPRESSED):
            yield packer.compress(piece[part])
        if not piece:
            yield b""
    yield packer.flush()


class _TakenNames:
    """Reserves the names of a ledger's families in a registry; collects nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self._families = LedgerCollector(ledger)

    def describe(self) -> Iterable[Metric]:
        return self._families.describe()

    def collect(self) -> Iterable[Metric]:
        return ()


class _BuildInfo:
    """`tiny_listener_build_info`. Not a `prometheus_client.Gauge`: that would write a file if the application uses
    prometheus_client's multi-process mode.
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


def _empty_pieces(steps: Steps[T]) -> Generator[bytes, None, T]:
    """Run steps that produce no output."""
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
    """Yield the totals of each family that has any, in the order of `FAMILIES`."""
    families: dict[str, Totals] = {name: {} for name in FAMILIES}
    for series, words in totals.items():
        families[series.family][series] = words
    for name, of_family in families.items():
        if of_family:
            yield FAMILIES[name], of_family
