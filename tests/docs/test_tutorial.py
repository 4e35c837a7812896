"""The tutorial, typed word for word into a shell."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT, free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.needs("curl")]

PAGE = ROOT / "docs" / "use" / "tutorial.md"
BLOCK = re.compile(r'^```(python title="(?P<file>[^"]+)"|console)\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
END = "the end of what that printed"


class Shell:
    """A shell that stays, for its jobs and variables do."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc", "-m"], cwd=folder, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def type(self, command: str) -> str:
        """Run a command and return what it printed, but for the shell's own words about its jobs."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\necho; echo '{END}'\n".encode())
        self._process.stdin.flush()
        printed = b""
        deadline = time.monotonic() + 60
        while not printed.endswith(f"\n{END}\n".encode()):
            assert select.select([self._process.stdout], [], [], deadline - time.monotonic())[0], printed
            piece = os.read(self._process.stdout.fileno(), 65536)
            assert piece, printed
            printed += piece
        text = printed.decode().removesuffix(f"\n{END}\n")
        return re.sub(r"^(\[\d+\]|bash: (cannot set|no job)).*(\n|$)", "", text, flags=re.MULTILINE).strip("\n")

    def close(self) -> None:
        """End it with its jobs."""
        self._process.communicate(b"kill $(jobs -p) 2>/dev/null; wait; exit\n", timeout=40)


def steps() -> Iterator[tuple[str, str, str]]:
    """Yield ("file", name, text) and ("command", command, output), in the order of the page."""
    for block in BLOCK.finditer(PAGE.read_text()):
        if block["file"]:
            yield "file", block["file"], block["text"]
            continue
        for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield "command", command, output.strip("\n")


def expected(output: str) -> re.Pattern[str]:
    """Return what fits to an output in the page: three dots are anything within a line."""
    return re.compile(re.escape(output).replace(r"\.\.\.", r"[^\n]*") + r"\Z")


def test_the_tutorial(tmp_path: Path) -> None:
    port, admin = free_ports(2)
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONDONTWRITEBYTECODE": "1",  # files change within a second here
        "TINY_LISTENER_PORT": str(port),
        "TINY_LISTENER_ADMIN_PORT": str(admin),
        "TINY_LISTENER_LOG_LEVEL": "warning",
    }
    for variable in [name for name in env if name.startswith("PYTEST")]:
        del env[variable]
    (tmp_path / ".curlrc").write_text("silent\n")
    env["CURL_HOME"] = str(tmp_path)
    shell = Shell(tmp_path, env)
    typed = 0
    try:
        for kind, what, text in steps():
            if kind == "file":
                (tmp_path / what).write_text(text)
                continue
            command = what.replace(":8000", f":{port}").replace(":9464", f":{admin}")
            printed = shell.type(command)
            assert expected(text).match(printed), f"$ {what}\n{printed}\ninstead of\n{text}"
            if command.startswith("kill %"):
                shell.type("wait")
            elif command.endswith("&"):
                ready = f"until curl -f http://127.0.0.1:{admin}/readyz >/dev/null; do sleep 0.05; done"
                assert shell.type(ready) == ""
            typed += 1
    finally:
        shell.close()
    assert typed > 20
