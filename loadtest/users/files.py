"""Large bodies, in both directions."""

from __future__ import annotations

import os
import random
import zlib

from locust import FastHttpUser, between, task

from .checking import expect

__all__ = ["Uploader"]

FILE = b"x" * 1024 * 1024
DATA = os.urandom(2 * 1024 * 1024)


class Uploader(FastHttpUser):
    """Sends and fetches megabytes."""

    weight = 1
    wait_time = between(0.2, 0.8)

    @task
    def upload(self) -> None:
        """Send up to 2 MiB, and compare the checksum."""
        body = DATA[: random.randrange(len(DATA) // 8, len(DATA))]
        with self.client.post("/upload", data=body, name="files POST /upload", catch_response=True) as response:
            expect(response, 200, f"{len(body)} {zlib.crc32(body)}")

    @task
    def download(self) -> None:
        """Fetch a file of 1 MiB."""
        with self.client.get("/file", name="files /file", catch_response=True) as response:
            expect(response, 200, FILE)
