"""Licences of everything that ft-harness needs at run time, as docs/licences.md.

    python tools/licences.py >docs/licences.md

What is needed is what the installed packages say of each other, without extras; a licence is what
a package says of itself, by its expression, its classifiers, or the first line of its own text.
"""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_HEAD = """# Licences of dependencies

The packages that `pip install ft-harness` installs, with the licence that each of them states. This
page is written by `make licences`; a test fails if a package has a licence that extends to programs
that use it (GPL, AGPL).

| package | licence |
|---|---|
"""


def needed(name: str = "ft-harness") -> dict[str, Distribution]:
    """Name -> package, of all that this one needs, itself left out."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        package = canonicalize_name(waiting.pop())
        if package in found:
            continue
        try:
            found[package] = distribution(package)
        except PackageNotFoundError:  # of another system or Python
            continue
        for text in found[package].requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    del found[canonicalize_name(name)]
    return dict(sorted(found.items()))


def licence(package: Distribution) -> str:
    """What a package says of its licence, in a line."""
    metadata: Any = package.metadata
    classifiers = [
        each.rpartition(" :: ")[2]
        for each in metadata.get_all("Classifier") or ()
        if each.startswith("License ::") and not each.endswith("OSI Approved")
    ]
    expression, free = (
        (metadata.get_all(name) or [""])[0] for name in ("License-Expression", "License")
    )
    text = (expression or ", ".join(classifiers) or free or "not stated").strip().splitlines()
    return text[0][:80].rstrip()


if __name__ == "__main__":
    rows = "".join(f"| {name} | {licence(package)} |\n" for name, package in needed().items())
    sys.stdout.write(_HEAD + rows)
