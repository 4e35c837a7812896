"""The metrics of tiny-listener: workers count in shared memory, and their owner aggregates and exposes the counts.

The owner makes a `Ledger`, opens a row for each worker before it forks the worker, and closes the row when the worker
is dead. The worker gives its listener a `Recorder` that writes to its row. `Exposition` writes the page that Prometheus
scrapes. The owner and the worker can be one process.

    series      what is counted: families, labels, bounds
    row         the shared memory between a worker and its owner
    exemplars   next to it: examples of observations, with their trace ids
    recorder    counts, in the worker
    ledger      aggregates, in the owner
    exposition  writes the metrics page, in the owner
    format      writes one of the two formats
    steps       work in small steps
    values      where the application's own metrics are stored
    application aggregates them
    registry    exposes them if there is only one process
    queues      accept queue depths
    reloads     outcomes of reloads
    overview    totals for the status page
    collectors  process metrics, and published events
"""

from .application import ApplicationMetrics, ValuesRow
from .collectors.processes import Processes, ProcessView, ServerView
from .collectors.published import PublishedEvents, PublishedView
from .exposition import Exposition, LedgerCollector
from .ledger import Ledger, Row
from .overview import Counts, RouteCounts, counts_of
from .queues import AcceptQueues
from .recorder import Recorder, RouteRecorder
from .registry import RegistryMetrics
from .reloads import ReloadCounts, Reloads
from .row import RowError, RowReader, RowWriter, format_row, read_row
from .series import FAMILIES, Family, Series

__all__ = [
    "FAMILIES",
    "AcceptQueues",
    "ApplicationMetrics",
    "Counts",
    "Exposition",
    "Family",
    "Ledger",
    "LedgerCollector",
    "ProcessView",
    "Processes",
    "PublishedEvents",
    "PublishedView",
    "Recorder",
    "RegistryMetrics",
    "ReloadCounts",
    "Reloads",
    "RouteCounts",
    "RouteRecorder",
    "Row",
    "RowError",
    "RowReader",
    "RowWriter",
    "Series",
    "ServerView",
    "ValuesRow",
    "counts_of",
    "format_row",
    "read_row",
]
