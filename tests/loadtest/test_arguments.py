"""Numbers that make no sense, given to each command under loadtest/: one line that says what is right, exit code 2."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys

import pytest
from arguments import Arguments, Decimal, Listed, Number
from hypothesis import given
from hypothesis import strategies as st

from tests.server import ROOT

FOLDER = ROOT / "loadtest"
COMMANDS = sorted(path.name for path in FOLDER.glob("*.py") if "\nfrom arguments import " in path.read_text())
DRIVER = """
import argparse, contextlib, io, json, runpy, sys
import arguments

path, found = sys.argv[1], []
# The benchmarks' environment has this package; to read arguments it is not needed.
sys.modules["hdrh.histogram"] = argparse.Namespace(HdrHistogram=None)

def run(*args):
    sys.argv = [path, *args]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            return [list(args), end.code, err.getvalue()]
    return [list(args), None, err.getvalue()]

class Known(Exception):
    pass

def look(self, *args):
    raise Known(self)

parse = arguments.Arguments.parse_args
arguments.Arguments.parse_args = look
try:
    run()
except Known as known:
    parser = known.args[0]
arguments.Arguments.parse_args = parse
positionals = []
for action in parser._actions:
    if not isinstance(action.type, (arguments.Number, arguments.Decimal, arguments.Listed)):
        assert action.type not in (int, float)
        continue
    number = getattr(action.type, "number", action.type)
    bad = ["", "x", "nan", "inf", "-inf", "1e99", "0x10", "9" * 5000, str(number.least - 1), str(number.most + 1)]
    if isinstance(number, arguments.Number):
        bad += ["1.5", "1e1"]
    for good in (number.least, number.most):
        assert action.type(str(good)) in (good, [good])
    for text in bad:
        if action.option_strings:
            found.append([*run(f"{action.option_strings[-1]}={text}"), str(number)])
        else:
            found.append([*run(*positionals, "--", text), str(number)])
    if not action.option_strings:
        positionals.append(str(number.least))
print(json.dumps(found))
"""


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "locustfile.py"])
def test_numbers_that_make_no_sense(command: str) -> None:
    path = FOLDER / command
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=FOLDER,
        env={"PATH": "", "PYTHONPATH": str(FOLDER)},
    )
    tried = json.loads(done.stdout)
    assert bool(tried) is ("type=" in path.read_text())
    for args, code, err, right in tried:
        assert (code, err.count("\n")) == (2, 1), (args, err[-500:])
        assert err.startswith(f"{command}: error: ")
        assert right in err


@pytest.mark.parametrize("option", ["--tcp-port", "--progress"])
@pytest.mark.parametrize("text", ["-1", "nan", "x", "1e99"])
def test_options_of_the_locustfile(option: str, text: str) -> None:
    if importlib.util.find_spec("locust") is None:  # to import it changes this process
        pytest.skip("locust is not installed")
    command = [sys.executable, "-m", "locust", "-f", str(FOLDER / "locustfile.py"), "--headless", f"{option}={text}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"argument {option}: {text!r} is not a " in done.stderr.splitlines()[-1]


def test_every_command_reads_its_arguments_so() -> None:
    for path in FOLDER.glob("*.py"):
        text = path.read_text()
        assert "ArgumentParser(" not in text or path.name == "arguments.py"
        assert "int(sys.argv" not in text
        assert "float(sys.argv" not in text
    assert len(COMMANDS) >= 15


def test_a_number_without_bounds_is_no_argument() -> None:
    parser = Arguments(None)
    for kind in (int, float):
        with pytest.raises(TypeError, match="a number has bounds"):
            parser.add_argument("--number", type=kind)


@given(st.integers(), st.integers(0, 1000), st.integers(0, 1000))
def test_whole_numbers(value: int, least: int, size: int) -> None:
    number = Number(least, least + size)
    if least <= value <= least + size:
        assert number(str(value)) == value
        assert Listed(number)(f"{value},{value}") == [value, value]
    else:
        with pytest.raises(argparse.ArgumentTypeError, match=f"is not a whole number from {least:,} to"):
            number(str(value))
        with pytest.raises(argparse.ArgumentTypeError):
            Listed(number)(f"{least},{value}")


@given(st.floats() | st.text(max_size=5))
def test_numbers_with_a_fraction(value: float | str) -> None:
    text = str(value)
    try:
        expected = 0.5 <= float(text) <= 1e6
    except ValueError:
        expected = False
    if expected:
        assert math.isclose(Decimal(0.5, 1e6)(text), float(text))
    else:
        with pytest.raises(argparse.ArgumentTypeError, match=r"is not a number from 0\.5 to 1,000,000"):
            Decimal(0.5, 1e6)(text)


def test_what_is_unknown() -> None:
    for command in ("run.py", "chaos.py", "latency.py", "bench_http.py"):
        for option in ("--servers", "--scenarios"):
            if option in (FOLDER / command).read_text():
                wrong = [sys.executable, str(FOLDER / command), option, "nothing"]
                done = subprocess.run(wrong, capture_output=True, text=True, check=False)
                assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
                assert "unknown: nothing; there are: " in done.stderr
