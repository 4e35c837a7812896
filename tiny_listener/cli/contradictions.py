"""Options that contradict each other. If they come from different sources the stronger one wins: the command line, then
the environment, then the file. Options from the same source must be consistent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import click
from click.core import ParameterSource

from .events.nats import is_nats, refuse_nats_contradictions

__all__ = ["SUPERVISED", "Given", "refuse_contradictions"]

TYPED = 3
STRENGTH = {ParameterSource.COMMANDLINE: TYPED, ParameterSource.ENVIRONMENT: 2, ParameterSource.DEFAULT_MAP: 1}
PLACES = (("uds", ("host", "port", "fd")), ("fd", ("host", "port")))
"""Options that name an address to listen on, and those that name another."""
SUPERVISED = (
    "hang_timeout", "reload_batch", "reload_probation", "max_requests", "max_requests_jitter", "max_lifetime",
    "max_rss", "max_restarts", "max_restarts_window", "control_socket",
)  # fmt: skip
"""Options that need a supervisor."""


@dataclass
class Given:
    """The options, and where each came from.

    :ivar options: all values by name
    :ivar strength: of options that are not at their defaults; the higher one wins
    :ivar defaults: values of options that were not given
    """

    options: dict[str, Any]
    strength: dict[str, int]
    defaults: dict[str, Any]

    @classmethod
    def of(cls, ctx: click.Context, options: dict[str, Any]) -> Given:
        """Return what the context of the command knows."""
        sources = {name: ctx.get_parameter_source(name) for name in options}
        strength = {name: STRENGTH[source] for name, source in sources.items() if source in STRENGTH}
        file, ctx.default_map = ctx.default_map, None  # what a file has is a default to click
        defaults = {p.name or "": p.get_default(ctx) for p in ctx.command.params}
        ctx.default_map = file
        # If there is no default, click 8.3 and later returns a member of its own Enum.
        return cls(options, strength, {n: None if isinstance(d, Enum) else d for n, d in defaults.items()})

    @property
    def names(self) -> set[str]:
        """Options that are not at their defaults."""
        return set(self.strength)

    def forget(self, name: str) -> None:
        """Treat an option as not given."""
        if self.strength.pop(name, None) is not None:
            self.options[name] = self.defaults[name]


def refuse_contradictions(given: Given) -> None:
    """Drop options that a stronger one overrides.

    :raises click.UsageError: two options of the same strength contradict each other, or one would do nothing
    """
    options = given.options
    for one, others in PLACES:
        for other in others:
            _choose(given, one, other)
    if "port" in given.names and "admin_port" in given.names and options["port"] == options["admin_port"] != 0:
        raise click.UsageError(f"--port and --admin-port are both {options['port']}: change one of them")
    _choose(given, "admin_token", "admin_token_file", "both set the token")
    for name in (
        ("admin_token", "admin_token_file") if options["admin_open"] else ()
    ):  # false in a file agrees with both
        _choose(given, "admin_open", name, "contradict each other: one requires no token, the other requires one")
    becomes = options["user"] is not None or options["group"] is not None
    if options["workers"] == 1 and not options["reload"] and not becomes:
        _refuse_what_needs_a_supervisor(given)
    if options["preload"] and becomes:
        raise click.UsageError("--preload imports the application before workers become --user or --group: choose one")
    if options["reload"] and options["preload"]:
        raise click.UsageError("--preload imports the application once, --reload after every change: choose one")
    _refuse_without(given, "max_requests_jitter", "max_requests")
    _refuse_without(given, "max_restarts_window", "max_restarts")
    for name in (
        "reload_dir",
        "reload_include",
        "reload_exclude",
    ):  # a file may set them even if --reload is not used this time
        _refuse_without(given, name, "reload", weakest=TYPED)
    _refuse_sync_without_a_disk(given)
    refuse_nats_contradictions(given)
    for one in ("check", "routes", "openapi"):
        if one in given.names and "pid_file" in given.names:
            raise click.UsageError(f"--{one} runs no server, so there is nothing to write to a --pid-file")


def _choose(given: Given, one: str, other: str, what: str = "name two addresses to listen on") -> None:
    """Keep the stronger of two conflicting options.

    :param what: what the two do
    """
    first, second = given.strength.get(one), given.strength.get(other)
    if first is None or second is None:
        return
    if first == second:
        raise click.UsageError(f"{_option(one)} and {_option(other)} {what}: choose one")
    weaker = one if first < second else other
    given.forget(weaker)
    if weaker == "uds" and given.strength.get("uds_mode", 0) < second:
        given.forget("uds_mode")


def _refuse_sync_without_a_disk(given: Given) -> None:
    store, sync = given.strength.get("events", 0), given.strength.get("events_sync", 0)
    place = "nats://" if is_nats(given.options["events"]) else given.options["events"]
    if place not in ("memory", "nats://") or not sync:
        return
    if sync < store:
        given.forget("events_sync")
    else:
        raise click.UsageError(f"--events-sync does nothing with --events {place}: use --events sqlite:DIR, or omit it")


def _refuse_what_needs_a_supervisor(given: Given) -> None:
    alone = given.strength.get("workers", 0)
    for name in SUPERVISED:
        if name == "control_socket" and not given.options[name]:
            continue
        strength = given.strength.get(name, 0)
        if strength and strength < alone:  # --workers 1 on the command line overrides the file
            given.forget(name)
        elif strength:
            raise click.UsageError(f"{_option(name)} needs a supervisor: add --workers 2, or omit it")


def _refuse_without(given: Given, name: str, needed: str, *, weakest: int = 1) -> None:
    value = given.options[needed]
    if (value is None or value is False) and given.strength.get(name, 0) >= weakest:
        raise click.UsageError(f"{_option(name)} does nothing without {_option(needed)}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
