"""The admin endpoint: what the processes measured, whether they live and are ready, and a page that shows it."""

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
    from tiny_listener_metrics import Exposition, ServerView

    from tiny_listener import Listener

    from ..fleet.reload_status import Rollout
    from .status import Status

__all__ = ["Admin", "Watched"]

logger = logging.getLogger("tiny_listener.admin")

FOR_ALL = frozenset({"GET:/livez", "GET:/readyz"})
"""Routes that need no token: what probes a server has seldom a place for secrets, and learns one bit."""
PRIVATE = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Fields of responses that are nobody else's business: no cache keeps them, and no other site's page may embed them."""
GZIP = {"content-encoding": "gzip"}


class Watched(Protocol):
    """Whose state the endpoint tells."""

    @property
    def is_ready(self) -> bool:
        """Whether events are taken in."""

    def status(self) -> Status:
        """Return what there is to know of its processes."""


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
    """The admin endpoint, in the loop of the supervisor, or of the only process.

    :param exposition: renders the metrics; None without metrics
    :param host: where to listen
    :param port: 0 for one of the system's choice
    :param required: whether a port that cannot be had is an error; otherwise it is a warning
    :param token: what a client has to show; None: nothing
    :param allowed_hosts: names by which it may be asked, beside addresses, `localhost` and `host`
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
        self.listener.get("/{_:path}")(self.nothing)  # who is not let in does not learn what there is
        self.listener.get("/")(self.page)
        self.listener.get("/overview.json")(self.overview)
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
        self._look = look
        if self._exposition is not None:
            from tiny_listener_metrics import Processes  # noqa: PLC0415 - only where there are metrics

            self._exposition.registry.register(Processes(look))

    def warm_up(self) -> None:
        """Make the page of metrics once, beside all else that the event loop does.

        The first time takes long where there are many routes, and a scrape has a limit.
        """
        if self._scrapes is not None:
            self._warming_up = asyncio.ensure_future(self._scrapes.page(None, gzip=False))

    def stop(self) -> None:
        """Close it."""
        if self._warming_up is not None:
            self._warming_up.cancel()
        self.listener.close()

    async def metrics(self, request: Request) -> Response:
        """Render all metrics of all workers, as text or OpenMetrics by the Accept header, in gzip if that is taken."""
        if self._scrapes is None:
            return Response("Metrics are off (--no-metrics)\n", 404)
        gzip = _takes_gzip(request)
        try:
            body, content_type = await self._scrapes.page(
                request.header("accept"), gzip=gzip, is_gone=request.is_disconnected
            )
        except ClientDisconnectedError:
            return Response(status=499)
        fields = {**PRIVATE, "vary": "accept, accept-encoding", **(GZIP if gzip else {})}
        return Response(body, headers=fields, content_type=content_type)

    async def page(self) -> Response:
        """Show all this to people."""
        body, headers = page()
        return Response(body, headers={**PRIVATE, **headers}, content_type="text/html; charset=utf-8")

    async def overview(self, request: Request) -> Response:
        """Tell what the page shows; see `Overview`."""
        assert self._watched is not None
        shown = None
        if self._scrapes is not None and self._look is not None:
            shown = measured(await self._scrapes.counts(), self._look)
        body = json_bytes(Overview(self._instance, time.monotonic(), self._watched.status(), shown))
        if self._scrapes is None or shown is None:
            return Response(body, headers=PRIVATE, content_type="application/json")
        gzip = _takes_gzip(request)
        if gzip:
            body = await self._scrapes.compressed(body)
        fields = {**PRIVATE, "vary": "accept-encoding", **(GZIP if gzip else {})}
        return Response(body, headers=fields, content_type="application/json")

    async def check_host(self, request: Request) -> None:
        """Let in who asks by a name of this endpoint's.

        :raises HTTPError: 421 (RFC 9110 section 15.5.20)
        """
        if not self._hosts.allows(request.header("host")):
            raise HTTPError(421, WRONG_HOST)

    async def check(self, event: Event[Any], request: Request) -> None:
        """Let in who has the token, before anything is done.

        :raises HTTPError: 401
        """
        assert self._token is not None
        if event.route.path not in FOR_ALL and not is_allowed(request.header("authorization"), self._token):
            raise HTTPError(401, "the admin token is wanted", challenges(request.header("sec-fetch-dest")))

    async def nothing(self) -> Response:
        """Say that there is nothing, to who may know."""
        return Response("Page Not Found\n", 404)

    async def livez(self) -> str:
        """Answer: that is all it takes to be alive."""
        return "ok\n"

    async def readyz(self) -> Response:
        """Say whether every worker takes events in: 200 or 503."""
        ready = self._watched is not None and self._watched.is_ready
        return Response("ready\n") if ready else Response("not ready\n", 503)

    async def status(self) -> Response:
        """Tell of every process, as `tiny-listenerctl status --json` does."""
        assert self._watched is not None
        return Response(json_bytes(self._watched.status()), headers=PRIVATE, content_type="application/json")


def _takes_gzip(request: Request) -> bool:
    from tiny_listener_metrics.exposition import accepts_gzip  # noqa: PLC0415 - there are metrics

    return accepts_gzip(request.header("accept-encoding") or "")
