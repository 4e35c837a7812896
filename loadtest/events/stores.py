"""The stores of events_chaos.py: what servers are given, what can go wrong with it, and whether it is empty."""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from processes import free_port

from .nats_servers import NatsServer, NoAnswer, Setup, running

__all__ = ["Disk", "Nats"]

DISK = "64m"
FULL = 1.5
"""Seconds that the disk is full."""
DOWN = 2.0
"""Seconds that a NATS server is down, at most."""
APP = "chaos"
RECOVERY = 120.0
"""Seconds for the servers of a cluster to have the same again."""


class Disk:
    """SQLite, or memory.

    :ivar machines: the options of the store, for each server
    :ivar faults: further faults, by how frequent they are
    """

    def __init__(self, options: Any, folder: Path) -> None:
        self._options = options
        self._folder = folder / "store"
        store = ["--events", "memory"]
        if options.store != "memory":
            store = ["--events", f"sqlite:{self._folder}"]
            store += ["--events-sync", "full" if options.store == "full" else "normal"]
        self.machines = [store]
        self.faults = {"full_disk": 10} if options.small_disk else {}

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Mount the small file system, if it was asked for, while the block runs."""
        if not self._options.small_disk:
            yield
            return
        self._folder.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self._folder)], check=True)
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(self._folder)], check=True)

    def full_disk(self) -> bool:
        """Fill the file system of the store, and make room again."""
        ballast = self._folder / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 65536)
        time.sleep(FULL)
        ballast.unlink()
        return True

    def is_empty(self) -> bool:
        """Whether it has no event; the carrier knows."""
        return True

    def left(self) -> str:
        """Return what it has, for a message."""
        return ""


class Nats:
    """A NATS server that two machines share, or a cluster of three.

    :ivar machines: see `Disk`
    :ivar faults: see `Disk`
    """

    def __init__(self, options: Any, folder: Path, chance: random.Random) -> None:
        self._folder = folder / "nats"
        self._setup = Setup(binary=options.nats_server)
        self._ports = [free_port() for _ in range(1 if options.nodes == 1 else 2 * options.nodes)]
        self._chance = chance
        self._servers: list[NatsServer] = []
        urls = ",".join(f"nats://127.0.0.1:{port}" for port in self._ports[: options.nodes])
        store = ["--events", urls, "--events-app", APP, "--events-replicas", str(options.nodes)]
        self.machines = [[*store, "--events-host", name] for name in ("east", "west")]
        self.faults = {} if options.keep_nats else {"nats": 8}

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Run the servers while the block runs."""
        with running(self._folder, self._ports, self._setup) as self._servers:
            yield

    def nats(self) -> bool:
        """Kill a server of NATS, and start it again. In a cluster it is the leader of the stream, or another one."""
        server = self._chance.choice(self._servers)
        server.kill()
        time.sleep(self._chance.uniform(0, DOWN))
        server.start()
        deadline = time.monotonic() + RECOVERY
        while not self._is_whole():
            if time.monotonic() > deadline:
                raise RuntimeError("the servers of NATS do not have the same again")
            time.sleep(0.1)
        return True

    def _is_whole(self) -> bool:
        """Whether all replicas are there: a cluster of three survives the loss of one."""
        try:
            found = self._servers[0].api(f"STREAM.INFO.TL_{APP}").get("cluster") or {}
        except NoAnswer:
            return False
        replicas = found.get("replicas", ())
        return all(one.get("current") and not one.get("offline") for one in replicas)

    def is_empty(self) -> bool:
        """Whether the stream has no event."""
        with contextlib.suppress(NoAnswer):
            return bool(self._servers[0].api(f"STREAM.INFO.TL_{APP}")["state"]["messages"] == 0)
        return False

    def left(self) -> str:
        """Return which subjects of the stream have events, and the consumers of these, for a message."""
        try:
            api = self._servers[0].api
            asked = {"subjects_filter": ">"}
            subjects = api(f"STREAM.INFO.TL_{APP}", asked)["state"].get("subjects") or {}
            partitions = {subject.split(".")[2] for subject in subjects}
            names = api(f"CONSUMER.NAMES.TL_{APP}").get("consumers") or []
            lines = [f"{subjects}, {len(names)} consumers"]
            for name in names:
                if name.partition("_")[0] in partitions:
                    found = api(f"CONSUMER.INFO.TL_{APP}.{name}")
                    counts = {key: found.get(key) for key in ("num_pending", "num_ack_pending", "num_waiting")}
                    lines.append(f"{name}: {counts}, delivered {found.get('delivered')}")
        except NoAnswer as exc:
            return str(exc)
        return "\n".join(lines)
