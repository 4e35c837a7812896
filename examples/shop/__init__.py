"""A shop: orders, webhooks of a bank, a feed for its clerks. Everything that a real service has, in little.

Run it:  tiny-listener shop:app     and open http://127.0.0.1:8000/docs
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tiny_listener.http import CORS, Compress, Group, HTTPListener, Request, RequestID, Response

from .access import access
from .feed import feed, news
from .orders import orders
from .settings import Settings
from .storage import Database
from .webhooks import webhooks


def create_app(settings: Settings | None = None) -> HTTPListener:
    """Put the parts together."""
    settings = settings or Settings()
    app = HTTPListener(max_body=100_000)
    app.state.settings = settings
    app.use(RequestID())
    app.use(CORS(settings.origin, methods=["GET", "POST", "PUT"], headers=["content-type", "authorization"]))
    app.use(Compress())
    app.openapi(title="Shop", version="1.0.0", description="Orders, payments and a feed. Money is in cents.")
    app.static("/assets", Path(__file__).parent / "public", cache_control="max-age=60")

    @app.lifespan
    async def database() -> AsyncIterator[dict[str, Any]]:
        yield {"database": Database(), "readers": set()}

    @app.on_status(404)
    async def not_found(request: Request | None, response: Response) -> Response | None:
        if request is None or "text/html" not in (request.header("accept") or ""):
            return None
        return Response(
            "<!doctype html><title>Shop</title><p>There is no such page.", content_type="text/html; charset=utf-8"
        )

    api = Group(prefix="/api")
    for part in (access, orders, webhooks, feed):
        api.include(part)
    app.include(api)
    app.include(news)
    return app


app = create_app()
