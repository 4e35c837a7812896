"""Send requests to an application in process, without a socket, through the real connection, server and router.

`TestClient` is for synchronous tests, `httpx_transport` for tests that run in an event loop.
"""

from .client import TestClient, httpx_transport
from .in_memory import TestResponse

__all__ = ["TestClient", "TestResponse", "httpx_transport"]
