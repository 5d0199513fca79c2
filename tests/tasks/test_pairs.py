"""What `check` tells of pairs of answers, and a whole run on them by the command line."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ft_harness.models.adapters import read_card
from ft_harness.records.generations import GENERATIONS_FILE
from tests.builders.command import assert_three_lines
from tests.builders.tiny import write_jsonl

PREFERENCE = ("--set", "train.objective=preference")


WORDS = [
    "river",
    "stone",
    "cloud",
    "window",
    "garden",
    "paper",
    "silver",
    "morning",
    "engine",
    "coffee",
    "market",
    "winter",
    "bridge",
    "candle",
    "forest",
    "island",
    "letter",
    "mirror",
    "needle",
    "orange",
    "pocket",
    "ribbon",
    "saddle",
    "tunnel",
]


def make_prompt(number: int) -> str:
    """Six words that no other prompt has in this order: none is nearly another one."""
    return " ".join(random.Random(number).sample(WORDS, 6))


def make_rows(count: int, start: int = 0, longer: int = 0) -> list[dict[str, str]]:
    """Two pairs a prompt; the chosen answer is the longer one in the first `longer` rows."""
    return [
        {
            "prompt": make_prompt(i // 2),
            "chosen": f"was warm {i}" + " and good" * (i - start < longer),
            "rejected": f"was cold {i}" + " and bad" * (i - start >= longer),
        }
        for i in range(start, start + count)
    ]


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> Path:
    for split, count, start in (("train", 20, 0), ("validation", 6, 100), ("test", 8, 200)):
        write_jsonl(tmp_path / "pairs" / f"{split}.jsonl", make_rows(count, start, count // 2))
    path = tmp_path / "mine" / "recipe.yaml"
    path.parent.mkdir()
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: preference_custom}}\n"
        f"data: {{source: {tmp_path / 'pairs'}}}\nadapter: {{r: 2, lora_dropout: 0.0}}\n"
        "train: {objective: preference, num_train_epochs: 1, per_device_train_batch_size: 4}\n"
        "eval: {batch_size: 4}\n"
    )
    return path


def test_what_is_sound_is_described(ft, recipe: Path):
    code, out, err = ft("check", recipe)
    assert code == 0, err
    assert "no fault, no warning" in out
    assert "20 training pairs of " in out
    assert "0 prompts cut alike for both (0.0%)" in out


def test_lengths_that_say_it_all_are_a_warning(ft, recipe: Path, tmp_path: Path):
    write_jsonl(tmp_path / "pairs" / "train.jsonl", make_rows(20, longer=18))
    code, out, err = ft("check", recipe)
    assert code == 0, err
    assert "the chosen answer is the longer one in 18 of 20 train rows (90.0%)" in out
    write_jsonl(tmp_path / "pairs" / "train.jsonl", make_rows(20, longer=17))
    assert "the longer one" not in ft("check", recipe)[1]


def test_a_prompt_in_two_splits_is_a_warning(ft, recipe: Path, tmp_path: Path):
    rows = [{**row, "chosen": "was fine", "rejected": "was dull"} for row in make_rows(2)]
    write_jsonl(tmp_path / "pairs" / "test.jsonl", [*make_rows(6, 200, 3), *rows])
    code, out, err = ft("check", recipe)
    assert code == 0, err
    assert "2 of 8 test docs also occur among the training docs" in out


def test_equal_and_empty_answers_are_faults_with_their_places(ft, recipe: Path, tmp_path: Path):
    rows = make_rows(20, longer=10)
    rows[3] |= {"chosen": rows[3]["rejected"]}
    rows[7] |= {"rejected": " "}
    path = write_jsonl(tmp_path / "pairs" / "train.jsonl", rows)
    code, _, err = ft("check", recipe)
    assert code == 3
    assert_three_lines(err)
    assert f"{path}:4: the fields chosen and rejected are equal (2 rows with such a fault" in err
    assert "expected: a prompt and two different answers" in err
    code, out, err = ft("check", recipe, "--set", "data.skip_bad_rows=true")
    assert code == 0, err
    assert "train 18 docs" in out


def test_the_same_chosen_answer_everywhere_is_no_fault(ft, recipe: Path, tmp_path: Path):
    """A refusal, say: what it is chosen over differs."""
    for split, count, start in (("train", 20, 0), ("test", 8, 200)):
        rows = [
            {**row, "chosen": "was warm 11", "rejected": row["rejected"][: 8 if i % 2 else 99]}
            for i, row in enumerate(make_rows(count, start))
        ]
        write_jsonl(tmp_path / "pairs" / f"{split}.jsonl", rows)
    code, out, err = ft("check", recipe)
    assert code == 0, err
    assert "right answers" not in out
    assert "majority" not in out


def test_cut_pairs_are_counted(ft, recipe: Path, tmp_path: Path):
    """128 tokens: a prompt of some 200 is cut, in the training alike for both answers."""
    rows = make_rows(20, longer=10)
    rows[0]["prompt"] = rows[1]["prompt"] = "the film was good " * 40
    write_jsonl(tmp_path / "pairs" / "train.jsonl", rows)
    code, out, err = ft("check", recipe)
    assert code == 0, err
    assert "2 prompts cut alike for both (10.0%)" in out
    assert "train: in 2 of the first 20 pairs an answer's prompt will be cut" in out


def test_what_has_no_two_choices_can_not_be_learnt_as_pairs(ft, tmp_path: Path, model_folder: Path):
    path = tmp_path / "other" / "recipe.yaml"
    path.parent.mkdir()
    path.write_text(f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_qa}}\n")
    code, _, err = ft("check", path, *PREFERENCE)
    assert code == 3
    assert "its output_type is generate_until" in err


@pytest.mark.slow  # a whole run
def test_a_run_scores_base_and_tuned_and_shows_what_they_write(ft, recipe: Path, tmp_path: Path):
    code, out, err = ft("run", recipe)
    assert code == 0, err
    assert "preference_acc" in out
    card = read_card(tmp_path / "adapters" / "mine")
    assert card is not None
    assert card.recipe["train"]["preference"]["beta"] == 0.1
    assert {"implicit_reward_acc", "reward_margin"} <= card.cost.epochs[0].scores.keys()
    folder = tmp_path / "results" / "reports" / "mine"
    assert "What the models write (4 prompts)" in (folder / "report.html").read_text()
    assert "longer answer wins" in (folder / "report.md").read_text()
    rows = json.loads((tmp_path / "results" / "reports" / "mine" / "rows.json").read_text())
    test = [row for row in rows if row["split"] == "test"]
    assert [row["base_subject"] for row in test][:2] == ["longer answer wins", "chance"]
    assert {"implicit_reward_acc", "preference_margin"} <= {row["metric"] for row in test}
    written = list(tmp_path.rglob(GENERATIONS_FILE))
    assert len(written) == 2  # base and tuned, on test alone
    for path in written:
        items = json.loads(path.read_text())["items"].values()
        assert [item["prompt"] for item in items] == [make_prompt(n) for n in range(100, 104)]
    written[0].unlink()
    assert ft("run", recipe)[0] == 0
    assert len(list(tmp_path.rglob(GENERATIONS_FILE))) == 2
