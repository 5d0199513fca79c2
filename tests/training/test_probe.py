"""The probe before training: what it finds, that nothing of it stays, and what a training costs."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from ft_harness.models.adapters import read_card
from ft_harness.models.base_model import load_base_model
from ft_harness.models.memory import peak_rss_bytes, rss_bytes
from ft_harness.recipe import Recipe
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import TrainingPlan, build_training_set, cost, probe, run, train
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.cost import Spent
from ft_harness.training.loop import Loop


def recipe_of(model_folder: Path, reviews: Path, **settings) -> Recipe:
    adapter = settings.pop("adapter", {})
    train = {
        "num_train_epochs": 50,
        "max_steps": 100,
        "learning_rate": 0.01,
        "eval_strategy": "no",
    } | settings
    return Recipe.model_validate(
        {
            "model": {"pretrained": str(model_folder)},
            "task": {"name": "demo_sentiment"},
            "data": {"source": str(reviews)},
            "adapter": {"r": 4, "lora_dropout": 0.1} | adapter,
            "train": train,
        }
    )


@pytest.fixture(scope="module")
def base(model_folder: Path, reviews: Path):
    return load_base_model(recipe_of(model_folder, reviews).model)


def training_set(recipe: Recipe, base):
    tasks = load_tasks(
        find_task("demo_sentiment", metadata=recipe.task_metadata()), ["train", "validation"]
    )
    return build_training_set(tasks, base, recipe, "task")


@pytest.mark.slow  # trains twice
def test_the_adapter_is_the_same_to_the_bit_with_and_without_the_probe(
    base, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """100 steps of 16 rows are 1600 rows, of which ten steps on eight rows are a twentieth."""
    recipe = recipe_of(model_folder, reviews)
    found = train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "with").probe
    assert found.verdict == "falls"
    assert found.last < 0.99 * found.first
    monkeypatch.setattr(probe, "SHARE", 0.0499)
    assert (
        train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "without").probe
        is None
    )
    left, right = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("with", "without")
    )
    assert all(torch.equal(left[key], right[key]) for key in left | right)
    assert read_card(tmp_path / "with").probe == found


def test_all_processes_leave_the_probe_where_one_is_slow(
    base, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The other one passes its limit in its third step."""
    told: list[bool] = []
    both = SimpleNamespace(from_all=lambda slow: told.append(slow) or [slow, len(told) == 3])
    monkeypatch.setattr(probe, "processes", both)
    recipe = recipe_of(model_folder, reviews)
    assert train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path).probe is None
    assert told == [False] * 3


@pytest.mark.parametrize(
    ("settings", "verdict", "cause"),
    [
        ({"learning_rate": 30.0, "max_grad_norm": 1e9}, "rises", "learning_rate is too high"),
        ({"learning_rate": 1e-9}, "stays", "learning_rate is too low"),
    ],
)
def test_a_loss_that_does_not_fall_is_told_with_its_likely_cause(
    base, model_folder: Path, reviews: Path, settings, verdict: str, cause: str, caplog: pytest.LogCaptureFixture,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    recipe = recipe_of(model_folder, reviews, **settings)
    found = []

    def stop(*given):
        found.append(probe.probe_first(*given))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "probe_first", stop)
    with pytest.raises(KeyboardInterrupt):
        train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "a")
    assert found[0].verdict == verdict
    (line,) = [record.getMessage() for record in caplog.records if record.name == probe.__name__]
    assert cause in line
    assert all(torch.isfinite(parameter).all() for parameter in base.model.parameters())


@pytest.mark.parametrize(
    ("first", "last", "gradient", "verdict"),
    [
        (2.0, 1.9, 1.0, "falls"),
        (2.0, 1.9989, 1.0, "stays"),  # less than a thousandth: 0.002
        (2.0, 2.0019, 1.0, "stays"),
        (2.0, 2.0021, 1.0, "rises"),
        (2.0, float("nan"), 1.0, "rises"),
        (2.0, 2.0, 0.0, "no gradient"),
        (0.009, 0.001, 1.0, "near zero"),
    ],
)
def test_verdicts(first: float, last: float, gradient: float, verdict: str):
    found = probe.judge(first, last, gradient)
    assert found.verdict == verdict
    assert found.last is None if last != last else found.last == last


@pytest.mark.parametrize(
    ("steps", "rows", "worth"), [(100, 64, True), (99, 64, False), (49, 4000, False)]
)
def test_a_short_training_is_not_probed(
    model_folder: Path, reviews: Path, steps: int, rows: int, worth: bool
):
    """Steps of 16 rows: 10 steps on 8 rows are 5 % of 100 steps."""
    assert probe.is_worth(recipe_of(model_folder, reviews, max_steps=steps), rows) is worth


def test_a_continued_training_adds_up_its_stretches(
    base, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {"max_steps": 4, "num_train_epochs": 1, "save_steps": 1, "eval_strategy": "epoch"}
    recipe = recipe_of(model_folder, reviews, **settings)
    whole = train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "whole").cost
    assert whole.tokens == sum(
        len(row.input_ids) for row in training_set(recipe, base).examples
    )  # 64 rows, 4 steps
    assert 0 < whole.evaluation_seconds < whole.seconds
    assert whole.tokens_per_second == pytest.approx(
        whole.tokens / (whole.seconds - whole.evaluation_seconds)
    )
    original = Loop.learn

    def stopping(self, *given):
        if self.progress.step == 2:
            raise KeyboardInterrupt
        return original(self, *given)

    monkeypatch.setattr(Loop, "learn", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "parts")
    monkeypatch.undo()
    parts = train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "parts").cost
    assert (parts.tokens, parts.resumed_from_step) == (whole.tokens, 2)


def test_a_continued_training_keeps_what_the_probe_said(
    base, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = recipe_of(model_folder, reviews, max_steps=4, num_train_epochs=1, save_steps=1)
    monkeypatch.setattr(probe, "is_worth", lambda *_: True)
    with monkeypatch.context() as patched:
        patched.setattr(run, "save_weights", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "stopped")
    stopped = train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "stopped")
    whole = train(TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "whole")
    assert stopped.cost.resumed_from_step == 4
    assert stopped.probe == whole.probe
    assert stopped.probe is not None


def test_a_share_of_the_speed_is_of_the_processes_that_there_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two processes for 10 s, of which 2 s evaluated, then one for 4 s: 2 * 8 + 4 = 20 process-seconds of learning.
    40e9 operations in these are 2e9 a second, of 4e9 that a product of matrices makes: a half."""
    clock = [0.0]
    monkeypatch.setattr(cost.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(cost, "matmul_rate", lambda *_: 4e9)
    monkeypatch.setattr(cost, "useful_flops", lambda *_: 40e9)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"12345")
    stored = Spent()
    for several, seconds, evaluated in (("2", 10.0, 2.0), ("1", 4.0, 0.0)):
        monkeypatch.setenv("WORLD_SIZE", several)
        meter = cost.Meter(stored)
        meter.tokens += 30
        clock[0] += seconds - evaluated
        with meter.evaluating():
            clock[0] += evaluated
        stored = meter.spent()
        meter.stop()
        clock[0] += 100  # what follows is no training
        assert meter.spent() == stored
    model = SimpleNamespace(device=torch.device("cpu"), dtype=torch.float32)
    data = SimpleNamespace(examples=[SimpleNamespace(input_ids=[0] * 30)], trained_tokens=7)
    found = cost.measure_cost(
        stored, model, data, tmp_path, {"peak_rss_bytes": 1, "peak_gpu_bytes": None}
    )
    assert (found.seconds, found.evaluation_seconds, found.tokens) == (14.0, 2.0, 60)
    assert found.tokens_per_second == 60 / 12
    assert found.matmul_share == 0.5
    assert found.adapter_bytes == 5


def grab(amount: int) -> None:
    """Take so many bytes and give them back."""
    assert len(b"x" * amount) == amount


@pytest.mark.skipif(sys.platform != "linux", reason="other systems can't count a peak anew")
def test_peak_memory_is_that_of_training(base, model_folder: Path, reviews: Path, tmp_path: Path):
    grab(400 << 20)
    before = peak_rss_bytes()
    assert before > rss_bytes() + (300 << 20)
    recipe = recipe_of(model_folder, reviews, max_steps=1)
    found = train(
        TrainingPlan(recipe, base, training_set(recipe, base)), tmp_path / "a"
    ).cost.peak_rss_bytes
    assert rss_bytes() - (50 << 20) < found < before - (200 << 20)


def test_the_peak_is_that_of_the_process_that_took_most(monkeypatch: pytest.MonkeyPatch):
    others = {"peak_rss_bytes": 1 << 60, "peak_gpu_bytes": 0, "reserved_gpu_bytes": None}
    monkeypatch.setattr(cost, "peak_gpu_bytes", lambda: 7)
    monkeypatch.setattr(cost, "reserved_gpu_bytes", lambda: None)
    monkeypatch.setattr(cost.processes, "from_all", lambda own: [own, others])
    assert cost.largest_peaks() == {
        "peak_rss_bytes": 1 << 60,
        "peak_gpu_bytes": 7,
        "reserved_gpu_bytes": None,
    }


def test_useful_operations_by_hand():
    """Three tokens, one target: frozen 5 x 4 at 4 operations a number, trained 4 x 2 at 6, the head 7 x 4 once."""

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.trained = (
                torch.nn.Linear(4, 5, bias=False),
                torch.nn.Linear(2, 4, bias=False),
            )
            self.head = torch.nn.Linear(4, 7, bias=False)
            self.frozen.requires_grad_(False), self.head.requires_grad_(False)

        def get_output_embeddings(self) -> torch.nn.Module:
            return self.head

    assert cost.useful_flops(Model(), tokens=3, targets=1) == 4 * 20 * 3 + 6 * 8 * 3 + 4 * 28 * 1


def test_a_head_that_is_trained_whole_works_once_and_for_targets_only(
    base, model_folder: Path, reviews: Path
):
    """The output head of hidden 32, V words, at 6 operations a number; its frozen original stands by. LoRA r 4 on it is
    4 x 32 and V x 4 numbers more, beside the frozen head at 4."""
    vocabulary = base.model.config.vocab_size

    def of_head(**adapter) -> float:
        recipe = recipe_of(model_folder, reviews, adapter={"target_modules": ["q_proj"]} | adapter)
        with adapter_model(recipe, base) as model:
            return cost.useful_flops(model, tokens=10, targets=3) - cost.useful_flops(
                model, tokens=10, targets=0
            )

    assert of_head() == 4 * 32 * vocabulary * 3
    assert of_head(modules_to_save=["lm_head"]) == 6 * 32 * vocabulary * 3
    with_lora = (4 * 32 * vocabulary + 6 * 4 * (32 + vocabulary)) * 3
    assert of_head(target_modules=["q_proj", "lm_head"]) == with_lora


def test_a_module_that_is_trained_whole_is_counted_once(base, model_folder: Path, reviews: Path):
    """10 tokens through k_proj, 32 to 16 in each of two layers: 6 operations a number in place of 4."""
    found = []
    for saved in (None, ["k_proj"]):
        adapter = {"target_modules": ["q_proj"], "modules_to_save": saved}
        with adapter_model(recipe_of(model_folder, reviews, adapter=adapter), base) as model:
            found.append(cost.useful_flops(model, tokens=10, targets=0))
    assert found[1] - found[0] == 2 * 2 * 32 * 16 * 10


def test_the_matmul_rate_is_no_more_than_a_machine_has():
    assert 1e8 < cost.matmul_rate("cpu", "float32") < 1e14
