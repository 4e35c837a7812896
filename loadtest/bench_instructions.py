"""How many instructions a request costs: `python loadtest/bench_instructions.py [--before TREE]`.

Prints a Markdown table: user-space instructions per request, counted by callgrind, with sixteen connections in each
loop iteration and metrics on. They hardly depend on what else the machine does. With `--before`, another checkout is
counted too, and the ratio of the two shown. It needs valgrind and a C compiler.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import Arguments

ROOT = Path(__file__).parent.parent
DRIVER = ROOT / "loadtest" / "instructions" / "driver.py"
COUNTER = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; CALLGRIND_ZERO_STATS; }
void stop(const char *name) { CALLGRIND_DUMP_STATS_AT(name); CALLGRIND_STOP_INSTRUMENTATION; }
"""


def count(tree: Path) -> dict[str, float]:
    """Return the instructions per request by scenario.

    :param tree: a checkout
    """
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "counter.so"
        source = Path(folder) / "counter.c"
        source.write_text(COUNTER)
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        subprocess.run(
            [*valgrind, sys.executable, DRIVER, library, tree],
            env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": ""},
            stderr=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        found = {}
        for part in Path(folder).glob("out.*"):
            text = part.read_text()
            named = re.search(r"^desc: Trigger: Client Request: (.*)\|(\d+)$", text, re.MULTILINE)
            total = re.search(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)
            if named is not None and total is not None:
                found[named[1]] = int(total[1]) / int(named[2])
    return found


def main() -> None:
    """Count, and print the table."""
    parser = Arguments(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", metavar="TREE", help="another checkout to count")
    options = parser.parse_args()
    if options.before is not None and not Path(options.before, "tiny_listener").is_dir():
        parser.error(f"--before {options.before}: it is no checkout, it has no folder tiny_listener")
    for program in ("valgrind", "cc"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed: make tools installs it")
    after = count(ROOT)
    hello = after["hello"]
    if options.before is None:
        print("| instructions a request | | of hello |\n|---|---|---|")
        for name, instructions in sorted(after.items(), key=lambda one: one[1]):
            print(f"| {name} | {instructions / 1000:.1f} k | {instructions / hello:.2f} |")
        return
    before = count(Path(options.before).resolve())
    print("| instructions a request | before | after | ratio |\n|---|---|---|---|")
    for name, instructions in sorted(after.items(), key=lambda one: one[1]):
        was = before[name]
        print(f"| {name} | {was / 1000:.1f} k | {instructions / 1000:.1f} k | {instructions / was:.2f} |")


if __name__ == "__main__":
    main()
