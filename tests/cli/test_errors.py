"""Bad input: one clear line on stderr, the right exit code, and never a traceback of ours."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.server import APPS, COMMAND, command, free_port, serving
from tiny_listener.cli import main

ADMIN = ("--admin-port", "0")


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["web"], 2, "'web' is not of the form MODULE:ATTRIBUTE, such as http_web:app"),
        (["web.py:app"], 2, "for web.py that is web:app"),
        (["web:"], 2, "MODULE:ATTRIBUTE"),
        ([":app"], 2, "MODULE:ATTRIBUTE"),
        ([], 2, "Missing argument 'MODULE:ATTRIBUTE'"),
        (["web:app", "more"], 2, "unexpected extra argument"),
        (["--workers", "0", "web:app"], 2, "'--workers': 0 is not in the range x>=1"),
        (["--workers", "many", "web:app"], 2, "'many' is not a whole number"),
        (["--port", "65536", "web:app"], 2, "65536 is not in the range 0<=x<=65535"),
        (["--no-such", "web:app"], 2, "No such option"),
        (["--app-dir", "/no/such/folder", "web:app"], 2, "'/no/such/folder' does not exist"),
        (["--uds", "/tmp/x", "--port", "1", "web:app"], 2, "--uds and --port name two addresses"),
        (["--uds", "/tmp/x", "--fd", "3", "web:app"], 2, "--uds and --fd name two addresses"),
        (["--fd", "3", "--host", "::", "web:app"], 2, "--fd and --host name two addresses"),
        (["--control-socket", "/no/such/folder/x", "--workers", "2", "web:app"], 1, "/no/such/folder/x"),
        (["--check", "--pid-file", "x", "web:app"], 2, "--check runs no server"),
        (["--graceful-timeout", "-1", "web:app"], 2, "-1.0 is not in the range"),
        (["--workers", "1", "--max-restarts", "1", "web:app"], 2, "--max-restarts needs a supervisor: add --workers 2"),
        (["--max-restarts", "-1", "--workers", "2", "web:app"], 2, "-1 is not in the range x>=0"),
        (["--graceful-timeout", "nan", "web:app"], 2, "nan is not a number of seconds"),
        (["--drain-delay", "inf", "web:app"], 2, "inf is not a number of seconds; use a large one"),
        (["--keep-alive-timeout", "soon", "web:app"], 2, "'soon' is not a number of seconds"),
        (["--boot-timeout", "0", "web:app"], 2, "0.0 is not in the range x>0"),
        (["--port", "9999", "--admin-port", "9999", "web:app"], 2, "--port and --admin-port are both 9999: change one"),
        (
            ["--admin-host", "0.0.0.0", "web:app"],
            2,
            "--admin-host 0.0.0.0 is reachable from other machines: add --admin-token-",
        ),
        (["--admin-host", "::", "web:app"], 2, "--admin-host :: is reachable from other machines"),
        (["--admin-host", "", "web:app"], 2, "--admin-host '' is reachable from other machines"),
        (["--admin-host", "192.0.2.1", "web:app"], 2, "is reachable from other machines"),
        (["--admin-host", "192.0.2.1", "--admin-token", "x", "web:app"], 1, "this machine has no such address"),
        (["--admin-host", "192.0.2.1", "--admin-open", "web:app"], 1, "this machine has no such address"),
        (["--admin-token", "x", "--admin-open", "web:app"], 2, "--admin-open and --admin-token contradict each other"),
        (["--admin-token", "x", "--admin-token-file", "f", "web:app"], 2, "both set the token: choose one"),
        (["--admin-token", "", "web:app"], 2, "--admin-token: the token is empty"),
        (["--admin-token", "two words", "web:app"], 2, "--admin-token: a token must consist of printable ASCII"),
        (["--admin-token", "m\u00fcll", "web:app"], 2, "--admin-token: a token must consist of printable ASCII"),
        (["--admin-token", "x" * 4097, "web:app"], 2, "--admin-token: a token has at most 4096 characters"),
        (["--admin-token-file", "/no/such/file", "web:app"], 2, "/no/such/file: cannot read the file: No such file"),
        (["--admin-token-file", "/dev/null", "web:app"], 2, "--admin-token-file /dev/null: the token is empty"),
        (["--admin-allowed-hosts", "http://web", "web:app"], 2, "'http://web' is not a host name: use names such as"),
        (["--admin-allowed-hosts", "web:9464", "web:app"], 2, "or *, without scheme or port"),
        (["--admin-allowed-hosts", "web,", "web:app"], 2, "'' is not a host name"),
        (["--host", "no-such-host.invalid", "web:app"], 1, "'no-such-host.invalid' is not an address of this machine"),
        (["--max-restarts-window", "1", "--workers", "2", "web:app"], 2, "does nothing without --max-restarts"),
        (
            ["--max-restarts", "1", "--max-restarts-window", "0", "--workers", "2", "web:app"],
            2,
            "0.0 is not in the range",
        ),
        (["--reload", "--preload", "web:app"], 2, "--reload after every change: choose one"),
        (["--reload-dir", ".", "web:app"], 2, "--reload-dir does nothing without --reload"),
        (["--reload-include", "*.txt", "web:app"], 2, "--reload-include does nothing without --reload"),
        (["--reload-exclude", "*.txt", "web:app"], 2, "--reload-exclude does nothing without --reload"),
        (["--reload", "--reload-dir", "/no/such/folder", "web:app"], 2, "'/no/such/folder' does not exist"),
        (["--reload", "wep:app"], 1, "No module named 'wep'; did you mean 'web'?"),
        (["wep:app"], 1, "No module named 'wep'; did you mean 'web'?"),
        (["web:ap"], 1, "'web' has no attribute 'ap'; did you mean 'app'?"),
        (["web:not_a_listener"], 1, "web:not_a_listener is not a tiny_listener.Listener, but of type int"),
        (["web:app.no_such"], 1, "'web:app' has no attribute 'no_such'"),
        (["package.wep:app"], 1, "No module named 'package.wep'; did you mean 'package.web'?"),
        (["web:HTTPListener"], 1, "is a class: make an instance of it"),
        (["--uds-mode", "660", "web:app"], 2, "--uds-mode does nothing without a unix socket: add --uds"),
        (["--uds", "/tmp/x", "--uds-mode", "680", "web:app"], 2, "'680' is not valid: use three octal digits"),
        (["--uds", "/tmp/x", "--uds-mode", "1777", "web:app"], 2, "'1777' is not valid: use three octal digits"),
        (["--uds", "/tmp/x", "--uds-mode", "rw", "web:app"], 2, "'rw' is not valid: use three octal digits"),
        (["--port", "1", "plain:app"], 2, "--port would do nothing: plain:app is not an HTTPListener"),
    ],
)
@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one", "two"])
def test_one_line_and_the_exit_code(args: list[str], code: int, message: str, workers: list[str]) -> None:
    done = command(*ADMIN, *workers, *args)
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("INFO:")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    assert message in lines[0]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(
    ("app", "last_line"),
    [
        ("broken:app", "RuntimeError: broken at import"),
        ("broken_syntax:app", "SyntaxError: "),
        ("needs_missing:app", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("broken_startup:app", "RuntimeError: broken at startup"),
        ("broken_listen:app", "RuntimeError: broken in listen"),
        ("broken_os:app", "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'"),
        ("exits:app", "RuntimeError: exits:app called sys.exit(7) while it was imported"),
        ("registers_twice:app", "Route 'hello' of hello (registers_twice.py:13) already exists"),
        ("registers_sync:app", "TypeError: hello (registers_sync.py:8) is not a coroutine function"),
    ],
)
@pytest.mark.parametrize("preload", [[], ["--preload"]], ids=["each", "preload"])
def test_an_application_that_cannot_boot(workers: str, app: str, last_line: str, preload: list[str]) -> None:
    done = command(*ADMIN, "--workers", workers, *preload, app)
    assert done.returncode == 3
    assert done.stderr.count("Traceback (most recent call last)") <= 1
    assert sum(last_line in line for line in done.stderr.splitlines()) == 1, done.stderr
    for ours in ("/tiny_listener/", "/tiny_listener_supervisor/", "importlib"):
        assert ours not in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_in_use_is_said_with_its_holder(workers: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = command(*ADMIN, "--workers", workers, "--port", port, "web:app")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert f"cannot listen on 127.0.0.1:{port}: it is in use by " in line
    assert f"(pid {os.getpid()})" in line
    assert "Traceback" not in done.stderr


def test_a_second_server_does_not_share_the_first_ones_port() -> None:
    with serving("web:app", "--workers", "2") as server:
        done = command(*ADMIN, "--workers", "2", "--port", str(server.port), "web:app")
        assert done.returncode == 1
        assert "it is in use by" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_admin_port_in_use(workers: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = command("--admin-port", port, "--workers", workers, "--port", str(free_port()), "web:app")
    assert done.returncode == 1
    assert "choose another with --admin-port (the admin endpoint)" in done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_of_another_machine(workers: str) -> None:
    done = command(*ADMIN, "--workers", workers, "--host", "192.0.2.1", "web:app")
    assert done.returncode == 1
    assert "cannot listen on 192.0.2.1:8000: this machine has no such address" in done.stderr


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_without_permission(workers: str) -> None:
    unprivileged = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    # Root without the capability is as anybody; anybody needs no setpriv.
    drop = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"] if os.getuid() == 0 else []
    args = [*drop, *COMMAND, *ADMIN, "--workers", workers, "--port", "81", "web:app"]
    if unprivileged > 81:
        done = subprocess.run(args, cwd=APPS, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1, done.stderr
        assert "cannot listen on 127.0.0.1:81: no permission; ports below 1024 need root" in done.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("workers = \nport = 1", "options.toml: invalid TOML: Invalid value (at line 1"),
        ("\nworkerz = 2", "options.toml:2: workerz: no such option; did you mean workers?"),
        ('port = "many"', "options.toml:1: port: 'many' is not a whole number"),
        ("workers = 0", "options.toml:1: workers: 0 is not in the range x>=1"),
        ("access-log = 1", "options.toml:1: access-log: 1 is not true or false"),
        ("port = true", "options.toml:1: port: True is not a whole number"),
        ("uds-mode = 888", "options.toml:1: uds-mode: 888 is not valid: use three octal digits"),
        ("port = [1]", "options.toml:1: port: [1] is not a whole number"),
        ("reload-dir = 1", "options.toml:1: reload-dir: 1 is not a string or a list of strings"),
        ('reload-dir = ["/no/such"]', "options.toml:1: reload-dir: Directory '/no/such' does not exist"),
        ("reload-include = [1]", "options.toml:1: reload-include: [1] is not a string or a list of strings"),
        ("check = true", "options.toml:1: check: no such option"),
        ("port = 1.5", "options.toml:1: port: 1.5 is not a whole number"),
        ("host = 5", "options.toml:1: host: 5 is not a string"),
        ("drain-delay = nan", "options.toml:1: drain-delay: nan is not a number of seconds"),
        ("workers = 1979-05-27", "options.toml:1: workers: datetime.date(1979, 5, 27) is not a whole number"),
        ("log-level = 'info'\nlog_level = 'debug'", "options.toml:2: log_level: given twice, with - and with _"),
        ("tool = 3", "options.toml: tool.tiny-listener must be a table: [tool.tiny-listener], followed by options"),
        ("[tool]\ntiny-listener = 3", "options.toml: tool.tiny-listener must be a table"),
        ("[[tool.tiny-listener]]", "options.toml: tool.tiny-listener must be a table"),
        (
            "[tool.x]\nworkers = 7\n\n[tool.tiny-listener]\nworkers = 0",
            "options.toml:5: workers: 0 is not in the range",
        ),
        ('uds = "x"\nport = 1', "--uds and --port name two addresses"),
    ],
)
def test_a_broken_config_file(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "options.toml"
    config.write_text(text)
    done = command("--config", str(config), "web:app")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_reload_without_its_library(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['watchfiles'] = None\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = command(*ADMIN, "--reload", "web:app", env={"PYTHONPATH": path})
    assert done.returncode == 1
    assert done.stderr == "Error: --reload needs watchfiles: pip install 'tiny-listener[reload]'\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--reload"], "Error: --reload needs Linux (SO_REUSEPORT, fork); without it --workers 1 runs here\n"),
        (["--workers", "2"], "Error: --workers 2 needs Linux (SO_REUSEPORT, fork); --workers 1 runs here\n"),
    ],
)
def test_another_system(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Only the command's own look at the platform: the rest of the process stays where it is.
    monkeypatch.setattr("tiny_listener.cli.run.sys", SimpleNamespace(platform="darwin"))
    with pytest.raises(SystemExit, match="1"):
        main([*options, "web:app"])
    assert capsys.readouterr().err == message


def test_a_config_file_that_does_not_exist() -> None:
    done = command("--config", "/no/such.toml", "web:app")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "'/no/such.toml' does not exist" in done.stderr


def test_a_pid_file_of_a_living_process(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    pid_file.write_text(f"{os.getppid()}\n")
    done = command(*ADMIN, "--pid-file", str(pid_file), "web:app")
    assert done.returncode == 1
    assert f"names process {os.getppid()}, which is still running" in done.stderr
    with subprocess.Popen(["sleep", "60"]) as stranger:
        pid_file.write_text(f"{stranger.pid}\n")
        os.utime(pid_file, (1, 1))  # its number was another process's when the file was written
        try:
            with serving("web:app", "--pid-file", str(pid_file)) as server:
                assert pid_file.read_text() == f"{server.process.pid}\n"
        finally:
            stranger.kill()
    done = command(*ADMIN, "--pid-file", str(tmp_path / "no" / "pid"), "web:app")
    assert done.returncode == 1
    assert "cannot write the pid file" in done.stderr
