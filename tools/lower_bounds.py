"""The smallest releases that pyproject.toml allows of what ft-harness needs, as pip's constraints.

    python tools/lower_bounds.py >oldest.txt

Of the tools that only development needs any release will do.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_DEVELOPMENT = ("dev", "docs")


def lower_bounds() -> list[str]:
    """`name==version` of each requirement, of the extras too; torch is pinned by the Makefile."""
    project = tomllib.loads(_PROJECT.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].items()
    wanted = [each for name, group in extras if name not in _DEVELOPMENT for each in group]
    bounds = [re.match(r"([\w-]+)>=([\w.]+)", text) for text in [*project["dependencies"], *wanted]]
    return [f"{bound[1]}=={bound[2]}" for bound in bounds if bound and bound[1] != "torch"]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lower_bounds()) + "\n")
