"""What mkdocs needs beside the pages: README.md as the first one, and the repository's files that pages link to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
COPIES = "files"
"""The folder of the site in which the repository's files are, under their own paths."""
README = "index.md"


def on_files(files: Files, config: Any) -> Files:
    """Add what is not in docs/."""
    pages = [file for file in files if file.src_uri.endswith(".md")]
    linked: set[Path] = set()
    for text, base in [*((page.content_string, ROOT / "docs") for page in pages), (_readme(), ROOT)]:
        linked |= {path for link in LINK.finditer(text) if (path := _outside(link, base)) is not None}
    for path in sorted(linked):
        if path.is_file():
            files.append(File.generated(config, f"{COPIES}/{path.relative_to(ROOT)}", abs_src_path=str(path)))
    files.append(File.generated(config, README, content=_readme()))
    return files


def on_page_markdown(markdown: str, page: Any, **_rest: Any) -> str:
    """Let links lead to where things are in the site."""
    base = ROOT if page.file.src_uri == README else ROOT / "docs"

    def moved(link: re.Match[str]) -> str:
        text, target, anchor = link.groups()
        path = (base / target).resolve()
        if path == ROOT / "README.md":
            return f"[{text}]({README}{anchor or ''})"
        if path.parent == ROOT / "docs" and path.suffix == ".md":
            return f"[{text}]({path.name}{anchor or ''})"
        if path.is_relative_to(ROOT / "docs"):
            return f"[{text}]({path.relative_to(ROOT / 'docs')}{anchor or ''})"
        if path.is_file() and path.is_relative_to(ROOT):
            return f"[{text}]({COPIES}/{path.relative_to(ROOT)})"
        return text if path.is_dir() else link[0]  # of what is nowhere mkdocs complains

    return LINK.sub(moved, markdown)


def _readme() -> str:
    return (ROOT / "README.md").read_text()


def _outside(link: re.Match[str], base: Path) -> Path | None:
    path = (base / link[2]).resolve()
    inside = path.is_relative_to(ROOT / "docs") or path == ROOT / "README.md"
    return None if inside or not path.is_relative_to(ROOT) else path
