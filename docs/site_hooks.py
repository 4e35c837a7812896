"""What mkdocs needs next to the pages: README.md as the first one, and the repository's files that pages link to."""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
         "ARCHITECTURE.md": "understand/architecture.md", "deploy/RUNBOOK.md": "operate/runbook.md"}  # fmt: skip
"""Pages that are elsewhere in the repository, and what they are called in the site."""
SOURCES = {page: ROOT / name for name, page in PAGES.items()}
LINK = re.compile(r"\[((?:!\[[^\]]*\])?[^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
COPIES = "files"
"""The folder of the site in which other files of the repository are, under their own paths."""


def on_files(files: Files, config: Any) -> Files:
    """Add what is not in docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text()))
    linked = {
        path
        for page in files
        if page.src_uri.endswith(".md")
        for link in LINK.finditer(page.content_string)
        if (path := _target(link[2], page.src_uri)).is_file() and not path.is_relative_to(DOCS)
    }
    for path in sorted(linked - set(SOURCES.values())):
        files.append(File.generated(config, _copy(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_rest: Any) -> str:
    """Let links and images lead to where things are in the site."""
    here = Path(page.file.src_uri).parent

    def moved(link: re.Match[str]) -> str:
        text, anchor = link[1], link[3] or ""
        path = _target(link[2], page.file.src_uri)
        if path in SOURCES.values():
            place = PAGES[str(path.relative_to(ROOT))]
        elif path.is_relative_to(DOCS):
            place = str(path.relative_to(DOCS))
        elif path.is_file():
            place = _copy(path)
        else:
            return text if path.is_dir() else link[0]  # of what is nowhere mkdocs complains
        return f"[{text}]({os.path.relpath(place, here)}{anchor})"

    return LINK.sub(moved, markdown)


def _target(link: str, page: str) -> Path:
    """Return what a link in a page leads to in the repository."""
    return (SOURCES.get(page, DOCS / page).parent / link).resolve()


def _copy(path: Path) -> str:
    return f"{COPIES}/{path.relative_to(ROOT)}".replace("/.", "/")  # mkdocs leaves out names with a dot
