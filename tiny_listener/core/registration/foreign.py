"""What to write instead of the names that other frameworks have: a message where such a name is looked up."""

from __future__ import annotations

from typing import Final, NoReturn

__all__ = ["INSTEAD", "Foreign", "instead_of", "refuse_import"]

INSTEAD: Final[dict[str, dict[str, str]]] = {
    "setting": {
        "title": "app.openapi(title=...)",
        "version": "app.openapi(version=...)",
        "description": "app.openapi(description=...)",
        "lifespan": "@app.lifespan before the function",
        "dependencies": "Group(dependencies=[Depends(fn)]), or @app.before_event",
        "debug": "tiny-listener --reload, and read the log",
        "routes": "@app.get(...), or app.include(group)",
    },
    "attribute": {
        "middleware": "@app.before_event, @app.after_event or @app.on_response",
        "add_middleware": "app.use(CORS(...)), or @app.on_response",
        "exception_handler": "@app.on_error(ValueError), or @app.on_status(404)",
        "add_exception_handler": "@app.on_error(ValueError), or @app.on_status(404)",
        "errorhandler": "@app.on_error(ValueError), or @app.on_status(404)",
        "include_router": "app.include(group)",
        "register_blueprint": "app.include(group)",
        "api_route": '@app.get("/path"), or @app.route("GET", "/path")',
        "mount": 'app.static("/assets", "folder")',
        "before_request": "@app.before_event",
        "after_request": "@app.on_response",
        "teardown_request": "a dependency that yields",
        "dependency_overrides": "with app.override(fn, other):",
        "test_client": "TestClient(app)",
        "websocket": "a stream; there are no WebSockets",
        "config": "app.state",
    },
    "name": {
        "FastAPI": "HTTPListener",
        "Flask": "HTTPListener",
        "APIRouter": "Group",
        "Blueprint": "Group",
        "HTTPException": "HTTPError",
        "abort": "raise HTTPError(404)",
        "jsonify": "return the dict",
        "JSONResponse": "Response, or return the dict",
        "HTMLResponse": 'Response(body, content_type="text/html; charset=utf-8")',
        "PlainTextResponse": "Response, or return the text",
        "RedirectResponse": "redirect",
        "BackgroundTasks": "app.trigger_event(...)",
        "StaticFiles": 'app.static("/assets", "folder")',
        "CORSMiddleware": "CORS",
        "GZipMiddleware": "Compress",
        "RequestValidationError": "InvalidRequest",
        "UploadFile": "await request.form()",
        "File": "await request.form()",
        "Path": "an argument with the name that the pattern has",
        "Security": "Depends, from tiny_listener",
        "Depends": "Depends, from tiny_listener",
        "Event": "Event, from tiny_listener",
        "TestClient": "TestClient, from tiny_listener.http.testing",
        "WebSocket": "a stream; there are no WebSockets",
    },
    "attribute of a request": {
        "args": "request.query",
        "query_params": "request.query",
        "path_params": "an argument with the name that the pattern has, or event.params",
        "state": "event.ctx.scope, with event: Event",
        "app": "event.listener, with event: Event",
        "data": "await request.body()",
        "get_json": "await request.json()",
        "files": "await request.form()",
    },
}
"""By what is looked up where."""


class Foreign:
    """An attribute of a request that only others have: as if it were not there, but for the message.

    :param name: of the attribute
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        hint = instead_of("attribute of a request", self._name)
        raise AttributeError(f"a Request has no attribute {self._name!r}{hint}", name=self._name, obj=instance)


def instead_of(kind: str, name: str) -> str:
    """Return the end of a message: what to write instead of a name, or nothing."""
    right = INSTEAD[kind].get(name)
    return f": write {right}" if right else ""


def refuse_import(module: str, name: str) -> None:
    """Say what to import instead of a name that a module does not have.

    :raises ImportError: others call it so; any other name is a plain AttributeError, as for every module
    """
    if name in INSTEAD["name"]:  # not an AttributeError, of which `from module import name` would keep nothing
        raise ImportError(f"cannot import name {name!r} from {module!r}{instead_of('name', name)}", name=name)
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
