"""Two processes train the adapter of one: the same recipe, the same steps, one writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ft_harness import processes
from ft_harness.cli.experiments import command_line
from ft_harness.errors import ConfigError
from ft_harness.models.adapters import read_card, read_history, weights_file
from ft_harness.models.base_model import load_base_model
from ft_harness.recipe import Recipe
from ft_harness.tasks.examples import Example
from ft_harness.training import (
    TrainingPlan,
    TrainingSet,
    distributed,
    empty_base,
    make_forecast,
    train,
)
from ft_harness.training.batches import Share
from ft_harness.training.distributed import place, seed_batch, sharding_problems, share_out
from ft_harness.training.loop import Loop
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, save_backbone, write_jsonl
from tests.builders.weights import largest_difference
from tests.evaluation.test_processes import launch

pytestmark = pytest.mark.slow  # starts processes that have to find each other


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path) -> Path:
    """29 rows in steps of 4 x 2: the last step of an epoch has 5, of which one process has 2 or 3."""
    for split, (count, start) in {
        "train": (29, 0),
        "validation": (9, 100),
        "test": (4, 200),
    }.items():
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", review_rows(count, start))
    path = tmp_path / "recipe" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {tmp_path / 'data'}}}\n"
        "adapter: {r: 4, lora_dropout: 0.0}\n"
        "train: {per_device_train_batch_size: 4, gradient_accumulation_steps: 2, learning_rate: 0.01}\n"
    )
    return path


STOPPING = """
import os
from ft_harness.cli import main
from ft_harness.training.loop import Loop

whole = Loop.learn

def stopping(self, *given):
    if self.progress.step == 3:
        os._exit(9)
    return whole(self, *given)

Loop.learn = stopping
main()
"""


# Of pairs whose answers are nearly as likely the gradients are near 0, where AdamW, which divides by
# their size, makes more of rounding.
@pytest.mark.parametrize(("objective", "equal"), [("answer", 1e-6), ("preference", 1e-5)])
def test_two_processes_stopped_and_continued_give_the_adapter_of_one(
    ft, recipe: Path, tmp_path: Path, objective: str, equal: float
):
    two, one = (tmp_path / name / "adapters" / "mine" for name in ("two", "one"))
    settings = ("--set", "train.save_steps=1", "--set", f"train.objective={objective}")
    command = ("train", recipe, "--name", "mine", *settings)
    script = tmp_path / "stopping.py"
    script.write_text(STOPPING)
    done = launch(*command, "--out", tmp_path / "two", program=(str(script),))
    assert "exitcode  : 9" in done.stderr, done.stderr
    assert read_card(two) is None
    assert (two / "checkpoints" / "checkpoint-3").is_dir()
    done = launch(*command, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.count("8 steps, final loss") == 1
    )  # ceil(29 / 8) = 4 steps in each of 2 epochs; one prints
    assert ft(*command, "--out", tmp_path / "one")[0] == 0
    assert largest_difference(two, one) < equal
    shared, alone = read_card(two), read_card(one)
    assert (
        shared.fingerprint == alone.fingerprint
    )  # how many processes there are makes no other adapter
    assert (shared.cost.processes, alone.cost.processes) == (2, 1)
    assert (shared.cost.resumed_from_step, alone.cost.resumed_from_step) == (3, None)
    assert shared.cost.tokens == alone.cost.tokens  # of both stretches and both processes
    for mine, right in zip(read_history(two), read_history(one), strict=True):
        assert (mine.step, mine.epoch) == (right.step, right.epoch)
        for name in ("loss", "grad_norm", "learning_rate", "eval_loss"):
            found, expected = getattr(mine, name), getattr(right, name)
            assert (found is expected is None) or found == pytest.approx(expected, rel=1e-4), name
    assert not list((tmp_path / "two").rglob("checkpoint-*"))
    assert "finished already" in ft(*command, "--out", tmp_path / "two")[2]


def test_all_weights_begun_by_one_process_are_ended_by_two(
    ft, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    two, one = (tmp_path / name / "adapters" / "mine" for name in ("two", "one"))
    recipe.write_text(recipe.read_text().replace("adapter: {r: 4, lora_dropout: 0.0}\n", ""))
    settings = ("train.save_steps=1", "adapter.peft_type=null", "adapter.task_type=SEQ_CLS")
    command = (
        "train",
        recipe,
        "--name",
        "mine",
        *(part for each in settings for part in ("--set", each)),
    )
    whole = Loop.learn

    def stopping(self, *given):
        if self.progress.step == 3:
            raise KeyboardInterrupt
        return whole(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "learn", stopping)
        assert ft(*command, "--out", tmp_path / "two")[0] == 130
    done = launch(*command, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert ft(*command, "--out", tmp_path / "one")[0] == 0
    assert largest_difference(two, one) < 1e-5  # every weight is trained, at a high rate
    shared, alone = read_card(two), read_card(one)
    change = {"step": 4, "setting": "processes", "before": 1, "after": 2}
    assert [each.model_dump() for each in shared.cost.resumed_with] == [change]
    assert alone.cost.resumed_with == []
    assert (shared.cost.processes, shared.cost.resumed_from_step) == (2, 3)
    assert shared.cost.adapter_bytes == weights_file(two).stat().st_size


def test_each_batch_of_each_process_draws_its_own_dropout_whenever_it_begins(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("WORLD_SIZE", "2")

    def draw(rank: int, step: int, turns: int) -> list[float]:
        monkeypatch.setenv("RANK", str(rank))
        found = []
        for turn in range(turns):
            seed_batch(0, step, turn)
            found.append(float(torch.rand(())))
        return found

    drawn = draw(0, 3, 2) + draw(1, 3, 2) + draw(0, 4, 2)
    assert len(set(drawn)) == 6
    torch.manual_seed(99)
    assert draw(1, 3, 2) == drawn[2:4]


@pytest.mark.parametrize(
    ("several", "given", "shared"),
    [
        (2, (4, 2), (4, 1)),
        (2, (4, 1), (2, 1)),
        (4, (8, 3), (2, 3)),
        (3, (4, 6), (4, 2)),
        (1, (5, 3), (5, 3)),
    ],
)
def test_the_effective_batch_is_shared_out(
    several: int, given, shared, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", str(several))
    share = share_out(_recipe(*given))
    assert (share.batch, share.accumulation) == shared


def test_a_step_that_cannot_be_shared_out_evenly_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="5 x 3 rows can't be shared out evenly over 4 processes"):
        share_out(_recipe(5, 3))


def _recipe(batch: int, accumulation: int) -> Recipe:
    train = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    return Recipe.model_validate({"task": {"name": "demo_sentiment"}, "train": train})


def test_a_whole_run_in_several_processes_is_refused(
    ft, recipe: Path, no_model, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = ft("run", recipe)
    assert code == 2
    assert_three_lines(
        err, "started in 2 processes", "ft-harness train RECIPE", "ft-harness eval RECIPE"
    )


@pytest.mark.parametrize("launched", ["ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_DEEPSPEED"])
def test_a_model_shared_out_over_gpus_is_refused_before_it_is_loaded(
    ft, recipe: Path, no_model, monkeypatch: pytest.MonkeyPatch, launched: str
):
    monkeypatch.setenv(launched, "true")
    code, _, err = ft("train", recipe)
    assert code == 2
    assert_three_lines(err, launched, "a whole model in each process", "model.quantization")


def test_a_model_shared_out_over_gpus_is_refused_without_the_command(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = _recipe(4, 2)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"pretrained": str(model_folder)})}
    )
    base, data = (
        load_base_model(recipe.model),
        TrainingSet([Example([4, 5], [6], truncated=False)], [], "task"),
    )
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match="ACCELERATE_USE_DEEPSPEED"):
        train(TrainingPlan(recipe, base, data), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false")
    assert share_out(_recipe(4, 2)) == Share(4, 2)


@pytest.mark.parametrize(
    ("set_by_launcher", "sections", "words"),
    [
        ({"WORLD_SIZE": "1"}, {}, ("there is one process", "several processes")),
        ({"FSDP_VERSION": "1"}, {}, ("fsdp_version is 1", "fsdp_version: 2")),
        ({"FSDP_RESHARD_AFTER_FORWARD": "false"}, {}, ("fsdp_reshard_after_forward is false",)),
        (
            {"FSDP_OFFLOAD_PARAMS": "True"},
            {},
            ("fsdp_offload_params is True", "fsdp_offload_params: false"),
        ),
        (
            {"FSDP_AUTO_WRAP_POLICY": "SIZE_BASED_WRAP"},
            {},
            ("fsdp_auto_wrap_policy is SIZE_BASED_WRAP",),
        ),
        (
            {"FSDP_ACTIVATION_CHECKPOINTING": "true"},
            {},
            ("train.gradient_checkpointing: true in the recipe",),
        ),
        (
            {},
            {"model": {"quantization": "nf4"}},
            ("model.quantization is nf4", "leave quantization out"),
        ),
        (
            {},
            {"adapter": {"peft_type": None, "task_type": "SEQ_CLS"}},
            ("all weights are trained", "LoRA", "torchrun"),
        ),
    ],
)
def test_what_can_not_be_held_in_parts_is_refused(
    monkeypatch: pytest.MonkeyPatch, set_by_launcher, sections, words
):
    usual = {"WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
    for name, value in (usual | set_by_launcher).items():
        monkeypatch.setenv(name, value)
    (problem,) = sharding_problems(
        Recipe.model_validate({"task": {"name": "demo_sentiment"}, **sections})
    )
    assert_three_lines(str(problem), "sharded model (ACCELERATE_USE_FSDP)", *words)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert sharding_problems(_recipe(4, 2)) == []


def test_scoring_needs_a_whole_model(ft, recipe: Path, no_model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    code, _, err = ft("eval", recipe)
    assert code == 2
    assert_three_lines(err, "ft-harness eval", "a whole model in each process", "torchrun")


class Wrapped(torch.nn.Module):
    """As much of PEFT's model as is asked for its layers: two of one kind, one within another."""

    def __init__(self, *kinds: str) -> None:
        super().__init__()
        self.base = torch.nn.Sequential(
            torch.nn.Linear(1, 1), torch.nn.Sequential(torch.nn.Linear(1, 1))
        )
        self.base._no_split_modules = list(kinds) or None

    def get_base_model(self) -> torch.nn.Module:
        return self.base


@pytest.mark.parametrize(
    ("named", "missing"),
    [("", r"\(unknown\)"), ("Missing,Absent", "Missing, Absent"), ("Linear, Absent", "Absent")],
)
def test_a_model_without_layers_of_a_named_kind_is_not_held_in_parts(
    monkeypatch: pytest.MonkeyPatch, named, missing
):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", named)
    with pytest.raises(ConfigError, match=f"no layers of the kind {missing} to be sharded"):
        place(Wrapped(), "cpu")


def test_layers_within_layers_are_found_but_not_the_whole_model(monkeypatch: pytest.MonkeyPatch):
    model = Wrapped("Linear")
    whole, (alone, inner) = model.base, model.base
    assert distributed._layers(model) == [alone, inner[0]]
    monkeypatch.setenv("FSDP_TRANSFORMER_CLS_TO_WRAP", " Linear ,Sequential")
    assert distributed._layers(model) == [alone, inner, inner[0]]
    assert whole not in distributed._layers(model)


def test_the_number_formats_are_the_recipes_whatever_the_launcher_says(
    ft, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second = (tmp_path / name / "adapters" / "mine" for name in ("first", "second"))
    assert ft("train", recipe, "--name", "mine", "--out", tmp_path / "first")[0] == 0
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert ft("train", recipe, "--name", "mine", "--out", tmp_path / "second")[0] == 0
    assert largest_difference(first, second) == 0
    assert os.environ["ACCELERATE_MIXED_PRECISION"] == "bf16"


def test_memory_of_a_base_in_parts_is_not_foretold(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = _recipe(4, 2)
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"pretrained": str(model_folder)})}
    )
    rows = [Example([4, 5, 6], [7], truncated=False)] * 9
    base, data = empty_base(recipe.model, None), TrainingSet(rows, [], "task")
    assert make_forecast(TrainingPlan(recipe, base, data)).memory is not None
    for name, value in {
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_FSDP": "true",
        "FSDP_VERSION": "2",
    }.items():
        monkeypatch.setenv(name, value)
    found = make_forecast(TrainingPlan(recipe, base, data))
    assert (found.memory, found.work.steps) == (None, 4)


def test_what_goes_on_is_started_by_the_same_launcher(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.argv", ["ft-harness", "train", "my recipe"])
    assert command_line() == "ft-harness train 'my recipe'"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert command_line() == "(by the same launcher) ft-harness train 'my recipe'"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"WORLD_SIZE": "many"}, ("WORLD_SIZE is 'many'", "a whole number")),
        (
            {"WORLD_SIZE": "2"},
            ("WORLD_SIZE is 2", "lacks RANK, MASTER_ADDR, MASTER_PORT", "unset WORLD_SIZE"),
        ),
    ],
)
def test_half_an_environment_of_a_launcher_is_said_to_be_one(
    ft,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    words: tuple[str, ...],
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, _, err = ft("train", recipe)
    assert code == 2
    assert_three_lines(err, *words)


def test_one_process_has_its_own_values(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert processes.from_first("mine") == "mine"
    assert processes.from_all("mine") == ["mine"]


LAUNCHED = {  # by accelerate launch --use_fsdp --fsdp_version 2
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_MIXED_PRECISION": "no",
    "FSDP_VERSION": "2",
    "FSDP_RESHARD_AFTER_FORWARD": "true",
    "FSDP_OFFLOAD_PARAMS": "false",
    "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "FSDP_SYNC_MODULE_STATES": "true",
    "FSDP_ACTIVATION_CHECKPOINTING": "false",
}
HALVES = """
import torch
from torch import distributed
from ft_harness.cli import main
from ft_harness.training import run

def telling(model, device, place=run.place):
    backend = distributed.group.WORLD._get_backend(torch.device("cpu"))
    days = f"waits {backend.options._timeout.days}"
    print(days + "\\n", end="", flush=True)  # in one piece, as below
    place(model, device)
    parts = [p for p in model.parameters() if hasattr(p, "to_local")]
    held = f"holds {sum(p.to_local().numel() for p in parts)} of {sum(p.numel() for p in parts)}"
    print(held + "\\n", end="", flush=True)  # in one piece: the other process writes too

run.place = telling
main()
"""


@pytest.mark.parametrize(
    ("kind", "weights", "setting", "equal"),
    [
        (
            "llama",
            2 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 64 + 2 * 32),
            "train.gradient_checkpointing=true",
            1e-6,
        ),
        (
            "qwen2",
            2 * (33 * (32 + 16 + 16) + 32 * 32 + 3 * 32 * 64 + 2 * 32),
            "train.loss_on=prompt_and_answer",
            1e-6,
        ),
        (
            "llama",
            2 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 64 + 2 * 32),
            "adapter.task_type=SEQ_CLS",
            1e-5,
        ),
        (
            "llama",
            2 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 64 + 2 * 32),
            "train.objective=preference",
            1e-5,
        ),
    ],
)
def test_two_processes_that_hold_a_half_of_each_layer_give_the_adapter_of_one(
    ft,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    weights: int,
    setting: str,
    equal,
):
    """As accelerate's launcher asks for it with `fsdp_version: 2`; 9 rows to validate, of which one process has a batch
    more than the other; scores in between, the best checkpoint kept.

    A layer of 32 wide: q, k, v (with biases in Qwen2) and o, gate, up and down of 64, two norms.
    """
    base = save_backbone(tmp_path / "base", kind)
    two, one = (tmp_path / name / "adapters" / "mine" for name in ("two", "one"))
    settings = (
        "train.load_best_model_at_end=true",
        "train.eval_strategy=epoch",
        "train.eval_scores=7",
        setting,
    )
    settings += (f"model.pretrained={base}",)
    command = (
        "train",
        recipe,
        "--name",
        "mine",
        *(part for each in settings for part in ("--set", each)),
    )
    script = tmp_path / "telling.py"
    script.write_text(HALVES)
    with monkeypatch.context() as patched:
        for name, value in LAUNCHED.items():
            patched.setenv(name, value)
        done = launch(*command, "--out", tmp_path / "two", program=(str(script),))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("waits 364") == 2  # one process may be done hours before the other
    held = [line for line in done.stdout.splitlines() if line.startswith("holds")]
    assert held == [f"holds {weights // 2} of {weights}"] * 2
    code, _, err = ft(*command, "--out", tmp_path / "one")
    assert code == 0, err
    assert largest_difference(two, one) < equal
    assert read_card(two).fingerprint == read_card(one).fingerprint
    for mine, right in zip(read_history(two), read_history(one), strict=True):
        for name in ("loss", "grad_norm", "eval_loss"):
            found, expected = getattr(mine, name), getattr(right, name)
            assert (found is expected is None) or found == pytest.approx(expected, rel=1e-4), name
