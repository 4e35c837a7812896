"""Every command of README and docs is run, and prints what is shown; one that is not run says why not.

A comment above a block says what is to be known of it:

- `<!-- not run: needs a cluster -->`: why it cannot run in CI; its options are checked all the same
- `<!-- held by: tests/e2e/test_x.py::test_y -->`: the test that holds what the block shows
- `<!-- vary: pids and times -->`: numbers of four digits and more, fractions, seconds and MiB differ from run to run
- `<!-- before: COMMAND -->`: what runs before it, such as the server that a reader of the page has
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.docs.pages import ALL_PAGES, PAGES, Block, Session, blocks
from tests.server import ROOT, command
from tiny_listener.cli.ctl import command as ctl
from tiny_listener.cli.events.publish import command as publish
from tiny_listener.cli.main import command as main

BLOCKS = [block for page in PAGES for block in blocks(page)]
RUN = {"console", "shell"}
PYTHON = {"python"}
"""Compiled by test_python_blocks.py."""
PROGRAMS = {"curl", "openssl", "promtool", "haproxy", "systemd-analyze", "ss"}
"""That `make tools` installs."""
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def rule_file(text: str) -> str:
    """Return a file of rules with the expressions of a block: one goes on in lines that are indented."""
    expressions = re.split(r"\n+(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    rules = [{"record": f"shown:{number}", "expr": one} for number, one in enumerate(expressions)]
    return str(yaml.safe_dump({"groups": [{"name": "shown", "rules": rules}]}))


def promtool(*args: str | Path) -> None:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def parse_yaml(text: str, folder: Path) -> None:
    """Read YAML; what is of Prometheus's configuration is checked by promtool too."""
    assert yaml.safe_load(text)
    if "scrape_configs" in text:
        (folder / "prometheus.yml").write_text(text)
        promtool("check", "config", "--syntax-only", folder / "prometheus.yml")


def parse_promql(text: str, folder: Path) -> None:
    (folder / "rules.yml").write_text(rule_file(text))
    promtool("check", "rules", folder / "rules.yml")


def parse_logrotate(text: str, folder: Path) -> None:
    (folder / "web.log").write_text("here\n")
    (folder / "rotated").write_text(re.sub(r"^/\S+", str(folder / "web.log"), text))
    done = subprocess.run(
        ["logrotate", "--debug", "--state", folder / "state", folder / "rotated"],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "error" not in done.stderr, done.stderr


PARSERS: dict[str, Callable[[str, Path], object]] = {
    "yaml": parse_yaml,
    "promql": parse_promql,
    "logrotate": parse_logrotate,
    "json": lambda text, _: json.loads(text),
    "toml": lambda text, _: tomllib.loads(text),
    "ini": lambda text, _: configparser.ConfigParser(strict=False).read_string(text),
}
PARSED_BY = {"yaml": "promtool", "promql": "promtool", "logrotate": "logrotate"}


def where(block: Block) -> str:
    return f"{block.page.relative_to(ROOT)}:{block.line}"


@pytest.mark.parametrize("block", BLOCKS, ids=where)
def test_each_block_is_run_or_parsed_or_says_why_not(block: Block) -> None:
    if "not run" in block.marks:
        assert len(block.marks["not run"].split()) >= 2
    elif "held by" in block.marks:
        path, _, function = block.marks["held by"].partition("::")
        tree = ast.parse((ROOT / path).read_text())
        assert function in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    else:
        is_held = block.is_drawn or block.language in {*RUN, *PYTHON, *PARSERS}
        assert is_held, f"{where(block)} is neither run nor marked"
        if block.language == "console":
            assert block.text.startswith("$ ")


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_blocks_have_fences(page: Path) -> None:
    """An indented block has no place for its language, and no test finds it."""
    is_fenced = was_blank = is_list = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if re.match(r" *```", line):
            is_fenced = not is_fenced
        elif not is_fenced and line.strip():
            is_list = bool(re.match(r" *([-*]|\d+\.) ", line)) or (is_list and line.startswith(" "))
            assert is_list or not (was_blank and line.startswith("    ")), f"{page.name}:{number}: {line}"
        was_blank = not line.strip()
    assert not is_fenced


def needs(page: Path) -> list[pytest.MarkDecorator]:
    """Return what has to be installed for the commands of a page."""
    words = {word for block in blocks(page) for one, _ in block.commands() for word in re.findall(r"[\w-]+", one)}
    return [pytest.mark.needs(program) for program in sorted(PROGRAMS & words)]


def is_run(block: Block) -> bool:
    """Whether a session types what the block shows."""
    return block.language in RUN and not {"not run", "held by"} & block.marks.keys()


SESSIONS = [
    pytest.param(page, marks=needs(page), id=page.name)
    for page in PAGES
    if page.name != "tutorial.md" and any(map(is_run, blocks(page)))
]


@pytest.mark.e2e
@pytest.mark.parametrize("page", SESSIONS)
def test_what_a_page_shows_was_printed(page: Path, tmp_path: Path) -> None:
    session = Session(tmp_path)
    try:
        for block in blocks(page):
            session.read(block)
    finally:
        session.close()
    assert session.typed


CONFIGURED = [
    pytest.param(block, marks=[pytest.mark.needs(PARSED_BY[block.language])] if block.language in PARSED_BY else [])
    for block in BLOCKS
    if block.language in PARSERS and not {"not run", "held by"} & block.marks.keys()
]


@pytest.mark.parametrize("block", CONFIGURED, ids=where)
def test_configuration_is_read_by_what_it_is_for(block: Block, tmp_path: Path) -> None:
    PARSERS[block.language](block.text, tmp_path)


# --- what a command line says, whether it is run or not -------------------------------------------


def lines(page: Path) -> Iterator[str]:
    """Yield the command lines that a page names: in its blocks and within its text."""
    for block in blocks(page):
        yield from (one for one, _ in block.commands())
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from SPAN.findall(" ".join(paragraph.split()))


def named(program: str) -> list[tuple[str, str]]:
    """Return the command lines of a program, each with the page that names it."""
    found = set()
    for page in ALL_PAGES:
        for line in lines(page):
            start = rf"(?:^|[|(] *|taskset -c \S+ +|exec +|&& +|^# +|\b[A-Z_]+=\S+ +|/){program}(?=\s|$)"
            for match in re.finditer(start, line):
                rest = re.split(r" *(?:[|&;>#)]|2>| /dev/)", line[match.end() :])[0]
                found.add((page.name, rest.strip()))
    return sorted(found)


def words(rest: str) -> list[str]:
    """Return the arguments of a command line as a page has it: an ellipsis is whatever else there may be."""
    return [word for word in shlex.split(rest) if word not in {"...", "…"}]


@pytest.mark.parametrize(("page", "rest"), named("tiny-listener"))
def test_the_command_knows_the_options_that_are_named(page: str, rest: str) -> None:
    args = [word for word in words(rest) if not word.startswith("--check")]
    command = publish if args[:1] == ["publish"] else main
    context = click.Context(command, info_name="tiny-listener")
    values, _, _ = command.make_parser(context).parse_args([*args, "--"])
    by_name = {parameter.name: parameter for parameter in command.params}
    for name, value in values.items():
        kind: Any = by_name[name].type
        is_checked_here = isinstance(kind, (click.types.IntParamType, click.Choice))
        if is_checked_here and isinstance(value, str) and value != "N":
            kind.convert(value, by_name[name], context)


EXAMPLES = {path.stem for path in (ROOT / "examples").glob("*.py")}
ABSENT = re.compile(r"/|--(?:user|group|ssl|admin-token-file|fd|completion)\b|\.\.\.")
"""In a command line that names what is not here: a file, a user, a descriptor."""
TYPED = {one for block in BLOCKS if is_run(block) for one, _ in block.commands()}


def is_checked(rest: str) -> bool:
    """Whether a command line names an application that is here, and is not run by a session anyway."""
    app = re.search(r"(\w+):app$", rest)
    return bool(app and app[1] in EXAMPLES and not ABSENT.search(rest) and f"tiny-listener {rest}" not in TYPED)


CHECKED = sorted({rest for _, rest in named("tiny-listener") if is_checked(rest)})


@pytest.mark.parametrize("rest", CHECKED)
def test_the_command_takes_the_options_for_that_application(rest: str, tmp_path: Path) -> None:
    for program in (ROOT / "examples").glob("*.py"):
        shutil.copy(program, tmp_path)
    args = [word for word in words(re.sub(r"--pid-file \S+", "", rest)) if word not in {"--check", "--routes"}]
    done = command("--check", *args, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "rest"), named("tiny-listenerctl"))
def test_the_control_command_knows_what_is_named(page: str, rest: str) -> None:
    assert isinstance(ctl, click.Group)
    context = click.Context(ctl, info_name="tiny-listenerctl")
    values, left, _ = ctl.make_parser(context).parse_args(words(rest))
    if left:
        one = ctl.commands[left[0]]
        one.make_parser(click.Context(one, parent=context)).parse_args(left[1:])
    assert left or values or not rest


OPTIONS = {
    name
    for group in (ctl, *ctl.commands.values())
    for one in (main, group, *getattr(group, "commands", {}).values())
    for parameter in one.params
    for name in (*parameter.opts, *parameter.secondary_opts)
} | {"--help"}
OTHERS = {"--reuse-port", "--respawn-failed-workers", "--enable-feature", "--stop-timeout", "--init"}
"""Options of gunicorn, granian, Prometheus and Docker."""


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_options_that_stand_alone_are_there(page: Path) -> None:
    spans: Iterator[str] = lines(page)
    if page.name == "from-uvicorn.md":  # ours are in the last column
        cells = re.findall(r"\| ([^|\n]+) \|$", page.read_text(), re.MULTILINE)
        spans = (span for cell in cells for span in SPAN.findall(cell))
    named = {match[0] for span in spans if (match := re.match(r"--[a-z][a-z-]+", span))}
    assert named <= OPTIONS | OTHERS, sorted(named - OPTIONS - OTHERS)


@pytest.mark.parametrize(("page", "rest"), named("make"))
def test_make_has_the_target(page: str, rest: str) -> None:
    assert words(rest)[0] in TARGETS, f"{page} names make {rest}"


SCRIPT = re.compile(r"(?<!\S)python3? (loadtest/\w+\.py)([^|&;>#]*)")
SCRIPTS = sorted({match.groups() for page in ALL_PAGES for line in lines(page) for match in SCRIPT.finditer(line)})


@pytest.mark.parametrize(("script", "rest"), SCRIPTS)
def test_a_benchmark_knows_the_options_that_are_named(script: str, rest: str) -> None:
    args = words(rest)
    done = subprocess.run(
        [sys.executable, ROOT / script, *args, "--help"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    for word in args:
        if word.startswith("--"):
            assert word in done.stdout, f"{script} {rest}"
