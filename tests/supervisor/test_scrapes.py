"""Scrapes: one page at a time, shared by those who ask meanwhile, and made for nobody who has gone."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Generator
from typing import Any

import pytest
from tiny_listener_metrics import Exposition, Ledger
from tiny_listener_supervisor import Admin
from tiny_listener_supervisor.admin.scrapes import LOOK, Scrapes

from tests.http.helpers import serving, until
from tests.metrics.helpers import work, worker
from tiny_listener.http import ClientDisconnectedError

STEPS = 50


class Pages:
    """An exposition whose pages have so many steps, and say which page it is."""

    def __init__(self, steps: int = STEPS) -> None:
        self.steps = steps
        self.made = self.open = self.most_open = 0
        self.fails = False

    def pieces(self, accept: str | None) -> tuple[Generator[bytes, None, None], str]:
        return self._pieces(), f"text/{accept or 'plain'}"

    def _pieces(self) -> Generator[bytes, None, None]:
        self.made += 1
        number = self.made
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            for _ in range(self.steps):
                yield b""
            if self.fails:
                raise ValueError("no page")
            yield b"page %d" % number
        finally:
            self.open -= 1


def scrapes_of(pages: Any) -> Scrapes:
    return Scrapes(pages)


def test_those_who_ask_meanwhile_share_the_next_page(runner: asyncio.Runner) -> None:
    pages = Pages()
    scrapes = scrapes_of(pages)

    async def main() -> None:
        found = await asyncio.gather(*(scrapes.page(None, gzip=False) for _ in range(10)))
        assert found == [(b"page 1", "text/plain")] + [(b"page 2", "text/plain")] * 9
        assert (pages.made, pages.most_open) == (2, 1)
        assert scrapes._last == {}
        assert await scrapes.page(None, gzip=False) == (b"page 3", "text/plain")

    runner.run(main())


def test_pages_of_other_kinds_are_not_shared(runner: asyncio.Runner) -> None:
    pages = Pages()
    scrapes = scrapes_of(pages)

    async def main() -> None:
        kinds = [(accept, packed) for accept in (None, "x") for packed in (False, True)] * 3
        found = await asyncio.gather(*(scrapes.page(accept, gzip=packed) for accept, packed in kinds))
        for (accept, packed), (body, content_type) in zip(kinds, found, strict=True):
            assert content_type == f"text/{accept or 'plain'}"
            assert (gzip.decompress(body) if packed else body).startswith(b"page ")
        assert pages.most_open == 1
        assert pages.made <= 2 * 4

    runner.run(main())


def test_the_event_loop_goes_on_meanwhile(runner: asyncio.Runner) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(scrapes_of(Pages()).page(None, gzip=False))
        iterations = 0
        while not task.done():
            await asyncio.sleep(0)
            iterations += 1
        assert iterations > STEPS

    runner.run(main())


def test_what_fails_or_is_cancelled_or_unwanted_is_closed_and_the_next_one_is_made(runner: asyncio.Runner) -> None:
    pages = Pages(10 * LOOK)
    scrapes = scrapes_of(pages)

    async def main() -> None:
        cancelled = asyncio.ensure_future(scrapes.page(None, gzip=False))
        waits = asyncio.ensure_future(scrapes.page(None, gzip=False))
        await until(lambda: pages.open == 1)
        cancelled.cancel()
        assert await waits == (b"page 2", "text/plain")
        assert pages.open == 0

        looks = 0

        def is_gone() -> bool:
            nonlocal looks
            looks += 1
            return looks == 2

        with pytest.raises(ClientDisconnectedError):
            await scrapes.page(None, gzip=True, is_gone=is_gone)
        assert (looks, pages.open) == (2, 0)

        pages.fails = True
        with pytest.raises(ValueError, match="no page"):
            await scrapes.page(None, gzip=True)
        pages.fails = False
        assert (await scrapes.page(None, gzip=False))[0] == b"page 5"

    runner.run(main())


def test_a_client_that_goes_away_ends_its_scrape(runner: asyncio.Runner) -> None:
    pages: Any = Pages(10**9)

    async def main() -> None:
        async with serving(Admin(pages, "127.0.0.1", 0, required=True).listener) as server:
            client = await server.connect()
            await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await until(lambda: pages.open == 1)
            client.writer.close()
            await until(lambda: pages.open == 0)
            pages.steps = STEPS
            response = await server.ask(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (response.status, response.body) == (200, b"page 2")

    runner.run(main())


def test_a_client_that_has_said_all_gets_a_page_of_few_steps(runner: asyncio.Runner) -> None:
    pages: Any = Pages(LOOK - 2)

    async def main() -> None:
        async with serving(Admin(pages, "127.0.0.1", 0, required=True).listener) as server:
            client = await server.connect()
            await client.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            client.writer.write_eof()
            assert (await client.reader.read()).endswith(b"page 1")

    runner.run(main())


def test_the_overview_waits_for_its_turn(runner: asyncio.Runner) -> None:
    ledger = Ledger()
    scrapes = Scrapes(Exposition(ledger, version="2"))

    async def main() -> None:
        with worker(ledger) as (_, recorder):
            work(recorder)
            pages = [scrapes.page(None, gzip=False) for _ in range(3)]
            found: Any = await asyncio.gather(*pages, scrapes.counts(), scrapes.counts())
            assert b"tiny_listener_not_found_total 1.0" in found[0][0]
            assert [counts.not_found for counts in found[3:]] == [1, 1]

    runner.run(main())


def test_warming_up_is_done_beside_all_else_and_ends_with_the_admin_endpoint(runner: asyncio.Runner) -> None:
    pages: Any = Pages(10**9)

    async def main() -> None:
        admin = Admin(pages, "127.0.0.1", 0, required=True)
        admin.warm_up()
        await until(lambda: pages.open == 1)
        admin.stop()
        await until(lambda: pages.open == 0)

    runner.run(main())
