"""The options of published events on NATS: what they mean, what is refused, and that no error shows a password."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import click
import pytest
from tiny_listener_supervisor import CarrierStart

from tests.server import command as run
from tiny_listener.cli.contradictions import Given, refuse_contradictions
from tiny_listener.cli.events.nats import NATS, default_app, servers
from tiny_listener.cli.events.options import EventStore, carrier_start, event_settings
from tiny_listener.cli.main import command
from tiny_listener.events.settings import EventSettings, NatsSettings

URL = "nats://10.0.0.1:4222"


def parsed(*args: str) -> dict[str, Any]:
    """Return the options of a command line, of which none contradicts another."""
    with command.make_context("tiny-listener", [*args, "shop.main:app"]) as ctx:
        given = Given.of(ctx, ctx.params)
        refuse_contradictions(given)
        return given.options


def settings(*args: str) -> NatsSettings:
    found = event_settings("shop.main:app", parsed("--events", URL, *args), {}).nats
    assert found is not None
    return found


def test_an_address_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "web-1")
    whole = event_settings("shop.main:app", parsed("--events", "nats://10.0.0.1"), {})
    assert whole == EventSettings(nats=NatsSettings(("nats://10.0.0.1:4222",), "shop-main", "web-1"))
    assert carrier_start(whole, {"events"}) is carrier_start(whole, set()) is CarrierStart.REQUIRED


def test_each_option_has_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = settings(
        *("--events-app", "orders_2", "--events-host", "Web 1, rack 3", "--events-replicas", "3"),
        *("--nats-user", "shop", "--nats-password-file", "password", "--nats-tls-ca", "/etc/ca.pem"),
        *("--nats-tls-cert", "cert.pem", "--nats-tls-key", "key.pem", "--nats-inbox-prefix", "_INBOX_shop.x"),
    )
    assert found == NatsSettings(
        (URL,),
        "orders_2",
        "Web 1, rack 3",
        replicas=3,
        user="shop",
        password_file=f"{tmp_path}/password",
        tls_ca="/etc/ca.pem",
        tls_cert=f"{tmp_path}/cert.pem",
        tls_key=f"{tmp_path}/key.pem",
        inbox_prefix="_INBOX_shop.x",
    )
    assert settings("--nats-creds", "c").credentials == f"{tmp_path}/c"
    assert settings("--nats-nkey", "n").nkey == f"{tmp_path}/n"
    assert settings("--nats-token-file", "t").token_file == f"{tmp_path}/t"


def test_the_limits_are_those_of_every_store() -> None:
    options = parsed("--events", URL, "--events-max", "5", "--events-partitions", "8", "--events-concurrency", "3")
    whole = event_settings("shop.main:app", options, {})
    assert (whole.limits.max_events, whole.limits.partitions, whole.concurrency) == (5, 8, 3)


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("nats://a", ("nats://a:4222",)),
        ("tls://a.b.c:1,tls://d", ("tls://a.b.c:1", "tls://d:4222")),
        ("nats://a, nats://b:65535", ("nats://a:4222", "nats://b:65535")),
        ("nats://[::1]:7", ("nats://[::1]:7",)),
    ],
)
def test_addresses(text: str, urls: tuple[str, ...]) -> None:
    assert servers(text) == urls
    assert EventStore().convert(text, None, None) == ",".join(urls)


@pytest.mark.parametrize(
    "text",
    ["nats://", "nats://a:0", "nats://a:65536", "nats://a:b", "nats://a/b", "nats://a?b", "nats://a b", "nats://a,",
     "nats://a,b", "nats://a,ws://b", "nats://a\nb", "nats://[a", "nats://a#"],
)  # fmt: skip
def test_an_address_that_is_wrong(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"is no URL of a NATS server: use nats://10\.0\.0\.1:4222"):
        EventStore().convert(text, None, None)


def test_two_schemes() -> None:
    with pytest.raises(click.BadParameter, match="both nats:// and tls://"):
        EventStore().convert("nats://a,tls://b", None, None)


@pytest.mark.parametrize(
    "text", ["nats://bob:sesame@a", "nats://sesame@a", "nats://a,nats://b:sesame@c", "tls://b:sesa/me@c", "NATS://b:sesame@c"]
)  # fmt: skip
def test_credentials_in_the_address_are_refused_and_not_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("options.toml").write_text(f'events = "{text}"\n')
    on_the_command_line = run("--events", text, "web:app")
    in_the_environment = run("web:app", env={"TINY_LISTENER_EVENTS": text})
    in_a_file = run("--config", f"{tmp_path}/options.toml", "web:app")
    for done in (on_the_command_line, in_the_environment, in_a_file):
        assert done.returncode == 2
        assert "use --nats-user and --nats-password-file, or --nats-token-file" in done.stderr
        assert "sesa" not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--events-app", "Shop"), "'Shop' is not valid: use 1 to 32 of a-z, 0-9, _ and -"),
        (("--events-app", "a" * 33), "use 1 to 32"),
        (("--events-app", ""), "use 1 to 32"),
        (("--events-host", ""), "use 1 to 64 printable characters"),
        (("--events-host", "a" * 65), "use 1 to 64"),
        (("--events-host", "a\nb"), "printable"),
        (("--events-host", " a"), "without spaces around"),
        (("--events-replicas", "2"), "2 is not valid: use 1, 3 or 5"),
        (("--events-replicas", "7"), "7 is not in the range"),
        (("--nats-inbox-prefix", "a.>"), "'a.>' is not the beginning of a subject"),
        (("--nats-inbox-prefix", "a."), "is not the beginning of a subject"),
        (("--nats-inbox-prefix", "a b"), "is not the beginning of a subject"),
        (("--nats-user", "a"), "--nats-user needs --nats-password-file"),
        (("--nats-password-file", "a"), "--nats-password-file needs --nats-user"),
        (("--nats-tls-key", "a"), "--nats-tls-key needs --nats-tls-cert"),
        (("--nats-creds", "a", "--nats-token-file", "b"), "--nats-creds and --nats-token-file are two ways to log in"),
        (("--events-sync", "full"), "--events-sync does nothing with --events nats://: use --events sqlite:DIR"),
    ],
)
def test_what_is_refused(args: tuple[str, ...], message: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parsed("--events", URL, *args)
    assert message in caught.value.message


@pytest.mark.parametrize("store", [(), ("--events", "memory"), ("--events", "sqlite:/x")])
def test_without_nats_its_options_do_nothing(store: tuple[str, ...]) -> None:
    values = {"events_replicas": "3", "events_app": "a", "events_host": "a"}
    for name in NATS:
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(click.UsageError, match=f"^{option} does nothing without --events nats://HOST:PORT"):
            parsed(*store, option, values.get(name, "x"))


def test_the_environment_and_a_file_set_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text(
        f'[tool.tiny-listener]\nevents = "{URL}"\nevents-replicas = 5\nnats-token-file = "t"\nevents-sync = "full"\n'
    )
    monkeypatch.setenv("TINY_LISTENER_NATS_CREDS", "/c")
    with pytest.raises(click.UsageError, match="--events-sync does nothing"):
        parsed()
    monkeypatch.setenv("TINY_LISTENER_EVENTS", "nats://a")
    found = event_settings("shop.main:app", parsed(), {}).nats
    assert found is not None
    assert (found.servers, found.replicas) == (("nats://a:4222",), 5)
    assert (found.credentials, found.token_file) == ("/c", None)


def test_another_store_on_the_command_line_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text(f'[tool.tiny-listener]\nevents = "{URL}"\nevents-app = "a"\nnats-user = "b"\n')
    options = parsed("--events", "memory")
    assert (options["events_app"], options["nats_user"]) == (None, None)
    assert event_settings("shop.main:app", options, {}) == EventSettings()


def test_a_stronger_way_to_log_in_overrides_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_LISTENER_NATS_USER", "bob")
    monkeypatch.setenv("TINY_LISTENER_NATS_PASSWORD_FILE", "/p")
    found = settings("--nats-nkey", "/n")
    assert (found.nkey, found.user, found.password_file) == ("/n", None, None)


def test_the_name_of_an_application_is_that_of_its_module() -> None:
    assert default_app("orders:app") == "orders"
    assert default_app("shop.web_api.main:app") == "shop-web_api-main"
    others = [default_app(f"{module}:app") for module in ("Shop", "shop", "büro", "a" * 33, "a" * 34, "shop.Main")]
    assert len(set(others)) == len(others)
    for name in others:
        assert parsed("--events", URL, "--events-app", name)["events_app"] == name


def test_a_machine_without_a_usable_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "")
    with pytest.raises(click.UsageError, match="host name of this machine cannot be used, add --events-host"):
        settings()
    assert settings("--events-host", "a").host == "a"


def test_publishing_from_the_shell_needs_a_server_of_this_machine() -> None:
    done = run("publish", "--events", URL, "--events-app", "no-such", "busy:app", "note x")
    assert done.returncode == 1
    assert "no server of this user on this machine has the events of nats:no-such" in done.stderr
