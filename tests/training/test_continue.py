"""Going on from an adapter: the start, its lineage, what is refused, and one curve over all stretches."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ft_harness.errors import InputError
from ft_harness.models.adapters import AdapterFolder, read_card, read_history, read_lineage
from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import Recipe
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, build_training_set, train
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import kill_at_step
from tests.builders.tiny import save_model
from tests.builders.weights import weights


@pytest.fixture
def write(tmp_path: Path, model_folder: Path, reviews: Path):
    """Write the recipe of an adapter: its path."""

    def write(name: str, train: dict, adapter: dict | str | None = None, **others: dict) -> Path:
        usual = {"num_train_epochs": 1, "per_device_train_batch_size": 16, "learning_rate": 0.01}
        recipe = {
            "model": {"pretrained": str(model_folder)},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(reviews)},
            "adapter": adapter
            if isinstance(adapter, str)
            else {"r": 4, "lora_alpha": 8} | (adapter or {}),
            "train": usual | train,
            "eval": {"splits": ["test"], "limit": 8},
        } | others
        path = tmp_path / "adapters" / name / "recipe.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(recipe), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, reviews: Path) -> Path:
    """A finished adapter's folder, which no test changes."""
    recipe = Recipe.model_validate(
        {
            "model": {"pretrained": str(model_folder)},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(reviews)},
            "adapter": {"r": 4, "lora_alpha": 8},
            "train": {"max_steps": 2, "per_device_train_batch_size": 16, "learning_rate": 0.01},
        }
    )
    folder = tmp_path_factory.mktemp("adapters") / "first"
    base = load_base_model(recipe.model)
    tasks = load_tasks(find_task("demo_sentiment", metadata=recipe.task_metadata()), ["train"])
    train(TrainingPlan(recipe, base, build_training_set(tasks, base, recipe, "task")), folder)
    return folder


def equal(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    assert left.keys() == right.keys()
    return all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.slow  # three trainings and a long one
def test_one_and_one_and_three_epochs(ft, write, tmp_path: Path):
    """As the Chinese write-up trained: 64 rows / 16 = 4 steps an epoch, so 4, 4 and 12 steps."""
    first = write("first", {})
    second = write("second", {"continue_from": "adapters/first", "learning_rate": 0.005})
    third = write("third", {"continue_from": "adapters/second", "num_train_epochs": 3})
    for recipe in (first, second):
        assert ft("train", recipe)[0] == 0
    code, _, error = ft("run", third)
    assert code == 0, error
    folders = [path.parent for path in (first, second, third)]
    cards = [read_card(folder) for folder in folders]
    assert [[each.name for each in card.lineage] for card in cards] == [
        [],
        ["first"],
        ["first", "second"],
    ]
    parents = cards[2].lineage
    assert [(each.epochs, each.steps) for each in parents] == [(1.0, 4), (1.0, 4)]
    assert [each.identity for each in parents] == [
        AdapterFolder(folder).identity for folder in folders[:2]
    ]
    assert [each.fingerprint for each in parents] == [card.fingerprint for card in cards[:2]]
    assert read_lineage(folders[2], read_card(folders[2])) == [
        read_history(folder) for folder in folders[:2]
    ]

    for folder in folders[:2]:
        shutil.rmtree(folder)
    shutil.rmtree(tmp_path / "results" / "reports")
    code, out, error = ft("report", "results")
    assert code == 0, error
    page = next((tmp_path / "results" / "reports").rglob("report.md")).read_text(encoding="utf-8")
    assert "first (4 steps), second (4 steps), third (12 steps)" in page
    (numbers,) = (tmp_path / "results" / "reports").rglob("curves_third.csv")
    rows = [row for row in csv.DictReader(numbers.open(encoding="utf-8")) if row["loss"]]
    assert [row["adapter"] for row in rows] == ["first"] * 4 + ["second"] * 4 + ["third"] * 12
    assert [int(row["total_step"]) for row in rows] == list(range(1, 21))
    assert [int(row["step"]) for row in rows] == [*range(1, 5), *range(1, 5), *range(1, 13)]
    # with its parent gone, the finished adapter is still known as such
    code, out, error = ft("train", third)
    assert code == 0, error
    assert "the adapter is finished already" in out + error


@pytest.mark.slow  # two trainings for each form of adapter
@pytest.mark.parametrize("adapter", [{}, {"use_dora": True}, "none", {"task_type": "SEQ_CLS"}])
def test_the_start_is_the_parents_last_state(ft, write, monkeypatch, adapter):
    """One step with a learning rate of nothing: what comes out is what went in. The schedule and the optimizer start
    anew, so the first step has the full learning rate."""
    first = write("first", {}, adapter)
    second = write(
        "second",
        {
            "continue_from": "adapters/first",
            "learning_rate": 1e-30,
            "max_steps": 1,
            "lr_scheduler_type": "constant",
        },
        adapter,
    )
    assert ft("train", first)[0] == 0
    code, _, error = ft("train", second)
    assert code == 0, error
    assert equal(weights(first.parent), weights(second.parent))
    assert read_history(second.parent)[0].learning_rate == 1e-30
    assert read_history(second.parent)[0].loss < read_history(first.parent)[0].loss
    if (first.parent / "head_init.safetensors").exists():
        heads = [load_file(path.parent / "head_init.safetensors") for path in (first, second)]
        assert equal(*heads)
        assert read_card(first.parent).model.head == read_card(second.parent).model.head


def test_a_head_of_another_seed_is_carried_over(ft, write):
    """The base of a head is the base with the head that was drawn first, whatever the seed says now."""
    first = write("first", {"seed": 1}, {"task_type": "SEQ_CLS"})
    second = write(
        "second", {"seed": 2, "continue_from": "adapters/first"}, {"task_type": "SEQ_CLS"}
    )
    assert [ft("train", path)[0] for path in (first, second)] == [0, 0]
    assert equal(*(load_file(path.parent / "head_init.safetensors") for path in (first, second)))


@pytest.mark.slow  # three trainings
def test_a_continued_run_that_is_killed_goes_on_from_its_checkpoint(ft, write, parent):
    """Not from its parent again."""
    settings = {"continue_from": str(parent), "num_train_epochs": 2}
    whole, killed = write("whole", settings), write("killed", settings)
    assert ft("train", whole)[0] == 0
    with pytest.MonkeyPatch.context() as patched:
        kill_at_step(6, patched)
        assert ft("train", killed)[0] == 130
    assert ft("train", killed)[0] == 0
    assert read_card(killed.parent).cost.resumed_from_step == 5
    assert equal(weights(whole.parent), weights(killed.parent))


# --- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"r": 8}, "adapter.r: 4 there, 8 here"),
        ({"lora_alpha": 16}, "adapter.lora_alpha: 8 there, 16 here"),
        ({"use_rslora": True}, "adapter.use_rslora: None there, True here"),
        ("none", "adapter.peft_type: 'LORA' there, None here"),
    ],
)
def test_another_shape_is_refused_before_a_model_is_loaded(
    ft, write, parent, monkeypatch, adapter, message: str
):
    second = write("second", {"continue_from": str(parent)}, adapter)
    monkeypatch.setattr(
        "ft_harness.pipeline.runs.load_base_model", lambda *_: pytest.fail("a model was loaded")
    )
    code, _, error = ft("train", second)
    assert code == 3
    assert_three_lines(error)
    assert message in error


def test_other_modules_are_refused_with_their_tensors(ft, write, parent):
    second = write("second", {"continue_from": str(parent)}, {"target_modules": ["q_proj"]})
    code, _, error = ft("train", second)
    assert code == 3
    assert_three_lines(error)
    assert (
        "down_proj.lora_A.weight: 4x64 there, none here" in error
    )  # of two layers: 2 * 6 modules * (A and B)
    assert "19 more" in error  # 24 differences, 5 of them shown
    assert read_card(second.parent) is None


def test_another_base_is_refused(ft, write, parent, tmp_path: Path):
    other = save_model(tmp_path / "other", seed=1)
    code, _, error = ft(
        "train", write("second", {"continue_from": str(parent)}, model={"pretrained": str(other)})
    )
    assert code == 3
    assert "asked to run on" in error


@pytest.mark.parametrize("there", [False, True])
def test_a_parent_that_is_missing_or_unfinished_is_refused(
    ft, write, tmp_path: Path, no_model, there: bool
):
    if there:
        write("first", {})
    code, _, error = ft("train", write("second", {"continue_from": "adapters/first"}))
    assert code == 3
    assert "no adapter_config.json" in error if there else "no such folder" in error


def test_a_damaged_parent_is_refused(ft, write, parent, tmp_path: Path):
    shutil.copytree(parent, tmp_path / "damaged")
    path = tmp_path / "damaged" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    code, _, error = ft("train", write("second", {"continue_from": "damaged"}))
    assert code == 3
    assert "not the file that the card was written for" in error


def test_another_parent_makes_another_adapter(ft, write, parent, tmp_path: Path):
    """A parent that was moved is the same; one that has other weights under its name is another, and the finished
    child is not its child."""
    child = write("second", {"continue_from": str(parent)})
    assert ft("train", child)[0] == 0
    shutil.copytree(parent, tmp_path / "first")
    moved = ("--set", "train.continue_from=first")
    assert ft("eval", child, *moved)[0] == 0
    code, out, error = ft("train", child, *moved)
    assert "the adapter is finished already" in out + error
    path = tmp_path / "first" / "adapter_model.safetensors"
    save_file({key: 2 * tensor for key, tensor in load_file(path).items()}, path)
    (tmp_path / "first" / "card.json").unlink()  # as another trainer would leave it
    code, _, error = ft("train", child, *moved)
    assert code == 3
    assert "parent: 'sha256:" in error


def test_an_adapter_of_another_trainer_is_a_start(ft, write, parent, tmp_path: Path):
    """PEFT's files alone: no card, so its lineage has a name and an identity, and the curve begins with ours."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copy(parent / name, foreign / name)
    second = write("second", {"continue_from": str(foreign), "max_steps": 2})
    code, _, error = ft("train", second)
    assert code == 0, error
    (known,) = read_card(second.parent).lineage
    assert (known.name, known.identity) == ("foreign", AdapterFolder(foreign).identity)
    assert (known.fingerprint, known.epochs, known.steps) == (None, None, None)
    assert read_lineage(second.parent, read_card(second.parent)) == [[]]


def test_a_checkpoint_of_an_unfinished_training_is_no_start(ft, write, parent, tmp_path: Path):
    checkpoint = tmp_path / "adapters" / "first" / "checkpoints" / "checkpoint-2"
    shutil.copytree(parent, checkpoint)
    (checkpoint / "card.json").unlink()
    (checkpoint / "MANIFEST.json").write_text("{}")
    code, _, error = ft("check", write("second", {"continue_from": str(checkpoint)}))
    assert code == 3
    assert_three_lines(error, f"{checkpoint}: a checkpoint of a training that isn't finished")


def test_a_damaged_lineage_file_is_named(ft, write, parent):
    second = write("second", {"continue_from": str(parent), "max_steps": 2})
    assert ft("train", second)[0] == 0
    path = second.parent / "lineage.jsonl"
    path.write_text('{"step": 1, "epoch": 1, "stretch": 3}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"lineage\.jsonl: damaged"):
        read_lineage(second.parent, read_card(second.parent))
