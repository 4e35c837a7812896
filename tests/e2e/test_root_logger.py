"""What loggers of the application write, whether it configures logging or not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.server import command, serving
from tests.waiting import wait_for

APP = """
import asyncio
import logging
{configure}
from tiny_listener.http import HTTPListener

app = HTTPListener()
shop = logging.getLogger("shop.orders")


@app.get("/order")
async def order() -> str:
    shop.debug("debug of the shop")
    shop.info("sold %d", 3)
    shop.warning("two\\nlines")
    logging.getLogger("tiny_listener.own").warning("once")
    return "sold"
"""
BASIC = "logging.basicConfig(format='theirs: %(message)s'{level})"


def write(folder: Path, configure: str = "") -> None:
    (folder / "shop.py").write_text(APP.format(configure=configure))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["INFO:     sold 3", r"WARNING:  two\nlines", "WARNING:  once"]),
        (["--log-level", "warning"], [r"WARNING:  two\nlines", "WARNING:  once"]),
        (["--log-level", "error"], []),
    ],
)
def test_the_same_handler_and_level(tmp_path: Path, workers: int, options: list[str], expected: list[str]) -> None:
    write(tmp_path)
    log = tmp_path / "log"
    with serving("shop:app", "--workers", str(workers), *options, "--log-file", str(log), cwd=tmp_path) as server:
        assert server.get("/order") == (200, b"sold")
        wait_for(lambda: not expected or expected[-1] in log.read_text().splitlines())
        assert server.stop() == 0
        assert server.log == ""
    lines = [line for line in log.read_text().splitlines() if re.search("shop|sold|lines|once", line)]
    assert lines == expected


def test_json_and_the_time(tmp_path: Path) -> None:
    write(tmp_path)
    with serving("shop:app", "--log-format", "json", cwd=tmp_path) as server:
        server.get("/order")
        wait_for(lambda: "once" in server.log)
        entries = [json.loads(line) for line in server.log.splitlines()]
    sold = next(entry for entry in entries if entry["message"] == "sold 3")
    assert (sold["logger"], sold["level"]) == ("shop.orders", "info")
    with serving("shop:app", "--log-time", "--access-log", cwd=tmp_path) as server:
        server.get("/order")
        wait_for(lambda: '"GET /order HTTP/1.1" 200 OK 4B' in server.log)
        assert server.stop() == 0
        lines = server.log.splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 (INFO|WARNING): ", line) for line in lines)
    assert any(line.endswith(" INFO:     sold 3") for line in lines)


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("", [r"theirs: two", "lines"]),  # Python's default is WARNING
        (", level=logging.INFO", ["theirs: sold 3", "theirs: two", "lines"]),
        (", level=logging.DEBUG", ["theirs: debug of the shop", "theirs: sold 3", "theirs: two", "lines"]),
    ],
)
def test_an_application_that_configures_the_root_logger(tmp_path: Path, level: str, expected: list[str]) -> None:
    write(tmp_path, BASIC.format(level=level))
    with serving("shop:app", cwd=tmp_path) as server:
        server.get("/order")
        wait_for(lambda: "once" in server.log)
        assert server.stop() == 0
        lines = [line for line in server.log.splitlines() if re.search("shop|sold|two|lines", line)]
        assert lines == expected
        assert server.log.count("once") == 1  # ours are not doubled
        assert "WARNING:  once" in server.log.splitlines()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--access-log-format", "%(h)s"], "--access-log-format does nothing without --access-log"),
        (["--access-log", "--access-log-format", "%(status)s"], "%(status)s is no atom; did you mean %(s)s?"),
    ],
)
def test_formats_that_are_refused(tmp_path: Path, options: list[str], message: str) -> None:
    write(tmp_path)
    for check in ([], ["--check"]):
        done = command(*check, *options, "--admin-port", "0", "shop:app", cwd=tmp_path)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_format_on_the_command_line(tmp_path: Path) -> None:
    write(tmp_path)
    options = ["--access-log", "--access-log-format", '%(m)s %(U)s "%(a)s" %(s)s %(b)s %({content-type}o)s']
    with serving("shop:app", *options, cwd=tmp_path) as server:
        server.get("/order")
        wait_for(lambda: "GET /order" in server.log)
        assert re.search(r'^INFO:     GET /order ".*" 200 4 text/plain; charset=utf-8$', server.log, re.MULTILINE)
