"""The pages of the documentation: their links lead somewhere, and the site has a page for
everything."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ft_harness
from tools import docs_site

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [
    REPOSITORY / "README.md",
    *sorted(DOCS.glob("*.md")),
    *sorted((DOCS / "tutorials").glob("*.md")),
    *sorted((DOCS / "metrics").glob("*.md")),
]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    found = re.findall(r"\]\(([^)\s#]+)", page.read_text(encoding="utf-8"))
    links = [link for link in found if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_public_function_is_in_the_page():
    text = (DOCS / "notebook.md").read_text(encoding="utf-8")
    assert [name for name in ft_harness.__all__ if f"`{name}(" not in text] == []


def test_the_site_has_a_page_for_everything(tmp_path: Path):
    target = tmp_path / "docs"
    docs_site.write_pages(target)
    commands = {docs_site.stem_of(words) for words, _ in docs_site.commands()}
    assert {path.stem for path in (target / "commands").glob("*.md")} == commands | {"index"}
    assert "--set" in (target / "commands" / "run.md").read_text(encoding="utf-8")
    nav = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"([\w/-]+\.md)", nav.partition("nav:")[2]))
    assert [name for name in listed if not (target / name).is_file()] == []
    wanted = {path.name for path in DOCS.glob("*.md")}
    wanted |= {f"tutorials/{path.name}" for path in (DOCS / "tutorials").glob("*.md")}
    assert wanted - listed == set()
    for path in target.rglob("*.md"):
        links = re.findall(r"\]\(([^)\s#]+)", path.read_text(encoding="utf-8"))
        broken = [each for each in links if "://" not in each and not (path.parent / each).exists()]
        assert broken == [], path
