"""The metrics of tiny-listener: workers count in shared memory, their owner adds up and exposes.

The owner makes a `Ledger`, opens a row for each worker before it forks it, and closes the row when the
worker is dead. The worker gives its listener a `Recorder` over the writer of its row. `Exposition` writes
what Prometheus fetches. The owner and the worker can be one process.

    series      what is counted: families, labels, bounds
    row         the memory between a worker and its owner
    exemplars   beside it: examples of what was counted, that name a trace
    recorder    the worker counts
    ledger      the owner adds up
    exposition  the owner writes the page
    format      in one of two formats
    steps       a little at a time
    values      where the application's own metrics live
    application the owner adds them up
    registry    and shows them where it is the only process
    queues      how many connections wait to be accepted
    reloads     what became of reloads
    processes   what the processes do
    overview    the totals, for a page that people look at
"""

from .application import ApplicationMetrics, ValuesRow
from .exposition import Exposition, LedgerCollector
from .ledger import Ledger, Row
from .overview import Counts, RouteCounts, counts_of
from .processes import Processes, ProcessView, ServerView
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
