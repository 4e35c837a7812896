"""The admin endpoint: metrics, liveness and readiness of the processes, and a status page."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tiny_listener import Event
from tiny_listener.http import ClientDisconnectedError, HTTPError, HTTPListener, HTTPSource, Request, Response
from tiny_listener.http.response import json_bytes
from tiny_listener.net.addresses import ListenError

from .access import challenges, is_allowed
from .crowd import CROWD_SETTINGS, AdminServer, deepen_queue
from .hosts import WRONG_HOST, AllowedHosts
from .overview import Overview, measured
from .page import page
from .scrapes import Scrapes

if TYPE_CHECKING:
    from tiny_listener_metrics import Exposition, PublishedView, ServerView

    from tiny_listener import Listener

    from ..fleet.reload_status import Rollout
    from .status import Status

__all__ = ["Admin", "Watched"]

logger = logging.getLogger("tiny_listener.admin")

FOR_ALL = frozenset({"GET:/livez", "GET:/readyz"})
"""Routes without a token: probes rarely have a place for secrets, and they reveal one bit."""
PRIVATE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Fields of confidential responses: they are not cached, and pages of other sites cannot embed them."""
GZIP = {"content-encoding": "gzip"}


class Watched(Protocol):
    """The server that the endpoint reports on."""

    @property
    def is_ready(self) -> bool:
        """Whether events are accepted."""

    def status(self) -> Status:
        """Return the status of its processes."""

    async def refresh(self) -> None:
        """Bring what `status` and metrics show of published events up to date, unless that takes long."""


class _AdminSource(HTTPSource):
    name = "admin"
    title = "Admin endpoint"
    server_class = AdminServer

    async def open(self, listener: Listener[Any]) -> None:
        await super().open(listener)
        server: Any = self.listening
        deepen_queue(server.sockets)


class _AdminListener(HTTPListener):
    source_class = _AdminSource


class Admin:
    """The admin endpoint, in the loop of the supervisor or of the single process.

    :param exposition: renders the metrics; None: no metrics
    :param host: the host to listen on
    :param port: the port to listen on; 0: chosen by the system
    :param required: whether an unavailable port is an error; otherwise it is a warning
    :param token: the token that clients have to present; None: no token
    :param allowed_hosts: host names that requests may use, in addition to addresses, `localhost` and `host`
    """

    def __init__(
        self,
        exposition: Exposition | None,
        host: str,
        port: int,
        *,
        required: bool,
        token: str | None = None,
        allowed_hosts: Iterable[str] = (),
    ) -> None:
        self.listener = _AdminListener(CROWD_SETTINGS, host=host, port=port)
        self._exposition = exposition
        self._scrapes = Scrapes(exposition) if exposition is not None else None
        self._warming_up: asyncio.Task[object] | None = None
        self._required = required
        self._token = token.encode() if token is not None else None
        self._instance = secrets.token_hex(8)
        self._watched: Watched | None = None
        self._look: Callable[[], ServerView] | None = None
        self._hosts = AllowedHosts((*allowed_hosts, host.lower()))
        self.listener.before_event(self.check_host)
        if self._token is not None:
            self.listener.before_event(self.check)
        self.listener.get("/{_:path}")(self.nothing)  # without the token, a client does not learn which paths exist
        self.listener.get("/")(self.page)
        self.listener.get("/overview.json")(self.overview)
        self.listener.get("/metrics")(self.metrics)
        self.listener.get("/livez")(self.livez)
        self.listener.get("/readyz")(self.readyz)
        self.listener.get("/status.json")(self.status)

    async def start(self, watched: Watched) -> None:
        """Listen.

        :raises ListenError: the port is not available, and was required
        """
        self._watched = watched
        settings = self.listener.settings
        try:
            await self.listener.listen()
        except OSError as exc:
            text = exc.strerror if isinstance(exc, ListenError) else str(exc)
            if self._required:
                raise ListenError(exc.errno, f"{text} (the admin endpoint)".replace("--port", "--admin-port")) from None
            logger.warning("No admin endpoint: port %d is in use; choose another with --admin-port", settings.port)

    def show_queues(self, look: Callable[[], Mapping[str, int]]) -> None:
        """Add the accept queue depth of each worker to the metrics."""
        if self._exposition is not None:
            from tiny_listener_metrics import AcceptQueues  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(AcceptQueues(look))

    def show_reloads(self, rollout: Rollout) -> None:
        """Add the outcome of reloads to the metrics."""
        if self._exposition is not None:
            from tiny_listener_metrics import ReloadCounts, Reloads  # noqa: PLC0415 - only where there are metrics

            def look() -> ReloadCounts:
                last = rollout.last
                failed = last is not None and last.state == "failed"
                return ReloadCounts(rollout.done, rollout.failed, failed, last.exit_code if last is not None else 0)

            self._exposition.registry.register(Reloads(look))

    def show_processes(self, look: Callable[[], ServerView]) -> None:
        """Add process metrics."""
        self._look = look
        if self._exposition is not None:
            from tiny_listener_metrics import Processes  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(Processes(look))

    def show_published(self, look: Callable[[], PublishedView | None]) -> None:
        """Add published events to the metrics.

        :param look: see `PublishedEvents`; `Watched.refresh` brings it up to date before a scrape
        """
        if self._exposition is not None:
            from tiny_listener_metrics import PublishedEvents  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(PublishedEvents(look))

    def warm_up(self) -> None:
        """Render the metrics once in the background.

        The first time takes long if there are many routes, and a scrape has a timeout.
        """
        if self._scrapes is not None:
            self._warming_up = asyncio.ensure_future(self._scrapes.page(None, gzip=False))

    def stop(self) -> None:
        """Close the endpoint."""
        if self._warming_up is not None:
            self._warming_up.cancel()
        self.listener.close()

    async def metrics(self, request: Request) -> Response:
        """Render the metrics of all workers, as text or OpenMetrics by the Accept header, in gzip if the client accepts
        it.
        """
        if self._scrapes is None:
            return Response("Metrics are off (--no-metrics)\n", 404)
        gzip = _takes_gzip(request)
        if self._watched is not None:
            await self._watched.refresh()
        try:
            body, content_type = await self._scrapes.page(
                request.header("accept"), gzip=gzip, is_gone=request.is_disconnected
            )
        except ClientDisconnectedError:
            return Response(status=499)
        fields = {**PRIVATE, "vary": "accept, accept-encoding", **(GZIP if gzip else {})}
        return Response(body, headers=fields, content_type=content_type)

    async def page(self) -> Response:
        """Serve the status page."""
        body, headers = page()
        return Response(body, headers={**PRIVATE, **headers}, content_type="text/html; charset=utf-8")

    async def overview(self, request: Request) -> Response:
        """Return the data of the status page; see `Overview`."""
        assert self._watched is not None
        shown = None
        if self._scrapes is not None and self._look is not None:
            shown = measured(await self._scrapes.counts(), self._look)
        await self._watched.refresh()
        body = json_bytes(Overview(self._instance, time.monotonic(), self._watched.status(), shown))
        if self._scrapes is None or shown is None:
            return Response(body, headers=PRIVATE, content_type="application/json")
        gzip = _takes_gzip(request)
        if gzip:
            body = await self._scrapes.compressed(body)
        fields = {**PRIVATE, "vary": "accept-encoding", **(GZIP if gzip else {})}
        return Response(body, headers=fields, content_type="application/json")

    async def check_host(self, request: Request) -> None:
        """Accept only requests for a host name of this endpoint.

        :raises HTTPError: 421 (RFC 9110 section 15.5.20)
        """
        if not self._hosts.allows(request.header("host")):
            raise HTTPError(421, WRONG_HOST)

    async def check(self, event: Event[Any], request: Request) -> None:
        """Accept only requests with the token, before anything else is done.

        :raises HTTPError: 401
        """
        assert self._token is not None
        if event.route.path not in FOR_ALL and not is_allowed(request.header("authorization"), self._token):
            raise HTTPError(401, "the admin token is required", challenges(request.header("sec-fetch-dest")))

    async def nothing(self) -> Response:
        """Respond 404 to an authorized client."""
        return Response("Page Not Found\n", 404)

    async def livez(self) -> str:
        """Respond: a response is proof enough of being alive."""
        return "ok\n"

    async def readyz(self) -> Response:
        """Return whether every worker accepts events: 200 or 503."""
        ready = self._watched is not None and self._watched.is_ready
        return Response("ready\n") if ready else Response("not ready\n", 503)

    async def status(self) -> Response:
        """Return the status of every process, as `tiny-listenerctl status --json` does."""
        assert self._watched is not None
        await self._watched.refresh()
        return Response(json_bytes(self._watched.status()), headers=PRIVATE, content_type="application/json")


def _takes_gzip(request: Request) -> bool:
    from tiny_listener_metrics.exposition import accepts_gzip  # noqa: PLC0415 - there are metrics

    return accepts_gzip(request.header("accept-encoding") or "")
