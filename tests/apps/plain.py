"""A listener that is not an HTTPListener."""

from tiny_listener import Listener


class App(Listener):
    async def listen(self) -> None:
        """Nothing to open."""


app = App()
