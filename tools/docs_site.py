"""The pages of the documentation's site: `python tools/docs_site.py build/docs`, then mkdocs.

docs/ and README.md as they are, one page per command from its own help, one page per wing from its
docstrings. Links that lead out of the pages become their text.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main
from typer.core import TyperCommand, TyperGroup

from ft_harness import cli

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
_WIDTH = 96
_FOLDERS = ("decisions", "demo", "experiments", "metrics", "real-data", "tutorials")
_WINGS = (
    *("notebook.api", "notebook.results", "comparison.study", "records", "metrics", "stats"),
    *("publish", "recipe", "report"),
)


def commands(
    group: TyperGroup | None = None, prefix: str = "ft-harness"
) -> Iterator[tuple[str, TyperCommand]]:
    """(the words of a command, the command), groups opened, in alphabetical order."""
    root = group or typer.main.get_command(cli.app)
    assert isinstance(root, TyperGroup)
    for name, command in sorted(root.commands.items()):
        words = f"{prefix} {name}"
        if isinstance(command, TyperGroup):
            yield from commands(command, words)
        else:
            assert isinstance(command, TyperCommand)
            yield words, command


def help_of(words: str, command: TyperCommand) -> str:
    """What `WORDS --help` prints, as a page."""
    context = command.context_class(
        command, info_name=words, max_content_width=_WIDTH, terminal_width=_WIDTH
    )
    return f"# {words}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"


def stem_of(words: str) -> str:
    return words.removeprefix("ft-harness ").replace(" ", "-")


def write_pages(target: Path) -> None:
    """All pages, into an empty folder."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in sorted((ROOT / "docs").glob("*.md")):
        _copy(path, target / path.name, target)
    for folder in _FOLDERS:
        for path in sorted((ROOT / "docs" / folder).rglob("*")):
            if path.is_file():
                _copy(path, target / path.relative_to(ROOT / "docs"), target)
    _copy(ROOT / "docs" / "site.css", target / "site.css", target)
    _copy(ROOT / "README.md", target / "index.md", target)
    _copy(ROOT / "CHANGELOG.md", target / "changes.md", target)
    _write_commands(target / "commands")
    _write_wings(target / "api")


def _copy(source: Path, place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix != ".md":
        shutil.copy(source, place)
        return
    text = source.read_text(encoding="utf-8")
    place.write_text(_relink(text, source, place, target), encoding="utf-8")


def _relink(text: str, source: Path, place: Path, target: Path) -> str:
    """The text with links that hold among the pages."""

    def replace(found: re.Match[str]) -> str:
        picture, words, address, anchor = found[1], found[2], found[3], found[4] or ""
        if not address or "://" in address:
            return found[0]
        led = (source.parent / address).resolve()
        docs = ROOT / "docs"
        if led.is_file() and led.is_relative_to(docs):
            depth = len(place.parent.relative_to(target).parts)
            there = "../" * depth + led.relative_to(docs).as_posix()
            return f"{picture}[{words}]({there}{anchor})"
        return words if picture == "" else ""

    return _LINK.sub(replace, text)


def _write_commands(folder: Path) -> None:
    folder.mkdir()
    lines = ["# Commands", ""]
    for words, command in commands():
        stem = stem_of(words)
        (folder / f"{stem}.md").write_text(help_of(words, command), encoding="utf-8")
        first = " ".join((command.help or "").split())
        lines.append(f"- [{words}]({stem}.md): {first}")
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_wings(folder: Path) -> None:
    folder.mkdir()
    lines = ["# Python", "", "The public names of the package are those of `notebook`.", ""]
    for wing in _WINGS:
        page = f"# ft_harness.{wing}\n\n::: ft_harness.{wing}\n"
        (folder / f"{wing}.md").write_text(page, encoding="utf-8")
        lines.append(f"- [ft_harness.{wing}]({wing}.md)")
    (folder / "index.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
