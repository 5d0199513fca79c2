"""A README.md that a program and a person write together: the program rewrites its own front matter
and sections, and leaves all others as they are.

A section of the program's ends with a mark that holds the hash of its text. Where text and hash
differ a person has edited the section, and it stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import CardData

from ft_harness.errors import InputError, first_line
from ft_harness.storage import sha256_text
from ft_harness.storage.strict_files import parse_yaml_value

_MARK = re.compile(r"\n*<!-- ft-harness: written, ([0-9a-f]{12}) -->\s*\Z")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_HEADING = "## "
_DIGITS = 12


@dataclass(frozen=True)
class Section:
    """A part of a README.md: everything before the first heading of level 2 (`title` is ""), or one
    such heading with what follows it. `text` holds neither the heading nor a mark."""

    title: str
    text: str

    def render(self, mark: str = "") -> str:
        heading = f"{_HEADING}{self.title}\n\n" if self.title else ""
        return f"{heading}{self.text}{mark}"


@dataclass(frozen=True)
class Written:
    """A section as a README.md holds it; `is_ours` says that a program wrote it and nobody edited
    it."""

    section: Section
    is_ours: bool


def merge_readme(
    path: Path, metadata: Mapping[str, Any], sections: Sequence[Section]
) -> tuple[str, list[str]]:
    """(the new text of a README.md, titles of ours that stay as a person left them).

    Front matter of other keys is kept; `tags` of both are joined.

    Raises:
        InputError: the front matter that is there is no YAML mapping, or the file is no UTF-8.
    """
    known, body = _read(path)
    written = _split(body)
    edited = {each.section.title for each in written if not each.is_ours}
    fresh = {each.title: each for each in sections if each.title not in edited}
    merged = [_renew(each, fresh) for each in written if not each.is_ours or _is_in(each, fresh)]
    titles = [each.section.title for each in written if not each.is_ours or _is_in(each, fresh)]
    previous = ""
    for section in sections:
        if section.title not in titles:
            place = titles.index(previous) + 1 if previous in titles else 0
            titles.insert(place, section.title)
            merged.insert(place, section.render(_mark(section)))
        previous = section.title
    tags = list(dict.fromkeys([*_list(known.get("tags")), *_list(metadata.get("tags"))]))
    front = {**known, **metadata, **({"tags": tags} if tags else {})}
    kept = [each.title for each in sections if each.title in edited]
    data = CardData(**front).to_yaml(original_order=[*front])
    return f"---\n{data}\n---\n\n" + "\n\n".join(merged) + "\n", kept


def _is_in(written: Written, fresh: Mapping[str, Section]) -> bool:
    return written.section.title in fresh


def _renew(written: Written, fresh: Mapping[str, Section]) -> str:
    """The section as it was or, if it is ours, in its new form."""
    if not written.is_ours:
        return written.section.render()
    section = fresh[written.section.title]
    return section.render(_mark(section))


def _list(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _mark(section: Section) -> str:
    return f"\n\n<!-- ft-harness: written, {sha256_text(section.text.strip())[:_DIGITS]} -->"


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Front matter and body; both empty where there is no file."""
    if not path.is_file():
        return {}, ""
    try:
        content = path.read_text(encoding="utf-8-sig")
        found = REGEX_YAML_BLOCK.search(content)
        known = parse_yaml_value(found[2]) if found else None
        if not isinstance(known, dict | None):
            raise ValueError("the front matter is no mapping")
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: {first_line(error)}",
            "Markdown, with YAML between two lines --- at its start",
            "fix it, or rename the file to have it written again",
        ) from error
    return known or {}, content[found.end() :] if found else content


def _split(body: str) -> list[Written]:
    """The sections of a text, without those that hold nothing; headings in code are none."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    fence = ""
    for line in body.splitlines():
        opened = _FENCE.match(line)
        if opened and not fence:
            fence = opened[1]
        elif opened and line.strip().startswith(fence):
            fence = ""
        if line.startswith(_HEADING) and not fence:
            parts.append((line.removeprefix(_HEADING).strip(), []))
        else:
            parts[-1][1].append(line)
    return [
        _written(title, "\n".join(lines).strip())
        for title, lines in parts
        if title or "\n".join(lines).strip()
    ]


def _written(title: str, text: str) -> Written:
    mark = _MARK.search(text)
    plain = text[: mark.start()].strip() if mark else text
    is_ours = mark is not None and mark[1] == sha256_text(plain)[:_DIGITS]
    return Written(Section(title, plain), is_ours)
