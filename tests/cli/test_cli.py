"""The command line as a user meets it: exit codes, three-line errors, and one run from recipe to
report."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, save_model


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    """A working folder with a recipe `mine`."""
    folder = tmp_path_factory.mktemp("working")
    text = (
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "adapter: {r: 4, lora_alpha: 8}\n"
        "train: {num_train_epochs: 3, learning_rate: 0.02, per_device_train_batch_size: 8}\n"
    )
    recipe = folder / "adapters" / "mine" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(text)
    return folder


@pytest.fixture
def recipe(working: Path, tmp_path: Path) -> Path:
    """A fresh copy of the recipe in a folder of its own."""
    target = tmp_path / "adapters" / "mine" / "recipe.yaml"
    target.parent.mkdir(parents=True)
    shutil.copy(working / "adapters" / "mine" / "recipe.yaml", target)
    return target


def test_run_makes_report_and_rows_and_continues(ft, working: Path):
    recipe = working / "adapters" / "mine" / "recipe.yaml"
    code, out, err = ft("run", recipe, "--out", working)
    assert code == 0, err
    assert err.index("test: accuracy, 24 items, base") < err.index("training on 64 examples")
    folder = working / "results" / "reports" / "mine"
    assert str(folder / "report.md") in out
    assert str(folder / "report.html") in out
    rows = json.loads((folder / "rows.json").read_text())
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    primary = [row for row in rows if row["primary"]]
    assert [(row["task"], row["split"], row["metric"], row["n"]) for row in primary] == [
        ("demo_sentiment", "test", "acc", 24)
    ]
    files = {path.name for path in folder.iterdir()}
    assert {
        "report.md",
        "rows.json",
        "before_after.png",
        "before_after.svg",
        "curves_mine.png",
    } <= files
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, out, err = ft("run", recipe, "--out", working)
    assert code == 0
    assert "finished already" in err
    assert err.count("scored already") == 6
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(working.rglob("*.tmp")) + list(working.rglob(".lock"))

    code, out, err = ft("report", working / "results", "--name", "again", "--out", working)
    assert code == 0
    assert json.loads((working / "results" / "reports" / "again" / "rows.json").read_text()) == rows

    code, _, err = ft("run", recipe, "--out", working, "--set", "train.seed=7")
    assert code == 3
    assert_three_lines(err, "train.seed: 0 -> 7", "--name")


def test_eval_scores_an_adapter_and_refuses_another_base(ft, working: Path, tmp_path: Path):
    recipe = working / "adapters" / "mine" / "recipe.yaml"
    assert ft("train", recipe, "--out", working)[0] == 0
    code, out, _ = ft(
        "eval",
        recipe,
        "--adapter",
        working / "adapters" / "mine",
        "--out",
        tmp_path,
        "--set",
        "eval.limit=8",
    )
    assert code == 0
    assert out.count("demo_sentiment@test") == 2  # where base and adapter are
    assert "Base" in out  # the table of run
    assert "on demo_sentiment (test, 8 items" in out
    assert len(out.splitlines()) < 20
    *_, begin, following = out.rstrip().splitlines()
    subjects = [f"{tmp_path}/results/{name}" for name in ("base--tiny", "mine")]
    assert begin == "Next:"
    assert following.split() == [
        *("ft-harness", "report", *subjects, "--name", "mine", "--out", str(tmp_path))
    ]
    other = save_model(tmp_path / "other", seed=1)
    setting = f"model.pretrained={other}"
    code, _, err = ft(
        "eval",
        recipe,
        "--adapter",
        working / "adapters" / "mine",
        "--out",
        tmp_path,
        "--set",
        setting,
    )
    assert code == 3
    assert_three_lines(err, "trained on", str(other))


def test_init_writes_a_recipe_that_checks(ft, tmp_path: Path, model_folder: Path, reviews: Path):
    code, out, _ = ft("init", "my-sentiment", "--task", "demo_sentiment", "--out", tmp_path)
    assert code == 0
    recipe = Path(out.strip())
    assert recipe == tmp_path / "adapters" / "my-sentiment" / "recipe.yaml"
    options = [
        "--set",
        f"model.pretrained={model_folder}",
        "--set",
        f"data.source={reviews}",
        "--out",
        tmp_path,
    ]
    code, out, err = ft("check", recipe, *options)
    assert code == 0, err
    assert out.startswith("no fault, no warning, ")
    assert "64 training rows of" in out
    assert "64 trained tokens, EOS not trained, 0 prompts cut" in out
    # 64 rows / 16 = 4 steps an epoch, two epochs; 64 train, 16 validation and 24 test docs
    assert "forecast: 8 steps of 16 rows (2 epochs" in out
    assert "104 docs scored with base and tuned each" in out
    assert ft("init", "my-sentiment", "--task", "demo_sentiment", "--out", tmp_path)[0] == 2


def test_check_counts_the_prompts_that_examples_make_too_long(ft, recipe: Path, tmp_path: Path):
    settings = [
        "--set",
        "eval.num_fewshot=6",
        "--set",
        "eval.splits=[test]",
        "--set",
        "model.max_length=64",
    ]
    code, out, err = ft("check", recipe, *settings, "--out", tmp_path)
    assert code == 0, err
    assert "test: 24 of the first 24 prompts will be cut" in out
    assert "do: lower eval.num_fewshot, or raise model.max_length" in out
    code, out, _ = ft("check", recipe, "--set", "eval.splits=[test]", "--out", tmp_path)
    assert "test: 0 of the first 24 prompts will be cut" in out


def test_a_task_alone_is_checked_without_what_a_recipe_has(ft, reviews: Path):
    source = ["--set", f"data.source={reviews}"]
    assert ft("check", "demo_sentiment", *source)[0] == 0
    code, _, err = ft("check", "demo_sentiment", *source, "--set", "eval.num_fewshot=101")
    assert code == 2
    assert_three_lines(err, "eval.num_fewshot=101", "data.X or task.X", "ft-harness init")


def test_a_folder_of_a_tasks_name_does_not_hide_the_task(
    ft, reviews: Path, tmp_path: Path, monkeypatch
):
    (tmp_path / "demo_sentiment").mkdir()
    monkeypatch.chdir(tmp_path)
    code, out, err = ft("check", "demo_sentiment", "--set", f"data.source={reviews}")
    assert code == 0, err
    assert "task demo_sentiment" in out


def test_every_fault_is_reported_at_once(ft, recipe: Path):
    settings = ["--set", "train.learning_rat=1", "--set", "adapter.r=0", "--set", "nonsense.a=1"]
    code, _, err = ft("run", recipe, *settings)
    assert code == 2
    assert_three_lines(err, "did you mean learning_rate", "adapter.r", "nonsense")


def bad_rows(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


GOOD = review_rows(30)
BAD_DATA = {
    "broken json": (bad_rows(GOOD[:1]) + "{broken\n", 3, ":2"),
    "null field": (bad_rows([*GOOD[:2], {"text": None, "label": "positive"}]), 3, ":3"),
    "label outside the choices": (bad_rows([*GOOD[:3], {"text": "x", "label": "angry"}]), 3, ":4"),
    "missing column": (bad_rows([{"review": "x", "label": "positive"}] * 3), 3, "review"),
    "no rows": ("", 3, "no rows"),
}


@pytest.mark.parametrize("fault", sorted(BAD_DATA))
def test_bad_data_is_found_before_a_model_is_loaded(
    ft, fault: str, recipe: Path, tmp_path: Path, no_model
):
    text, expected, word = BAD_DATA[fault]
    source = tmp_path / "bad.jsonl"
    source.write_text(text)
    code, _, err = ft("run", recipe, "--out", tmp_path, "--set", f"data.source={source}")
    assert code == expected
    assert_three_lines(err, word)


@pytest.mark.slow  # reads the names of all of lm-eval's tasks
def test_unknown_task_has_a_suggestion(ft, recipe: Path, tmp_path: Path):
    code, _, err = ft("run", recipe, "--out", tmp_path, "--set", "task.name=demo_sentimant")
    assert code == 2
    assert_three_lines(err, "did you mean demo_sentiment")


def test_an_output_folder_that_cannot_be_written_exits_2(ft, recipe: Path, tmp_path: Path):
    (tmp_path / "results").write_text("a file in the way")
    code, _, err = ft("run", recipe, "--out", tmp_path)
    assert code == 2
    assert_three_lines(err, "can't be written")


def test_an_output_folder_below_a_file_exits_2(ft, recipe: Path, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for command in (
        ["run", recipe],
        ["demo"],
        ["init", "x", "--task", "demo_nli"],
        ["report", tmp_path],
    ):
        code, _, err = ft(*command, "--out", tmp_path / "file" / "x")
        assert code == 2, command
        assert_three_lines(err, "can't be written")


@pytest.mark.parametrize("out", ["s3://bucket/x", "file:///x"])
def test_an_address_is_no_output_folder(out: str, ft, recipe: Path, tmp_path: Path):
    before = set(tmp_path.iterdir())
    code, _, err = ft("run", recipe, "--out", out)
    assert code == 2
    assert_three_lines(err, "an address", "mount the storage")
    assert set(tmp_path.iterdir()) == before


def test_nothing_is_kept_of_a_recipe_that_cannot_run(ft, recipe: Path, tmp_path: Path):
    settings = ["--name", "other", "--set", "data.source=/nowhere/x.csv"]
    assert ft("run", recipe, "--out", tmp_path, *settings)[0] == 3
    assert not (tmp_path / "adapters" / "other" / "recipe.yaml").exists()


def test_a_recipe_kept_with_overrides_runs_again_by_itself(ft, recipe: Path, tmp_path: Path):
    settings = [
        "--set",
        "train.max_steps=2",
        "--set",
        "eval.splits=[test]",
        "--set",
        "eval.limit=6",
    ]
    assert ft("run", recipe, "--out", tmp_path, "--name", "other", *settings)[0] == 0
    code, _, err = ft("run", tmp_path / "adapters" / "other", "--out", tmp_path)
    assert code == 0, err
    assert "finished already" in err


def test_a_built_in_task_of_lm_eval_is_trained_and_scored_on_local_data(
    ft, recipe: Path, tmp_path: Path
):
    for split, count in (("train", 24), ("dev", 8), ("test", 12)):
        rows = [f"{row['text']}\t{row['label']}" for row in review_rows(count)]
        (tmp_path / f"{split}.tsv").write_text("\n".join(["sentence\tlabel", *rows]) + "\n")
    settings = [
        "task.name=sst2",
        f"data.source={tmp_path}",
        "data.labels=[negative, positive]",
        "train.max_steps=2",
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    code, out, err = ft("run", recipe, "--name", "built-in", "--out", tmp_path, *options)
    assert code == 0, err
    card = json.loads((tmp_path / "adapters" / "built-in" / "card.json").read_text())
    assert card["examples"] == 24
    assert "sst2 " in out
    report = (tmp_path / "results" / "reports" / "built-in" / "report.md").read_text()
    assert "12 of 12 test docs also occur among the training docs" in report  # as they do here


def test_names_cannot_lead_elsewhere(ft, recipe: Path, tmp_path: Path):
    assert ft("init", "../../evil", "--task", "demo_nli", "--out", tmp_path)[0] == 2
    assert ft("run", recipe, "--name", "../../evil", "--out", tmp_path)[0] == 2


def test_a_missing_model_folder_is_named(ft, recipe: Path, tmp_path: Path):
    code, _, err = ft(
        "run", recipe, "--out", tmp_path, "--set", f"model.pretrained={tmp_path / 'nowhere'}"
    )
    assert code == 3
    assert_three_lines(err, "nowhere")


def test_debug_shows_the_traceback(ft, recipe: Path):
    code, _, err = ft("run", recipe, "--debug", "--set", "adapter.r=0")
    assert code == 2
    assert "Traceback (most recent call last)" in err
    assert "ConfigError" in err


def test_tasks_are_listed_shown_and_found(ft, reviews: Path, model_folder: Path):
    assert "sst2_custom" in ft("tasks", "list")[1]
    assert Path(ft("tasks", "path")[1].strip(), "sst2", "sst2_custom.yaml").is_file()
    code, out, _ = ft(
        "tasks",
        "show",
        "demo_sentiment",
        "--source",
        reviews,
        "--model",
        model_folder,
        "--count",
        2,
    )
    assert code == 0
    assert out.count("Sentiment:[") == 2


@pytest.mark.slow  # two runs of 320 steps
def test_killed_in_the_middle_and_run_again(recipe: Path, tmp_path: Path):
    """SIGKILL while training; the same command again finishes, and says where it went on."""
    command = [sys.executable, "-m", "ft_harness", "run", str(recipe), "--out", str(tmp_path)]
    command += ["--set", "train.num_train_epochs=40", "--set", "eval.splits=[test]"]
    command += ["--set", "train.save_steps=32"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    history = recipe.parent / "history.jsonl"
    while process.poll() is None:
        if history.exists() and history.read_text().count('"loss"') >= 40:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert process.returncode == -signal.SIGKILL
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "scored already" in done.stderr
    assert json.loads((recipe.parent / "card.json").read_text())["cost"]["resumed_from_step"] >= 32


@pytest.mark.parametrize(
    ("signum", "code", "word"),
    [
        (signal.SIGTERM, 143, "terminated"),
        # slow: a long training for each signal
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
    ],
)
def test_a_stop_says_how_to_go_on(signum: int, code: int, word: str, recipe: Path, tmp_path: Path):
    command = [sys.executable, "-m", "ft_harness", "train", str(recipe), "--out", str(tmp_path)]
    command += ["--set", "train.num_train_epochs=400"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    history = recipe.parent / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.stat().st_size > 200):
        pass
    process.send_signal(signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert (
        f"{word}: finished evaluations and checkpoints are saved; run the same command again" in err
    )
    assert err.strip().splitlines()[-1] == shlex.join(["ft-harness", *command[3:]])
