"""Fails in listen()."""

from tiny_listener import Listener


class App(Listener):
    async def listen(self) -> None:
        raise RuntimeError("broken in listen")


app = App()
