"""The shop of the examples, in process and as a whole."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import signal
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from examples.shop import create_app
from examples.shop.access import User, user
from examples.shop.models import Order, Role
from examples.shop.settings import Settings
from examples.shop.storage import Database, Session, session
from tests.server import ROOT, serving
from tests.waiting import wait_for
from tiny_listener.http.testing import TestClient

ANN, BOB = {"authorization": "Bearer ann-token"}, {"authorization": "Bearer bob-token"}
TEA = {"lines": [{"sku": "tea", "count": 2}]}


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(create_app(Settings(webhook_secret="s"))) as client:
        yield client


def pay(client: TestClient, body: bytes, *, secret: bytes = b"s", delivery: str = "", kind: str = "json") -> int:
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    headers = {"x-signature": signature, "content-type": f"application/{kind}"}
    return client.post(f"/api/webhooks/north/{delivery or uuid.uuid4()}", content=body, headers=headers).status_code


def test_an_order_from_its_placing_to_its_shipment(client: TestClient, capfd: pytest.CaptureFixture[str]) -> None:
    placed = client.post("/api/orders", json=TEA, headers=ANN)
    assert (placed.status_code, placed.json()["total"]) == (201, 700)
    assert placed.headers["location"] == "/api/orders/1"
    assert client.post("/api/orders/1/shipment", headers=BOB).status_code == 409
    delivery = str(uuid.uuid4())
    assert pay(client, b'{"order": 1, "amount": 700}', delivery=delivery) == 204
    assert pay(client, b'{"order": 1, "amount": 700}', delivery=delivery) == 204
    assert pay(client, b'{"order": 1, "amount": 700}') == 409
    assert client.post("/api/orders/1/shipment", headers=BOB).json()["state"] == "shipped"
    assert capfd.readouterr().out == "bill 1\n"


@pytest.mark.parametrize("body", [b'{"order": 1, "amount": 700}', b"\xff is not even JSON", b""])
def test_what_is_not_signed_is_not_decoded(client: TestClient, body: bytes) -> None:
    assert pay(client, body, secret=b"another") == 401
    assert client.post(f"/api/webhooks/north/{uuid.uuid4()}", content=body).status_code == 401


def test_what_is_signed_is_checked(client: TestClient) -> None:
    assert pay(client, b"{") == 400
    assert pay(client, b"{}", kind="xml") == 415
    assert pay(client, b'{"order": 0, "amount": 1}') == 422
    assert pay(client, b"{}", delivery="none") == 404


@pytest.mark.parametrize(
    ("order", "path"),
    [
        ({"lines": []}, "$.lines"),
        ({"lines": [{"sku": "tea", "count": 0}]}, "$.lines[0].count"),
        ({"lines": [{"sku": "tea"}], "not": "known"}, ""),
    ],
)
def test_an_order_that_does_not_fit(client: TestClient, order: object, path: str) -> None:
    refused = client.post("/api/orders", json=order, headers=ANN)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, path)


def test_who_may_do_what(client: TestClient) -> None:
    nobody = client.post("/api/orders", content=b"{")
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    client.post("/api/orders", json=TEA, headers=BOB)
    assert client.get("/api/orders/1", headers=ANN).status_code == 403
    assert client.post("/api/orders/1/shipment", headers=ANN).status_code == 403
    assert client.get("/api/orders/1", headers=BOB).status_code == 200
    assert client.get("/api/orders/2", headers=BOB).text == "there is no such order"


def test_a_login_keeps_the_token_in_a_cookie(client: TestClient) -> None:
    assert client.get("/api/me").status_code == 401
    assert client.post("/api/login", headers=ANN).status_code == 204
    assert client.get("/api/me").json() == {"name": "ann", "role": "customer"}


def test_a_key_makes_one_order_of_two_requests(client: TestClient) -> None:
    sent = [client.post("/api/orders", json=TEA, headers={**ANN, "idempotency-key": "k"}).json() for _ in range(2)]
    assert sent[0] == sent[1]
    assert len(client.get("/api/orders", headers=ANN).json()) == 1


def test_orders_by_state(client: TestClient) -> None:
    for _ in range(3):
        client.post("/api/orders", json=TEA, headers=ANN)
    pay(client, b'{"order": 2, "amount": 700}')
    both = client.get("/api/orders?state=paid&state=shipped", headers=ANN).json()
    assert [order["number"] for order in both] == [2]
    assert len(client.get("/api/orders?limit=2", headers=ANN).json()) == 2
    assert client.get("/api/orders?state=lost&limit=0", headers=ANN).status_code == 422


def test_an_address(client: TestClient) -> None:
    client.post("/api/orders", json=TEA, headers=ANN)
    home = {"name": "Ann", "street": "Long Street 1", "postcode": "3000"}
    sent = client.put("/api/orders/1/address", json=home, headers=ANN)
    assert sent.json()["address"] == "Ann, Long Street 1, CH-3000"
    assert client.put("/api/orders/1/address", json={**home, "postcode": "x"}, headers=ANN).status_code == 422


def test_another_user_and_another_session() -> None:
    kept: list[str] = []

    async def carl() -> User:
        return User("carl", Role.CLERK)

    async def watched() -> AsyncIterator[Session]:
        try:
            yield Session(Database({7: Order(7, "ann", [], 0)}))
            kept.append("committed")
        except Exception:
            kept.append("rolled back")
            raise

    app = create_app()
    with TestClient(app) as client, app.override(user, carl), app.override(session, watched):
        assert client.get("/api/me").json()["name"] == "carl"
        assert client.get("/api/orders/7").json()["customer"] == "ann"
        assert client.post("/api/orders/7/shipment").status_code == 409
    assert kept == ["committed", "rolled back"]


def test_what_browsers_need(client: TestClient) -> None:
    page = client.get("/nothing", headers={"accept": "text/html", "x-request-id": "a1"})
    assert (page.status_code, "no such page" in page.text, page.headers["x-request-id"]) == (404, True, "a1")
    assert client.get("/nothing").text == "Page Not Found\n"
    asked = client.get("/api/me", headers={**ANN, "origin": "https://shop.example"})
    assert asked.headers["access-control-allow-origin"] == "https://shop.example"
    assert "<h1>Shop</h1>" in client.get("/assets/").text
    packed = client.get("/openapi.json", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"


@pytest.mark.e2e
@pytest.mark.timeout(60)
def test_the_feed_ends_in_a_drain() -> None:
    with serving("shop:app", cwd=ROOT / "examples") as server:
        feed = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        feed.request("GET", "/api/feed", headers=BOB)
        followed = feed.getresponse()
        assert followed.readline() == b"hello\n"
        shop = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        shop.request("POST", "/api/orders", b'{"lines": [{"sku": "cup"}]}', {**ANN, "content-type": "application/json"})
        assert shop.getresponse().status == 201
        assert followed.readline() == b"order 1: 1200 cents\n"
        wait_for(lambda: "bill 1\n" in server.log)
        server.process.send_signal(signal.SIGTERM)
        assert followed.read() == b""  # its last chunk: nothing was cut off
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log
        shop.close()
        feed.close()
