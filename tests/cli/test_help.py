"""What a user reads before the first run: help, examples, fields, versions, refusals."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from ft_harness.recipe import load_recipe
from ft_harness.recipe.fields import list_fields
from tests.builders.command import assert_three_lines
from tests.builders.command_page import PAGE, list_commands, make_page
from tests.recipe.test_recipe import write

_OPTIONAL = (
    "sweep.",
    "train.preference.",
    "eval.server.",
)  # sections whose presence says something
COMMANDS = list(list_commands())
DOCS = PAGE.parent


def ids(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 40 else ""


def test_the_page_of_commands_is_what_help_prints() -> None:
    assert len(COMMANDS) > 15
    assert PAGE.read_text(encoding="utf-8") == make_page(), (
        "python -m tests.builders.command_page writes it anew"
    )


@pytest.mark.parametrize(("name", "command", "text"), COMMANDS, ids=ids)
def test_every_command_has_an_example_and_its_page(name: str, command: Any, text: str) -> None:
    if hasattr(command, "commands"):  # a group; its commands have them
        return
    example = re.search(r"\n  Example:\n    .+(?:\n    .+)*\n\n  More: docs/(\S+)\s*$", text)
    assert example, text
    assert name in example[0]
    assert (DOCS / example[1]).is_file()


@pytest.mark.parametrize(("name", "command", "text"), COMMANDS, ids=ids)
def test_no_summary_is_cut(name: str, command: Any, text: str) -> None:
    assert max(map(len, text.splitlines())) <= 80
    listed = text.partition("Commands:")[2].partition("\n\n")[0]
    assert "..." not in listed
    for line in listed.strip().splitlines():
        assert line.endswith("."), line


def test_the_version(ft: Any) -> None:
    code, out, _ = ft("--version")
    assert (code, out) == (0, f"ft-harness {version('ft-harness')}\n")


# --- fields


def test_fields_are_listed_with_type_default_and_a_line(ft: Any) -> None:
    code, out, _ = ft("fields", "train")
    assert code == 0
    lines = out.splitlines()
    place = lines.index("train.learning_rate=0.001  (number above 0)")
    assert lines[place + 1] == "    peak learning rate"
    assert "train.max_steps=null  (integer from 1 | null)" in lines
    assert "train.eval_strategy=epoch  (no | epoch | steps)" in lines
    _, every, _ = ft("fields")
    assert "task.name=  (text)\n" in every
    assert "eval.splits=[train, validation, test]  (list of train | validation | test)" in every
    assert out in every
    code, _, err = ft("fields", "trian")
    assert code == 2
    assert_three_lines(err, "did you mean train?")
    words = " ".join(ft("run", "--help")[1].split())
    assert "ft-harness fields" in words.replace("ft- harness", "ft-harness")


def test_every_field_is_described_and_its_default_is_one_that_set_takes(tmp_path: Path) -> None:
    found = list_fields()
    assert len(found) > 80
    assert [each.name for each in found if not each.description] == []
    path = write(tmp_path)
    plain = load_recipe(path)
    settings = [
        f"{each.name}={each.default}"
        for each in found
        if each.default is not None and not each.name.startswith(_OPTIONAL)
    ]
    assert load_recipe(path, settings).resolved() == plain.resolved()


# --- numbers that can't be


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("power --n 300 --base 0.6 --effect 5", "at most 0.4"),
        ("power --n 300 --base 0.6 --effect 0.41", "acc of the base is 60.0 %"),
        ("power --n 300 --base 0.6 --effect nan", "--effect is nan"),
        ("power --n 300 --base 0.6 --effect -0.1", "--effect is -0.1"),
        ("power --n 300 --base 60", "--base is 60"),
        ("power --n 300 --base nan", "--base is nan"),
        ("power --n -3 --base 0.6", "--n is -3"),
        ("power --n 300 --base 0.6 --correlation 1", "--correlation is 1"),
        ("run x --dry-run=inf", "inf is not a finite number"),
        ("run x --dry-run=-1", "--dry-run is -1\nexpected: a number of at least 0\n"),
        ("run x --seeds 1", "--seeds is 1\nexpected: a number of at least 2\n"),
        ("run x --seeds two", "--seeds is two\nexpected: a whole number\n"),
        ("sweep x --max-hours inf", "inf is not a finite number"),
        ("sweep x --max-hours soon", "--max-hours is soon\nexpected: a number\n"),
        ("tasks show x --count 0", "--count is 0\nexpected: a number of at least 1\n"),
        ("report x --explorer 20001", "expected: a number of at most 20,000\n"),
        ("power --n many", "--n is many\nexpected: a whole number\n"),
        ("power --n 3.5", "--n is 3.5\nexpected: a whole number\n"),
    ],
)
def test_a_number_that_cannot_be_is_refused(ft: Any, command: str, words: str) -> None:
    code, out, err = ft(*command.split())
    assert (code, out) == (2, "")
    assert words in err


def test_room_for_an_improvement_ends_at_a_perfect_score(ft: Any) -> None:
    assert ft("power", "--n", "300", "--base", "0.6", "--effect", "0.4")[0] == 0
