"""Reads a Dockerfile: enough of it to do here what an engine would."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    """One of its images.

    :ivar base: what it begins with
    :ivar steps: instructions with what follows them, in their order
    """

    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """What follows each instruction of this name."""
        return [rest for name, rest in self.steps if name == instruction]

    def command(self, instruction: str) -> list[str]:
        """The words of the one ENTRYPOINT, CMD or HEALTHCHECK; a list, for otherwise a shell is process 1."""
        (rest,) = self.all(instruction)
        words: list[str] = json.loads(rest[rest.index("[") :])
        return words

    def environment(self) -> dict[str, str]:
        """What ENV sets."""
        return dict(pair.split("=", 1) for rest in self.all("ENV") for pair in shlex.split(rest))

    def copies(self) -> list[tuple[list[str], str]]:
        """Sources and destination of each COPY from the context."""
        words = [shlex.split(rest) for rest in self.all("COPY") if not rest.startswith("--from")]
        return [(sources, target) for *sources, target in words]


def stages(path: Path) -> list[Stage]:
    """Return the stages.

    :raises ValueError: a line begins with no instruction
    """
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    found: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        name, _, rest = line.partition(" ")
        if not name.isupper():
            raise ValueError(f"{line!r} begins with no instruction")
        if name == "FROM":
            found.append(Stage(rest.split()[0]))
        else:
            found[-1].steps.append((name, rest.strip()))
    return found
