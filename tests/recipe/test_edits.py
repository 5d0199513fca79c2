"""What `--set` changed, written into a recipe's file: one line per field, all others as they were."""

from __future__ import annotations

from pathlib import Path

import pytest

from ft_harness.recipe import keep_recipe, kept_settings, load_recipe, write_overrides
from ft_harness.recipe.edits import edit, write_recipe
from tests.recipe.test_recipe import RECIPE_FILE, write

COMMENTED = """# mine

task:
  name: demo_qa  # short answers
data: {}   # all of it
train:    # transformers' names
    learning_rate: 1e-3   # high
    # seed: 3
    num_train_epochs: 2
"""


def edited(tmp_path: Path, text: str, *settings: str) -> str:
    path = write(tmp_path, text)
    return edit(text, load_recipe(path, settings))


@pytest.mark.parametrize(
    ("setting", "old", "new"),
    [
        ("train.learning_rate=0.5", "learning_rate: 1e-3   # high", "learning_rate: 0.5   # high"),
        ("task.name=demo_nli", "name: demo_qa  # short", "name: demo_nli  # short"),
        (
            "data.source=a b.csv",
            "data: {}   # all of it\n",
            "data:   # all of it\n  source: a b.csv\n",
        ),
        ("train.seed=7", "transformers' names\n", "transformers' names\n    seed: 7\n"),
        ("eval.splits=[test]", "", ""),
    ],
)
def test_one_line_changes(setting: str, old: str, new: str, tmp_path: Path):
    expected = COMMENTED.replace(old, new, 1)
    if setting.startswith("eval"):  # a section that is not there goes to the end
        expected = f"{COMMENTED}\neval:\n  splits: [test]\n"
    assert edited(tmp_path, COMMENTED, setting) == expected


def test_a_section_that_is_null(tmp_path: Path):
    text = f"{COMMENTED}sweep: null\n"
    assert edited(tmp_path, text) == text
    assert "learning_rate: 0.5 " in edited(tmp_path, text, "train.learning_rate=0.5")


def test_several_fields_at_once(tmp_path: Path):
    settings = ["data.source=x.csv", "data.labels=[a, b]", "train.seed=7", "eval.limit=3"]
    settings += ["task.include_path=here", "train.num_train_epochs=5"]
    text = edited(tmp_path, COMMENTED, *settings)
    assert load_recipe(write(tmp_path, text)) == load_recipe(write(tmp_path, COMMENTED), settings)
    kept = [line for line in COMMENTED.splitlines() if "#" in line and "{}" not in line]
    assert [line for line in kept if line not in text] == []


@pytest.mark.parametrize(
    "text",
    [
        "{task: {name: demo_qa}, train: {seed: 1}}\n",
        "task: {name: demo_qa}\ntrain:\n  seed:\n    1\n",
        "task: {name: demo_qa}\nadapter: none\ntrain: {seed: 1}\n",
        "task: {name: &x demo_qa}\ntrain: &t {seed: 1}\n",
    ],
)
def test_what_has_no_lines_of_its_own_is_written_anew(text: str, tmp_path: Path):
    wanted = load_recipe(write(tmp_path, text), ["train.seed=2"])
    again = edit(text, wanted)
    assert load_recipe(write(tmp_path, again)).written() == wanted.written()


def test_the_folders_own_recipe_follows_the_options(tmp_path: Path):
    folder = tmp_path / "adapters" / "mine"
    folder.mkdir(parents=True)
    path = folder / RECIPE_FILE
    path.write_text(COMMENTED)
    changed = load_recipe(path, ["train.seed=7"])
    assert keep_recipe(path, changed, folder) == ["train.seed=7"]
    assert load_recipe(path) == changed
    assert "# short answers" in path.read_text()
    assert keep_recipe(path, changed, folder) == []


def test_a_copy_names_the_options_that_made_it(tmp_path: Path):
    path = write(tmp_path, COMMENTED)
    settings = ["train.seed=7", "data.source=a\nb.csv"]
    keep_recipe(path, load_recipe(path, settings), tmp_path / "other")
    text = (tmp_path / "other" / RECIPE_FILE).read_text()
    assert text.startswith('# --set "data.source=a\\nb.csv"\n# --set "train.seed=7"\n# mine\n')
    assert sorted(kept_settings(tmp_path / "other")) == sorted(settings)
    assert kept_settings(tmp_path / "nowhere") == []
    assert load_recipe(path, kept_settings(tmp_path / "other")) == load_recipe(path, settings)


def test_options_that_lead_from_one_recipe_to_another(tmp_path: Path):
    old = load_recipe(write(tmp_path, COMMENTED))
    settings = ["data.columns={text: [a]}", "data.train_size=0.5", "train.weight_decay=1e-05"]
    settings += ["adapter.use_dora=true", "eval.num_fewshot=[0, 3]", "train.max_steps=4"]
    new = load_recipe(write(tmp_path, COMMENTED), settings)
    found = write_overrides(old, new)
    assert found is not None
    assert load_recipe(write(tmp_path, COMMENTED), found) == new
    assert write_overrides(new, new) == []
    back = write_overrides(new, old)  # what only the first sets gets its default
    assert back is not None
    again = load_recipe(write(tmp_path, write_recipe(new.written())), back)
    assert again.resolved() == old.resolved()
    odd = load_recipe(write(tmp_path, COMMENTED), []).model_copy(
        update={"data": old.data.model_copy(update={"source": "[x]"})}
    )
    assert odd.data.source == "[x]"
