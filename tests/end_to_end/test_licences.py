"""What is installed with ft-harness may be used by programs under any licence, and is listed."""

from __future__ import annotations

import re

import pytest

from tests.end_to_end.test_house import PACKAGE
from tools import licences

ROOT = PACKAGE.parents[1]


def is_strict(licence: str) -> bool:
    """GPL and AGPL, where nothing else can be chosen; the LGPL asks nothing of a program that
    imports a package."""
    return all(
        re.search(r"(?<!L)GPL|(?<!Lesser )General Public|Affero", choice)
        for choice in licence.split(" OR ")
    )


@pytest.mark.parametrize(
    ("licence", "strict"),
    [
        ("GPL-3.0-only", True), ("AGPL-3.0", True), ("GNU Affero General Public License v3", True),
        ("GNU General Public License v3 (GPLv3)", True), ("MIT OR GPL-2.0", False), ("MIT", False),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v2 or later (LGPLv2+)", False),
    ],
)  # fmt: skip
def test_what_is_strict(licence: str, strict: bool):
    assert is_strict(licence) is strict


def test_no_dependency_asks_the_same_of_those_who_use_it():
    found = {name: licences.licence(package) for name, package in licences.needed().items()}
    assert len(found) > 50
    assert {name: licence for name, licence in found.items() if is_strict(licence)} == {}
    assert "not stated" not in found.values()


def test_every_dependency_is_listed():
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| ([\w.-]+) \|", page, re.MULTILINE))
    assert licences.needed().keys() <= listed
