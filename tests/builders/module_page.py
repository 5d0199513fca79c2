"""docs/modules.md: what each module says of itself. `python -m tests.builders.module_page` writes
it."""

from __future__ import annotations

import ast
from itertools import groupby
from pathlib import Path
from textwrap import fill

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "modules.md"
_SOURCE = ROOT / "src" / "ft_harness"
_TOP = """# Modules

The first paragraph of each module's docstring, wing by wing, to find where something is. Which wing
may use which is in [architecture](architecture.md). Made by `python -m tests.builders.module_page`;
a test compares the two.
"""


def _first_paragraph(module: Path) -> str:
    found = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return " ".join(found.partition("\n\n")[0].split())


def _wing(module: Path) -> str:
    inner = module.relative_to(_SOURCE).parts
    return inner[0] if len(inner) > 1 else "ft_harness"


def make_page() -> str:
    modules = sorted(_SOURCE.rglob("*.py"), key=lambda module: (_wing(module), module))
    parts = [_TOP]
    for wing, inside in groupby(modules, _wing):
        lines = [
            fill(
                f"- `{module.relative_to(_SOURCE)}`: {_first_paragraph(module)}",
                width=100,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            for module in inside
        ]
        parts.append(f"## {wing}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
