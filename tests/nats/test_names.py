"""Names, and what they say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_listener.nats.names import Names, Owned, Position, host_token, owner_of, position_of

NAMES = Names("shop")
TOKEN = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@given(st.integers(0, 4095), st.integers(1, 2**70), st.text(min_size=1, max_size=64))
def test_the_name_of_a_consumer_says_whose_it_is(partition: int, epoch: int, host: str) -> None:
    name = NAMES.consumer(partition, f"{epoch:x}", host_token(host))
    assert set(name) <= TOKEN
    assert NAMES.owned(name) == Owned(partition, f"{epoch:x}", host_token(host))


@pytest.mark.parametrize("name", ["", "k1", "due", "k1_e_h_x", "K1_e_h", "k_1_h"])
def test_other_consumers_are_none_of_ours(name: str) -> None:
    assert NAMES.owned(name) is None


@given(st.text(), st.text())
def test_hosts_have_different_tokens(one: str, other: str) -> None:
    assert (host_token(one) == host_token(other)) == (one == other)


@given(st.text(max_size=300))
def test_a_subject_has_tokens_that_any_server_takes(route: str) -> None:
    subject = NAMES.subject(3, route)
    first, app, partition, token = subject.split(".")
    assert (first, app, partition) == ("tl", "shop", "k3")
    assert token
    assert set(token) <= TOKEN
    assert len(token) <= 64


def test_a_server_that_leaves_moves_its_own_share_only() -> None:
    before = {partition: owner_of(partition, ["a", "b", "c"]) for partition in range(64)}
    after = {partition: owner_of(partition, ["a", "b"]) for partition in range(64)}
    assert set(before.values()) == {"a", "b", "c"}
    assert all(after[partition] == owner for partition, owner in before.items() if owner != "c")
    assert owner_of(1, []) is None


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.TL_shop.k7_e_h.2.41.9.1700000000000000000.5",
        "$JS.ACK.hub.ACCOUNT.TL_shop.k7_e_h.2.41.9.1700000000000000000.5.token",
        "$JS.ACK._.ACCOUNT.TL_shop.k7_e_h.2.41.9.1700000000000000000.5",
    ],
)
def test_the_position_of_a_message(reply: str) -> None:
    assert position_of(reply) == Position("TL_shop", "k7_e_h", 2, 41)


@pytest.mark.parametrize("reply", ["", "_INBOX.x.1", "$JS.ACK.a.b", "$JS.ACK.s.c.x.y.1.2.3"])
def test_another_reply_subject(reply: str) -> None:
    with pytest.raises(ValueError, match=r"reply subject|invalid literal"):
        position_of(reply)
