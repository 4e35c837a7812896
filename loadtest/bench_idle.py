"""What an idle keep-alive connection costs a server in memory.

    python loadtest/bench_idle.py [CONNECTIONS]

Opens connections (10,000 unless told), each of which asks once and then stays, and prints by how much the resident
set of the server grew for each of them; exit code 1 when ours takes more than 4 KiB. The kernel's own memory for a
socket is not in it.
"""

from __future__ import annotations

import resource
import socket
import sys

from arguments import MAX_CLIENTS, Arguments, Number
from bench_http import FLOOR, OURS, commands
from environment import bench_python
from processes import free_port, resident_bytes, running

SERVERS = (FLOOR, OURS, "uvicorn", "granian")
MOST = 4.0
"""KiB."""
REQUEST = b"GET /user/Bob HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def ask(client: socket.socket) -> None:
    """Ask once, and read the whole answer."""
    client.sendall(REQUEST)
    answer = b""
    while b"Hello, Bob!" not in answer:
        piece = client.recv(4096)
        if not piece:
            raise RuntimeError(f"the server closed after {answer!r}")
        answer += piece


def measure(command: list[str], port: int, connections: int) -> float:
    """Return KiB of the server for each connection."""
    clients: list[socket.socket] = []
    with running(command, port) as process:
        try:
            for number in range(connections + 100):
                if number == 100:  # what the first ones cost is the server's own
                    before = resident_bytes(process.pid)
                clients.append(socket.create_connection(("127.0.0.1", port), 10))
                ask(clients[-1])
            return (resident_bytes(process.pid) - before) / connections / 1024
        finally:
            for client in clients:
                client.close()


def main() -> int:
    """Measure, print, and judge."""
    parser = Arguments(__doc__)
    parser.add_argument("connections", nargs="?", type=Number(1, MAX_CLIENTS), default=10_000)
    connections = parser.parse_args().connections
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = connections + 1000
    if hard != resource.RLIM_INFINITY and hard < need:
        print(f"{need} open files are needed, and no more than {hard} are allowed: ulimit -n")
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, need), hard))  # the servers inherit it
    python = bench_python()
    print(f"{connections:,} idle connections:")
    kib = {}
    for name in SERVERS:
        port = free_port()
        command = commands(python, port, free_port())[name]
        if name == "granian":  # by default it serves no more than about a thousand connections
            command += ["--backpressure", str(need)]
        kib[name] = measure(command, port, connections)
        print(f"{name:15}{kib[name]:6.2f} KiB each")
    if kib[OURS] > MOST:
        print(f"{OURS} takes more than {MOST:g} KiB: MISSED")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
