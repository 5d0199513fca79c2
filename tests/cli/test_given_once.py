"""Nothing that is given is lost without a word: two values of one option, field or key."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.errors import ConfigError
from ft_harness.recipe import load_recipe
from ft_harness.sweep import make_request, read_grid
from tests.builders.command import assert_three_lines
from tests.recipe.test_recipe import write

NO_OPTIONS = {"seeds": None, "accepted": False}


@pytest.mark.parametrize(
    "arguments",
    [
        ["init-task", "x.csv", "--text", "a", "--label", "b", "--label", "c"],
        ["check", "x", "--out", "a", "--out", "b"],
        ["tasks", "list", "--include-path", "a", "--include-path=b"],
        ["run", "x", "--dry-run", "--dry-run=24"],
        ["run", "x", "--name", "a", "--name", "b"],
    ],
    ids=" ".join,
)
def test_an_option_given_twice_is_refused(ft, arguments: list[str]):
    code, _, err = ft(*arguments)
    assert code == 2
    assert_three_lines(err, " is given twice")


@pytest.mark.parametrize(
    ("settings", "both"),
    [
        (["train.seed=1", "train.seed=2"], "train.seed"),
        (["adapter=none", "adapter.r=4"], "adapter"),
        (["data.columns={text: [a]}", "data.columns.text=[b]"], "data.columns"),
        (["data.columns.text=[b]", "data.columns={text: [a]}"], "data.columns"),
    ],
)
def test_a_field_set_twice_is_refused(settings: list[str], both: str, tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_recipe(write(tmp_path), settings)
    assert caught.value.what == f"--set {settings[0]} and --set {settings[1]} both set {both}"


def test_the_same_setting_twice_says_nothing_else(tmp_path: Path):
    recipe = load_recipe(write(tmp_path), ["train.seed=3", "train.seed=3"])
    assert recipe.train.seed == 3
    settings = ["data.columns.text=[a]", "data.columns.label=[b]"]
    assert load_recipe(write(tmp_path), settings).data.columns == {"text": ["a"], "label": ["b"]}


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (["train.seed=1,2", "train.seed=3,4"], {}),
        (["train.seed=1,2"], {"seeds": 3}),
    ],
)
def test_a_field_that_varies_twice_is_refused(settings: list[str], options: dict, tmp_path: Path):
    request = make_request(write(tmp_path), None, settings, NO_OPTIONS | options)
    with pytest.raises(ConfigError, match=r"both (set|say)"):
        read_grid(request)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--set", "task.name=demo_nli"], "check demo_qa and --set task.name=demo_nli both set"),
        (
            ["--include-path", "a", "--set", "task.include_path=b"],
            "--include-path a and --set task.include_path=b both set task.include_path",
        ),
    ],
)
def test_a_task_that_is_checked_is_named_once(given: list[str], said: str, ft):
    code, _, err = ft("check", "demo_qa", *given)
    assert code == 2
    assert_three_lines(err, said)


def test_an_option_of_tasks_is_not_ignored_for_recipes(ft, tmp_path: Path):
    code, _, err = ft("check", write(tmp_path), "--include-path", "a")
    assert code == 2
    assert_three_lines(err, "--include-path a is for names of tasks", "--set task.include_path=a")
