"""Ask an application in process, without a socket: the same connection, server and router, over memory.

`TestClient` is for plain tests; `httpx_transport` is for those that run in a loop of their own.
"""

from .client import TestClient, httpx_transport
from .in_memory import TestResponse

__all__ = ["TestClient", "TestResponse", "httpx_transport"]
