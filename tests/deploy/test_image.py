"""deploy/container/Dockerfile: checked by hadolint, and done step by step without an engine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.utils.build import exclude_paths

from tests.deploy.dockerfile import Stage, stages
from tests.server import ROOT, Server, free_ports, request
from tests.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
BIN = Path(sys.executable).parent
HADOLINT = BIN / "hadolint"
BUILD, FINAL = stages(DOCKERFILE)


def lint(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HADOLINT, "--no-color", path], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint has no wheel for this machine")
def test_hadolint_has_nothing_to_say(tmp_path: Path) -> None:
    done = lint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace("python:3.13-slim-bookworm AS", "python AS"))
    assert "DL3006" in lint(bad).stdout


def test_bases_have_a_version() -> None:
    for stage in (BUILD, FINAL):
        assert re.fullmatch(r"python:3\.\d+-slim-\w+", stage.base)
    assert BUILD.base == FINAL.base  # the environment that one makes is for the other's Python


def test_the_image_runs_as_nobody_in_particular() -> None:
    (user,) = FINAL.all("USER")
    uid, gid = user.split(":")
    assert int(uid) > 0
    (made,) = FINAL.all("RUN")
    assert f"--gid {gid} " in made
    assert f"--uid {uid} " in made
    instructions = [name for name, _ in FINAL.steps]
    assert not {"RUN", "COPY", "ADD"} & set(instructions[instructions.index("USER") :])


def test_nothing_is_built_in_the_last_stage() -> None:
    for run in FINAL.all("RUN"):
        assert not re.search(r"\b(pip|apt|apt-get|gcc|make|curl|wget)\b", run), run
    assert "--no-cache-dir" in BUILD.all("RUN")[0]


def context() -> set[str]:
    """The files that the engine gets."""
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    found: set[str] = {path for path in exclude_paths(str(ROOT), patterns) if (ROOT / path).is_file()}
    return found


def test_the_context_is_what_is_copied_and_no_more() -> None:
    copied = [source for stage in (BUILD, FINAL) for sources, _ in stage.copies() for source in sources]
    sent = context()
    for source in copied:
        assert any(path == source or path.startswith(f"{source}/") for path in sent), source
    for path in sent - {".dockerignore"}:  # which the engine itself reads
        assert any(path == source or path.startswith(f"{source}/") for source in copied), path
    assert not any(part.startswith((".git", ".venv", "__pycache__")) for path in sent for part in path.split("/"))


# --- the steps, done here -------------------------------------------------------------------------


def copy(stage: Stage, folder: Path) -> None:
    """Do each COPY from the context into the stage's folder."""
    sent = context()
    for sources, target in stage.copies():
        for source in sources:
            for path in sorted(sent):
                if path != source and not path.startswith(f"{source}/"):
                    continue
                inside = Path(path).name if path == source else Path(path).relative_to(source)
                place = folder / target / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, place)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image has in / after its build: opt/venv and app."""
    root = tmp_path_factory.mktemp("image")
    copy(BUILD, root / "src")
    (run,) = BUILD.all("RUN")
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", run.replace("/opt/venv", str(root / "opt/venv"))],
        cwd=root / "src", env=environment, capture_output=True, text=True, check=False, timeout=250,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    copy(FINAL, root / "app")
    return root


@contextlib.contextmanager
def started(root: Path, **variables: str) -> Iterator[Server]:
    """The image's command in the image's environment, but for the ports."""
    port, admin = free_ports(2)
    environment = {name: value.replace("/opt/venv", f"{root}/opt/venv") for name, value in FINAL.environment().items()}
    environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/bin:/bin")
    environment |= {"TINY_LISTENER_PORT": str(port), "TINY_LISTENER_ADMIN_PORT": str(admin), **variables}
    environment["XDG_RUNTIME_DIR"] = os.environ["XDG_RUNTIME_DIR"]
    log = root / f"log-{port}"
    command = [*FINAL.command("ENTRYPOINT"), *FINAL.command("CMD")]
    command[0] = str(root / "opt/venv/bin" / command[0])
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=root / "app", env=environment, stdout=file, stderr=file)
    server = Server(process, port, admin, log)
    try:
        wait_for(server.is_ready, what="the image's command is ready")
        yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_healthy(root: Path, admin: int) -> bool:
    """What HEALTHCHECK's command says."""
    python, *rest = FINAL.command("HEALTHCHECK")
    assert "9464" in rest[-1]
    command = [str(root / "opt/venv/bin" / python), *(word.replace("9464", str(admin)) for word in rest)]
    code = subprocess.run(command, capture_output=True, check=False, timeout=20).returncode
    assert code in (0, 1)  # all that Docker knows
    return code == 0


def test_what_was_built_serves_and_is_healthy(root: Path) -> None:
    with started(root) as server:
        assert server.get("/user/Bob") == (200, b"Hello, Bob!")
        assert len(server.workers()) == int(FINAL.environment()["TINY_LISTENER_WORKERS"])
        assert b"<html" in server.admin("/")[1]  # what is no Python is in the wheel too
        assert is_healthy(root, server.admin_port)
        assert server.stop() == 0
        assert not is_healthy(root, server.admin_port)


def test_a_container_that_stops_is_not_healthy(root: Path) -> None:
    with started(root, TINY_LISTENER_DRAIN_DELAY="20", TINY_LISTENER_WORKERS="1") as server:
        assert is_healthy(root, server.admin_port)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not is_healthy(root, server.admin_port))
        assert request(server.port, "/user/Bob") == (200, b"Hello, Bob!")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_only_what_runs_is_installed(root: Path) -> None:
    (packages,) = (root / "opt/venv/lib").glob("python3.*/site-packages")
    names = {path.name.split("-")[0].lower().replace("_", "-") for path in packages.glob("*.dist-info")}
    assert {"tiny-listener", "uvloop", "httptools"} <= names
    assert not names & {"pip", "setuptools", "hatchling", "pytest", "locust", "mypy"}
    constraints = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    for path in packages.glob("*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").lower().replace("_", "-").rpartition("-")
        assert name == "tiny-listener" or f"{name}=={version}\n" in constraints
    size = sum(
        path.stat().st_size for path in (root / "opt/venv").rglob("*") if path.is_file() and not path.is_symlink()
    )
    assert size < 80 * 2**20, f"{size / 2**20:.0f} MiB"


def test_the_command_is_process_1() -> None:
    assert FINAL.command("ENTRYPOINT") == ["tiny-listener"]
    assert json.dumps(FINAL.command("CMD")) in DOCKERFILE.read_text()
    assert FINAL.all("STOPSIGNAL") in ([], ["SIGTERM"])
