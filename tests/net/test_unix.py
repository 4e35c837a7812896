"""Unix sockets: whose a file is, which of two servers gets it, and what stands in the way."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import stat
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tiny_listener.net import unix
from tiny_listener.net.addresses import ListenError
from tiny_listener.net.unix import listen_unix

TAKEN = "a server already listens there; stop it, or choose another path with --uds"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "web.sock")


def leave_stale(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)


@contextlib.contextmanager
def connected(path: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)  # noqa: FBT003
        client.connect(path)
        yield client


def test_a_dead_server_s_file_is_taken_over_and_a_living_one_s_is_not(path: str) -> None:
    leave_stale(path)
    ours = listen_unix(path, 5)
    with connected(path), pytest.raises(ListenError, match=TAKEN):
        listen_unix(path, 5)
    ours.remove()
    ours.sock.close()
    assert not Path(path).exists()


def test_a_server_whose_queue_is_full_lives(path: str) -> None:
    ours = listen_unix(path, 0)
    with connected(path):
        with pytest.raises(BlockingIOError), connected(path):
            pass
        with pytest.raises(ListenError, match=TAKEN):
            listen_unix(path, 5)
    assert Path(path).exists()
    ours.sock.close()


def test_a_socket_of_another_type_is_somebody_s(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(ListenError, match=TAKEN):
            listen_unix(path, 5)
    assert Path(path).exists()


def test_what_is_no_socket_stays(path: str) -> None:
    words = "it is not a socket; remove it, or choose another path with --uds"
    Path(path).write_text("precious")
    with pytest.raises(ListenError, match=words):
        listen_unix(path, 5)
    assert Path(path).read_text() == "precious"
    with pytest.raises(ListenError, match=words):
        listen_unix(str(Path(path).parent), 5)


def test_a_file_that_is_somebody_else_s_by_now_is_left_to_them(path: str) -> None:
    first = listen_unix(path, 5)
    first.sock.close()
    second = listen_unix(path, 5)
    first.remove()
    with connected(path):
        pass
    second.remove()
    assert not Path(path).exists()
    second.sock.close()


def test_one_of_many_that_start_at_once_gets_the_path(path: str) -> None:
    for _ in range(20):
        leave_stale(path)
        barrier = threading.Barrier(8)
        outcomes: Counter[str] = Counter()
        winners = []

        def start(barrier: threading.Barrier = barrier, outcomes: Counter[str] = outcomes) -> None:
            barrier.wait()
            try:
                winners.append(listen_unix(path, 50))  # noqa: B023 - the thread ends within the turn
            except ListenError as exc:
                outcomes[str(exc.strerror)] += 1

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = winners
        assert outcomes == {f"cannot listen on {path}: {TAKEN}": 7}
        with connected(path):
            pass
        winner.remove()
        winner.sock.close()


def test_a_lock_that_is_held_forever_blocks_no_server(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix, "LOCK_TIMEOUT", 0.02)
    folder = os.open(Path(path).parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    ours = listen_unix(path, 5)
    ours.remove()
    ours.sock.close()
    os.close(folder)
    assert not Path(path).exists()


def test_an_abstract_name_has_no_file() -> None:
    name = f"\0tiny-listener-{os.getpid()}"
    ours = listen_unix(name, 5)
    with connected(name), pytest.raises(ListenError, match="a server already listens there"):
        listen_unix(name, 5)
    ours.remove()
    ours.sock.close()


def test_a_loop_leaves_what_it_may_not_take(runner: asyncio.Runner, path: str) -> None:
    loop = runner.get_loop()
    ours = listen_unix(path, 0)
    with connected(path), pytest.raises(ListenError, match=TAKEN):
        runner.run(loop.create_unix_server(asyncio.Protocol, path))
    ours.remove()
    ours.sock.close()
    Path(path).write_text("precious")
    with pytest.raises(ListenError, match="it is not a socket"):
        runner.run(loop.create_unix_server(asyncio.Protocol, path))
    assert Path(path).read_text() == "precious"


def test_a_loop_that_ends_leaves_the_file_of_its_successor(runner: asyncio.Runner, path: str) -> None:
    loop = runner.get_loop()

    async def serve_and_close() -> None:
        server = await loop.create_unix_server(asyncio.Protocol, path)
        with connected(path):
            pass
        server.close()
        await asyncio.sleep(0)

    runner.run(serve_and_close())
    successor = listen_unix(path, 5)
    runner.close()
    with connected(path):
        pass
    successor.remove()
    successor.sock.close()


def test_a_loop_removes_its_own_file(runner: asyncio.Runner, path: str) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, path)
        assert Path(path).exists()
        server.close()

    runner.run(serve())
    assert Path(path).exists()
    runner.close()
    assert not Path(path).exists()


def test_a_server_that_cannot_be_made_leaves_nothing(runner: asyncio.Runner, path: str) -> None:
    with pytest.raises((TypeError, ValueError)):
        runner.run(runner.get_loop().create_unix_server(asyncio.Protocol, path, ssl_handshake_timeout=1))
    assert not Path(path).exists()


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_the_file_has_its_mode_from_the_first_instant(
    path: str, mode: int, umask: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    chmod = os.chmod

    def look_first(name: Path, mode: int, **options: bool) -> None:
        seen.append(stat.S_IMODE(name.stat().st_mode))
        chmod(name, mode, **options)

    monkeypatch.setattr(os, "chmod", look_first)
    before = os.umask(umask)
    try:
        ours = listen_unix(path, 5, mode)
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert seen == ([mode & ~umask] if mode & umask else [])
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    ours.remove()
    ours.sock.close()


def test_without_a_mode_the_umask_decides(path: str) -> None:
    before = os.umask(0o027)
    try:
        ours = listen_unix(path, 5)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o750
    ours.sock.close()


@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_what_somebody_puts_in_the_file_s_place_keeps_its_mode(
    path: str, mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.touch(0o640)
    bind = socket.socket.bind

    def bind_and_exchange(sock: socket.socket, name: str) -> None:
        bind(sock, name)
        Path(name).unlink()
        Path(name).symlink_to(precious)

    monkeypatch.setattr(socket.socket, "bind", bind_and_exchange)
    with pytest.raises(ListenError, match=TAKEN):
        listen_unix(path, 5, mode)
    assert stat.S_IMODE(precious.stat().st_mode) == 0o640


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_knows_when_nobody_can_find_it_any_more(kind: socket.SocketKind, path: str) -> None:
    ours = listen_unix(path, 5, kind=kind)
    assert not ours.is_lost
    with pytest.raises(ListenError, match=TAKEN):
        listen_unix(path, 5, kind=socket.SOCK_STREAM if kind == socket.SOCK_DGRAM else socket.SOCK_DGRAM)
    Path(path).chmod(0o600)
    assert not ours.is_lost
    Path(path).rename(f"{path}.old")
    assert ours.is_lost
    with contextlib.closing(listen_unix(path, 5, kind=kind).sock):
        assert ours.is_lost
        ours.remove()
        assert Path(path).exists()
    Path(path).unlink()
    Path(f"{path}.old").rename(path)
    assert not ours.is_lost
    ours.remove()
    ours.sock.close()


def test_a_name_without_a_file_is_never_lost() -> None:
    with contextlib.closing(listen_unix(f"\0tiny-listener-test-{os.getpid()}", 5).sock) as sock:
        assert not unix.UnixSocket(sock, sock.getsockname().decode(), ()).is_lost
