"""The pages of the documentation, their fenced blocks, and a session at a shell that types what they show."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.server import ROOT, free_ports
from tests.waiting import wait_for

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "deploy" / "RUNBOOK.md"]
"""What users read; each block of these is run, held by something else, or says why not."""
ALL_PAGES = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
FENCE = re.compile(
    r"(?P<marks>(?:^ *<!-- [^\n]* -->\n)*)^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"<!-- (not run|held by|vary|before): ?(.*?) -->")
DRAWN = re.compile(r"<!-- drawn by docs/generate\.py -->\n.*?<!-- end -->\n", re.DOTALL)
READS = re.compile(r"curl -s[^|]*\||(?:cat|grep|tail|tiny-listenerctl status)\b")
"""Commands that change nothing: what they print may take a moment to be so."""
SERVES = re.compile(r"tiny-listener (?!--(?:check|routes|openapi)\b)[^|&;]*\Z")
"""A command that may go on: in a terminal of its own, with what it prints."""
ENDS = re.compile(r"\s*(#.*)?$")
END = "the end of what that printed"
VARIES = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\dT[\d:.]+(?:\+\d\d:\d\d|Z)|\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT)"
    r"|(?P<number>\d+\.(?!0\b)\d+(?:e-\d+)?(?!\.?\d)|\d{4,}|\d+(?= (?:s|ms|KiB|MiB)\b))"
    r"|(?P<blanks>  +)|(?P<hex>\b(?=[0-9a-f]*[a-f])[0-9a-f]{16,32}\b)"
)


class Block(NamedTuple):
    """A fenced block of a page.

    :ivar line: its number in the page
    :ivar marks: what the comments above it say, by their first words
    """

    page: Path
    line: int
    info: str
    text: str
    marks: dict[str, str]
    is_drawn: bool

    @property
    def language(self) -> str:
        """The first word of the info string."""
        return self.info.partition(" ")[0]

    @property
    def file(self) -> str | None:
        """The name of the file that the block is."""
        found = re.search(r'title="([^"]+)"', self.info)
        return found[1] if found else None

    def commands(self) -> Iterator[tuple[str, str]]:
        """Yield each command with what it printed."""
        if self.language == "console":
            for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                yield ENDS.sub("", command), output.strip("\n")
        elif self.language == "shell":
            for line in self.text.replace("\\\n", " ").splitlines():
                if command := ENDS.sub("", line):
                    yield command, ""


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text()
    drawn = [range(*match.span()) for match in DRAWN.finditer(text)]
    found = []
    for fence in FENCE.finditer(text):
        marks = {mark[1]: mark[2] for mark in MARK.finditer(fence["marks"])}
        inside = re.sub(rf"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        line = text.count("\n", 0, fence.start("info")) + 1
        is_drawn = any(fence.start() in one for one in drawn)
        found.append(Block(page, line, fence["info"].strip(), inside, marks, is_drawn))
    return found


def pattern(output: str, *, varies: bool = False) -> str:
    """Return what fits to an output in a page.

    Three dots are anything within a line, and any lines if they are a line.

    :param varies: whether pids, times, sizes and widths of columns differ from run to run
    """
    lines = []
    for line in output.splitlines(keepends=True):
        if line.strip() == "...":
            lines.append(r"(?:[^\n]*\n)*?" if line.endswith("\n") else r".*")
            continue
        at, parts = 0, []
        for token in VARIES.finditer(line) if varies else ():
            parts.append(re.escape(line[at : token.start()]))
            at = token.end()
            parts.append(r" +" if token["blanks"] else r"[^\n]*?" if token["date"] else r"[0-9a-f.e-]+")
        parts.append(re.escape(line[at:]))
        lines.append("".join(parts).replace(r"\.\.\.", r"[^\n]*"))
    return "".join(lines)


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


class Session:
    """Two terminals in one folder: one has the server that a page starts in the foreground, one all else.

    The folder has the programs of examples/. Ports of a page are replaced by free ones.

    :param folder: of the test
    :param level: how much servers log
    """

    def __init__(self, folder: Path, level: str = "info") -> None:
        self._folder = folder
        self._ports = dict(zip(("8000", "9464", "8025"), map(str, free_ports(3)), strict=True))
        self._run = tempfile.TemporaryDirectory(prefix="run")  # a socket's path has 108 bytes at most
        for program in (ROOT / "examples").glob("*.py"):
            shutil.copy(program, folder)
        for name in ("deploy", "loadtest"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".curlrc").write_text("silent\nmax-time = 50\n")
        self._env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "PYTHONDONTWRITEBYTECODE": "1",  # files change within a second here
            "PYTHONUNBUFFERED": "1",
            "CURL_HOME": str(folder),
            "XDG_RUNTIME_DIR": self._run.name,
            "TINY_LISTENER_PORT": self._ports["8000"],
            "TINY_LISTENER_ADMIN_PORT": self._ports["9464"],
            "TINY_LISTENER_LOG_LEVEL": level,
        }
        for variable in [name for name in self._env if name.startswith("PYTEST")]:
            del self._env[variable]
        self._server: subprocess.Popen[bytes] | None = None
        self._shell = Shell(folder, self._env)
        self.typed = 0

    def read(self, block: Block) -> None:
        """Do what a block shows, in the order of the page.

        :raises AssertionError: it does not do what the page shows
        """
        if "before" in block.marks:
            self.type(block.marks["before"], "", block)
        if "not run" in block.marks or "held by" in block.marks:
            return
        if block.file:
            file = self._folder / block.file
            file.parent.mkdir(exist_ok=True)
            file.write_text(self._here(block.text))
        for command, output in block.commands():
            self.type(self._here(command), self._here(output), block)
            self.typed += 1

    def type(self, command: str, output: str, block: Block) -> None:
        """Type a command and hold what it prints against the page."""
        expected = re.compile(pattern(output, varies="vary" in block.marks), re.DOTALL)
        shows_nothing = block.language == "shell"
        seen = ""

        def fits() -> bool:
            nonlocal seen
            seen = self._shell.type(command).replace("\r", "")
            return shows_nothing or expected.fullmatch(seen) is not None

        if SERVES.match(command):
            self._serve(command, expected, block)
            return
        if READS.match(command) and not shows_nothing:
            with contextlib.suppress(AssertionError):
                wait_for(fits)
        else:
            fits()
        right = shows_nothing or expected.fullmatch(seen)
        assert right, f"{block.page.name}:{block.line}: $ {command}\n{seen}\ninstead of\n{output}"
        if block.language == "shell":
            code = self._shell.type("echo $?") if not command.endswith("&") else "0"
            assert code == "0", f"{block.page.name}:{block.line}: $ {command} ended with code {code}:\n{seen}"
        if command.startswith("kill %"):
            self._shell.type("wait")
        elif command.startswith("tiny-listener ") and command.endswith("&"):
            ready = f"until curl -f http://127.0.0.1:{self._ports['9464']}/readyz >/dev/null; do sleep 0.05; done"
            assert self._shell.type(ready) == ""

    def close(self) -> None:
        """End whatever runs."""
        self._stop()
        self._shell.close()
        self._run.cleanup()

    def _here(self, text: str) -> str:
        """Return a text of the page with the ports of this session."""
        for shown, port in self._ports.items():
            text = re.sub(rf"(?<=[: ]){shown}\b", port, text)
        return text.replace("MODULE:ATTRIBUTE", "http_web:app")

    def _serve(self, command: str, expected: re.Pattern[str], block: Block) -> None:
        self._stop()
        log = self._folder / "the server's terminal"
        module = self._folder / (command.rpartition(" ")[2].partition(":")[0] + ".py")
        if module.is_file() and "HTTPListener" not in module.read_text():
            command = f"env -u TINY_LISTENER_PORT {command}"
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._env,
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

        def fits() -> bool:
            assert self._server is not None
            ended = self._server.poll() is not None
            seen = log.read_text().strip("\n")
            if ended:
                where = f"{block.page.name}:{block.line}"
                assert expected.fullmatch(seen), f"{where}: $ {command}\n{seen}\ninstead of\n{block.text}"
                return True
            return expected.match(seen) is not None and self._is_ready()

        try:
            wait_for(fits, what=f"{block.page.name}:{block.line}: $ {command}\nshows\n{block.text}")
        except BaseException:
            print(log.read_text())  # pytest shows it with the failure
            raise

    def _is_ready(self) -> bool:
        url = f"http://127.0.0.1:{self._ports['9464']}/readyz"
        return subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=False).returncode == 0

    def _stop(self) -> None:
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(35)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        self._server = None
