"""Webhooks: nothing for a while, and then many at once, each signed; some with a wrong secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import time

from locust import FastHttpUser, between, task

from .checking import expect

__all__ = ["Sender"]

SECRET = b"a secret that the sender of webhooks knows"


class Sender(FastHttpUser):
    """Sends a burst, and rests."""

    weight = 2
    wait_time = between(0.5, 1.5)

    @task
    def burst(self) -> None:
        """Send 5 to 30 webhooks, as fast as they are taken."""
        for _ in range(random.randint(5, 30)):
            self._send(forged=random.random() < 0.02)

    def _send(self, *, forged: bool) -> None:
        data = "x" * random.randrange(2000)
        body = json.dumps({"id": random.getrandbits(64), "at": time.time(), "data": data}).encode()
        signature = hmac.digest(b"a guess" if forged else SECRET, body, hashlib.sha256).hex()
        expected = 401 if forged else 202
        with self.client.post(
            "/webhooks/shop",
            data=body,
            headers={"x-signature": signature, "content-type": "application/json"},
            name=f"webhooks POST /webhooks/{{sender}} ({expected})",
            catch_response=True,
        ) as response:
            expect(response, expected)
