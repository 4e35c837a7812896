"""The admin endpoint: what the processes measured, and whether they live and are ready."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from tiny_listener.addresses import ListenError
from tiny_listener.http import HTTPListener, Request, Response

if TYPE_CHECKING:
    from tiny_listener_metrics import Exposition, ServerView

    from .rollout import Rollout
    from .status import Status

__all__ = ["Admin", "Watched"]

logger = logging.getLogger("tiny_listener.admin")


class Watched(Protocol):
    """Whose state the endpoint tells."""

    @property
    def is_ready(self) -> bool:
        """Whether events are taken in."""

    def status(self) -> Status:
        """Return what there is to know of its processes."""


class _AdminListener(HTTPListener):
    title = "Admin endpoint"


class Admin:
    """The admin endpoint, in the loop of the supervisor, or of the only process.

    :param exposition: renders the metrics; None without metrics
    :param host: where to listen
    :param port: 0 for one of the system's choice
    :param required: whether a port that cannot be had is an error; otherwise it is a warning
    """

    def __init__(self, exposition: Exposition | None, host: str, port: int, *, required: bool) -> None:
        self.listener = _AdminListener(host=host, port=port)
        self._exposition = exposition
        self._required = required
        self._watched: Watched | None = None
        self.listener.get("/metrics")(self.metrics)
        self.listener.get("/livez")(self.livez)
        self.listener.get("/readyz")(self.readyz)
        self.listener.get("/status.json")(self.status)

    async def start(self, watched: Watched) -> None:
        """Listen.

        :raises ListenError: the port cannot be had, and it was asked for
        """
        self._watched = watched
        settings = self.listener.settings
        try:
            await self.listener.listen()
        except OSError as exc:
            text = exc.strerror if isinstance(exc, ListenError) else str(exc)
            if self._required:
                raise ListenError(exc.errno, f"{text} (the admin endpoint)".replace("--port", "--admin-port")) from None
            logger.warning("No admin endpoint: port %d is taken; choose another with --admin-port", settings.port)

    def show_queues(self, look: Callable[[], Mapping[str, int]]) -> None:
        """Show on the metrics' page how many connections wait to be accepted, by worker."""
        if self._exposition is not None:
            from tiny_listener_metrics import AcceptQueues  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(AcceptQueues(look))

    def show_reloads(self, rollout: Rollout) -> None:
        """Show on the metrics' page what became of reloads."""
        if self._exposition is not None:
            from tiny_listener_metrics import ReloadCounts, Reloads  # noqa: PLC0415 - only where there are metrics

            def look() -> ReloadCounts:
                last = rollout.last
                failed = last is not None and last.state == "failed"
                return ReloadCounts(rollout.done, rollout.failed, failed, last.exit_code if last is not None else 0)

            self._exposition.registry.register(Reloads(look))

    def show_processes(self, look: Callable[[], ServerView]) -> None:
        """Show on the metrics' page what the processes do."""
        if self._exposition is not None:
            from tiny_listener_metrics import Processes  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(Processes(look))

    def warm_up(self) -> None:
        """Render the metrics once: the first time takes long where there are many routes, and a scrape has a limit."""
        if self._exposition is not None:
            self._exposition.render(None)

    def stop(self) -> None:
        """Close it."""
        self.listener.close()

    async def metrics(self, request: Request) -> Response:
        """Render all metrics of all workers, as text or OpenMetrics by the Accept header, in gzip if that is taken."""
        if self._exposition is None:
            return Response("Metrics are off (--no-metrics)\n", 404)
        body, content_type = self._exposition.render(request.header("accept"))
        from tiny_listener_metrics.exposition import accepts_gzip, compressed  # noqa: PLC0415 - there are metrics

        headers = {"vary": "accept, accept-encoding"}
        if accepts_gzip(request.header("accept-encoding") or ""):
            body, headers["content-encoding"] = compressed(body), "gzip"
        return Response(body, headers=headers, content_type=content_type)

    async def livez(self) -> str:
        """Answer: that is all it takes to be alive."""
        return "ok\n"

    async def readyz(self) -> Response:
        """Say whether every worker takes events in: 200 or 503."""
        ready = self._watched is not None and self._watched.is_ready
        return Response("ready\n") if ready else Response("not ready\n", 503)

    async def status(self) -> Status:
        """Tell of every process, as `tiny-listenerctl status --json` does."""
        assert self._watched is not None
        return self._watched.status()
