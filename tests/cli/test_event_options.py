"""What the options of published events mean, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from tiny_listener_supervisor import CarrierStart

from tiny_listener.cli.events.options import EventStore, carrier_start, environment_of, event_settings
from tiny_listener.cli.main import command
from tiny_listener.events.settings import EventSettings


def parsed(*args: str) -> dict[str, Any]:
    return command.make_context("tiny-listener", [*args, "shop.main:app"]).params


def test_the_defaults_are_those_of_the_settings() -> None:
    settings = event_settings("shop.main:app", parsed(), {"XDG_STATE_HOME": "/state"})
    assert settings == EventSettings("/state/tiny-listener/shop.main")


def test_each_option_has_its_place() -> None:
    options = parsed(
        "--events", "sqlite:/x", "--events-sync", "full", "--events-concurrency", "5", "--events-max", "6",
        "--events-max-bytes", "7000", "--events-partitions", "8",
    )  # fmt: skip
    settings = event_settings("shop.main:app", options, {})
    assert (settings.folder, settings.sync, settings.concurrency) == ("/x", "full", 5)
    limits = settings.limits
    assert (limits.max_events, limits.max_bytes, limits.partitions) == (6, 7000, 8)
    assert event_settings("shop.main:app", parsed("--events", "memory"), {}).folder is None


def test_a_relative_folder_is_that_of_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert EventStore().convert("sqlite:state", None, None) == f"sqlite:{tmp_path}/state"


@pytest.mark.parametrize(
    "text", ["", "sqlite", "sqlite:", "SQLITE:/x", "NATS://x", "sqlite:///x", "Memory", "sqlite:\0"]
)
def test_anything_else_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(click.BadParameter, match="use sqlite:DIR"):
        EventStore().convert(text, None, None)


def test_the_environment_and_a_file_set_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text('[tool.tiny-listener]\nevents = "sqlite:/file"\nevents-max = 3\n')
    monkeypatch.setenv("TINY_LISTENER_EVENTS_MAX", "4")
    options = parsed()
    assert (options["events"], options["events_max"]) == ("sqlite:/file", 4)
    Path("pyproject.toml").write_text('[tool.tiny-listener]\nevents = "redis"\n')
    with pytest.raises(click.UsageError, match=r"pyproject.toml:2: events: 'redis' is no store of events"):
        parsed()


def test_when_the_carrier_starts(tmp_path: Path) -> None:
    settings = EventSettings(str(tmp_path))
    assert carrier_start(settings, {"events_sync"}) is CarrierStart.WHEN_NEEDED
    assert carrier_start(settings, {"events"}) is CarrierStart.REQUIRED
    assert carrier_start(EventSettings(None), {"events"}) is CarrierStart.REQUIRED
    (tmp_path / "events.db").touch()
    assert carrier_start(settings, set()) is CarrierStart.AT_THE_START


def test_who_becomes_another_user_has_the_state_of_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/root/state")
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert event_settings("shop:app", parsed(), environment_of()).folder == "/root/state/tiny-listener/shop"
    of_bob = environment_of((("HOME", "/home/bob"),))
    assert event_settings("shop:app", parsed(), of_bob).folder == "/home/bob/.local/state/tiny-listener/shop"
