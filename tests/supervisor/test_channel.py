"""The channel between a worker and its supervisor."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
from tiny_listener_supervisor.ipc.channel import MAX_TEXT, Channel, ChannelClosed, GarbledMessage, channel_pair, fitting
from tiny_listener_supervisor.ipc.messages import Acquire, Address, BootFailed, Granted, Ready, Refused, Stop


def test_messages_and_sockets_cross_the_channel() -> None:
    ours, theirs = channel_pair()
    assert ours.receive() is None
    address = Address(2, "127.0.0.1", 80, 5)
    for message in (Acquire(1, [address]), Ready(), BootFailed(3, "x" * 60_000)):
        theirs.send(message)
        assert ours.receive() == (message, [])
    with socket.socket() as sock:
        ours.send(Granted(1), [sock.fileno(), sock.fileno()])
    received = theirs.receive()
    assert received is not None
    assert received[0] == Granted(1)
    for fd in received[1]:
        with socket.socket(fileno=fd) as lent:
            assert lent.type == socket.SOCK_STREAM
    for reply in (Refused(1, 98, "no"), Stop()):
        ours.send(reply)
        assert theirs.receive() == (reply, [])
    ours.close()
    with pytest.raises(ChannelClosed):
        theirs.receive()
    with pytest.raises(ChannelClosed):
        theirs.send(Ready())
    theirs.close()


def test_a_garbled_message_is_a_typed_error_and_leaks_nothing() -> None:
    raw, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel: Channel[Ready, Stop] = Channel(end, Ready)
    with raw:
        raw.send(b"\xff\xff")
        with pytest.raises(GarbledMessage):
            channel.receive()
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(raw, [msgspec.msgpack.encode(Stop())], [0, 1])
        with pytest.raises(GarbledMessage):
            channel.receive()
        assert len(os.listdir("/proc/self/fd")) == before
        channel.close()


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", ""),
        ("a\n", "a\n"),
        ("x" * MAX_TEXT, "x" * MAX_TEXT),
        ("x" * MAX_TEXT + "y", f"... ({MAX_TEXT + 1} bytes)\n{'x' * (MAX_TEXT - 1)}y"),
        ("é" * MAX_TEXT + "y", f"... ({2 * MAX_TEXT + 1} bytes)\n{'é' * (MAX_TEXT // 2 - 1)}y"),
        ("bad \udcff name", "bad \\udcff name"),
    ],
    ids=["empty", "short", "at the limit", "above it", "half a character", "surrogate"],
)
def test_a_text_is_made_to_fit_into_a_message(text: str, fits: str) -> None:
    assert fitting(text) == fits
    ours, theirs = channel_pair()
    theirs.send(BootFailed(3, fitting(text)))
    assert ours.receive() == (BootFailed(3, fits), [])
    ours.close()
    theirs.close()
