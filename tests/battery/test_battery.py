"""docs/battery.md lists every case of the battery once, each with a test that is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = [*map(str, range(1, 61)), *(f"K{number}" for number in range(1, 11))]
CODES = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "70", "130", "141", "143"}


def table() -> list[list[str]]:
    """[case, fault, what the user sees, exit codes, test] of each row."""
    lines = (ROOT / "docs/battery.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in rows if re.fullmatch(r"K?\d+", row[0])]


@cache
def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_case_is_listed_once():
    assert [row[0] for row in table()] == CASES


@pytest.mark.parametrize("row", table(), ids=lambda row: row[0])
def test_a_case_has_a_test_and_says_what_the_user_sees(row: list[str]):
    _, fault, seen, codes, test = row
    assert fault
    assert seen
    assert set(codes.split(", ")) <= CODES
    file, _, name = test.strip("`").partition("::")
    assert name in functions(ROOT / "tests" / file)
