"""The forecast of a training: counts by hand, memory beside what PyTorch's profiler sees, what needs less."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ft_harness.base_model import load_base_model
from ft_harness.examples import Example
from ft_harness.recipe import Recipe
from ft_harness.training import TrainingSet, count_work, empty_base, footprint, forecast, foresee, time_steps
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.objectives import make_objective

KIB = 1 << 10
# The tiny Llama of tests/tiny.py: hidden 32, inner 64, two layers, 2 of 4 heads for keys and values, V tokens
LINEAR = 2 * (32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 64 * 32)  # q, k and v, o, gate and up and down
TRAINED = 4096  # with r 4, by hand in tests/test_training.py


def recipe_of(model_folder: Path, **sections) -> Recipe:
    given = {"adapter": {"r": 4, "lora_dropout": 0.0}, "train": {"per_device_train_batch_size": 8}}
    for name in ("adapter", "train"):
        given[name] = given[name] | sections.pop(name, {})
    model = {"pretrained": str(model_folder)} | sections.pop("model", {})
    return Recipe.model_validate({"model": model, "task": {"name": "demo_sentiment"}} | given | sections)


def rows_of(count: int, length: int, answer: int = 2) -> list[Example]:
    """Rows of so many tokens to read."""
    return [Example([5] * (length + 1 - answer), [7] * answer, truncated=False) for _ in range(count)]


@pytest.fixture(scope="module")
def unweighted(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder without its weights."""
    folder = tmp_path_factory.mktemp("models") / "unweighted"
    shutil.copytree(model_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


def count(recipe: Recipe, rows: list[Example]) -> footprint.Counted:
    return footprint.count_memory(recipe, empty_base(recipe.model, None), rows)


def test_parts_by_hand_from_the_configuration_alone(unweighted: Path):
    found = count(recipe_of(unweighted), rows_of(8, 20))
    vocabulary = empty_base(recipe_of(unweighted).model, None).model.config.vocab_size
    parameters = LINEAR + 2 * vocabulary * 32 + 5 * 32  # embeddings, untied head, two norms a layer and one at the end
    assert (found.parameters, found.trainable) == (parameters, TRAINED)
    assert found.footprint.weights == 4 * parameters
    assert found.footprint.adapter == found.footprint.gradients == 4 * TRAINED
    assert found.footprint.optimizer == 8 * TRAINED
    assert found.footprint.total == sum(found.footprint.parts().values())


@pytest.mark.parametrize(
    ("sections", "part", "expected"),
    [
        ({"train": {"gradient_accumulation_steps": 2}}, "gradients", 2 * 4 * TRAINED),
        ({"train": {"optim": "paged_adamw_8bit"}}, "optimizer", 8 * TRAINED * (1 + 4 / 256) / 4),
        ({"train": {"optim": "sgd"}}, "optimizer", 0),
    ],
)
def test_parts_follow_the_recipe(unweighted: Path, sections, part: str, expected):
    found = count(recipe_of(unweighted, **sections), rows_of(8, 20))
    assert found.footprint.parts()[part] == pytest.approx(expected, abs=1)


def test_all_weights_are_trained_beside_a_copy_to_put_back(unweighted: Path):
    found = count(Recipe.model_validate(recipe_of(unweighted).model_dump() | {"adapter": "none"}), rows_of(8, 20))
    parts = found.footprint
    assert found.trainable == found.parameters
    assert parts.weights == parts.adapter == parts.gradients == 4 * found.parameters


def test_packed_weights_take_their_bits_and_hide_no_parameter(unweighted: Path):
    """nf4: half a byte a number, a byte of scale for 64, and 4 bytes for 256 of those; the head is not packed."""
    plain, packed = (
        count(recipe_of(unweighted, model=model), rows_of(8, 20)) for model in ({}, {"quantization": "nf4"})
    )
    saved = plain.footprint.weights - packed.footprint.weights
    assert saved == pytest.approx(LINEAR * (4 - 0.5 - 1 / 64 - 4 / (64 * 256)), abs=1)
    assert (packed.parameters, packed.trainable) == (plain.parameters, plain.trainable)


def profiled_peak(recipe: Recipe, rows: list[Example]) -> int:
    """Most bytes at once that PyTorch's profiler sees the CPU's allocator give in forward and backward."""
    base = load_base_model(recipe.model)
    objective = make_objective(base)
    with adapter_model(recipe, base) as model:
        model.train()
        if recipe.train.gradient_checkpointing:
            base.model.activation_checkpointing_enable({"use_reentrant": False})
        batch = objective.collate(rows)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            objective.summed_loss(model, batch, batch.pop("labels")).backward()
    events = [each for each in watched.profiler.kineto_results.events() if each.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}, {"loss_on": "prompt_and_answer"}])
@pytest.mark.parametrize(("count_rows", "padded", "length"), [(7, 1, 100), (3, 2, 60)])
def test_what_a_step_makes_is_what_the_profiler_sees(
    model_folder: Path, settings, count_rows: int, padded: int, length: int
):
    recipe = recipe_of(model_folder, train=settings)
    rows = rows_of(count_rows, length) + rows_of(padded, length // 2)
    rows = [replace(row, on_prompt=True) for row in rows] if "loss_on" in settings else rows
    parts = count(recipe, rows).footprint
    made = parts.activations + parts.logits + parts.gradients
    assert made == pytest.approx(profiled_peak(recipe, rows), rel=0.1)


def test_the_ledger_by_hand():
    """4,000 and 4,000 bytes live together, then one of them with 2,000: 8,000 at most; logits are as wide as V."""
    ledger = footprint._ledger_class()([], vocabulary=500, targets=3)
    with ledger:
        one = torch.zeros(1000)
        two = one + 1
        del one
        logits = torch.zeros(1, 500)
        assert two.nbytes + logits.nbytes == 6000
    assert ledger.peak == {False: 8000, True: 0}
    with ledger:
        more = torch.zeros(2, 500)
        assert more.shape == (2, 500)
        picked = torch.zeros(8, 5)[torch.zeros(8, dtype=torch.bool)]  # contents would say none
    assert picked.shape == (3, 5)
    assert ledger.peak[True] >= 6000


def data_of(rows: list[Example]) -> TrainingSet:
    return TrainingSet(rows, [], "task")


def test_work_by_hand(model_folder: Path):
    """20 rows in steps of 8: three steps an epoch, 2.5 epochs make 8 steps (2.67 epochs)."""
    work = count_work(recipe_of(model_folder, train={"num_train_epochs": 2.5}), rows_of(20, 10))
    assert work == (8, 8 / 3, round(200 * 8 / 3), round(40 * 8 / 3))


def test_the_largest_batch_is_the_one_with_most_tokens(model_folder: Path):
    rows = rows_of(30, 10) + rows_of(8, 90) + rows_of(30, 20)
    recipe = recipe_of(model_folder, train={"num_train_epochs": 1})
    found = forecast.largest_batch(recipe, rows, forecast.share_of(recipe))
    assert [len(row.input_ids) for row in found] == [90] * 8  # rows of a length are read together


def test_what_does_not_fit_says_what_needs_less(unweighted: Path, monkeypatch: pytest.MonkeyPatch):
    recipe, data = recipe_of(unweighted, train={"loss_on": "prompt_and_answer"}), data_of(rows_of(32, 128))
    base = empty_base(recipe.model, None)
    monkeypatch.setattr(forecast, "rss_bytes", lambda: 10 * KIB)
    found = foresee(recipe, base, data).memory
    assert found.own == 10 * KIB
    assert found.fits
    assert found.instead == []
    monkeypatch.setattr(forecast, "free_memory_bytes", lambda _: found.total - 10 * KIB)
    tight = foresee(recipe, base, data).memory
    assert tight.room == tight.total
    assert not tight.fits  # the count may be 15 % short
    totals = dict(tight.instead)
    halves = [f"train.per_device_train_batch_size={8 // k} train.gradient_accumulation_steps={k}" for k in (2, 4, 8)]
    assert list(totals)[:3] == halves
    assert totals[halves[2]] < totals[halves[1]] < totals[halves[0]] < tight.total
    assert {"train.gradient_checkpointing=true", "model.quantization=nf4", "model.max_length=64"} < set(totals)
    assert "train.loss_on=answer" in dict(forecast._smaller(recipe))  # saves nothing here: the vocabulary is small
    smaller = recipe_of(unweighted, train={"loss_on": "prompt_and_answer", "gradient_checkpointing": True})
    assert foresee(smaller, base, data).memory.total == totals["train.gradient_checkpointing=true"]


def test_an_architecture_that_looks_at_contents_is_said_not_to_be_foreseen(unweighted: Path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("no contents")

    monkeypatch.setattr(forecast, "count_memory", fail)
    recipe = recipe_of(unweighted)
    found = foresee(recipe, empty_base(recipe.model, None), data_of(rows_of(8, 20)))
    assert (found.memory, found.trainable, found.work.steps) == (None, None, 2)


def test_timing_leaves_the_base_and_the_random_generators_as_they_were(model_folder: Path):
    recipe = recipe_of(model_folder, adapter={"lora_dropout": 0.3})
    base = load_base_model(recipe.model)
    before, state = {key: value.clone() for key, value in base.model.state_dict().items()}, torch.get_rng_state()
    assert 0 < time_steps(recipe, base, data_of(rows_of(20, 30))) < 60
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(state, torch.get_rng_state())


def test_a_dry_run_says_it_all_and_starts_nothing(ft, model_folder: Path, reviews: Path, tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "train: {gradient_accumulation_steps: 2, per_device_train_batch_size: 4}\neval: {splits: [test], limit: 10}\n"
    )
    code, out, _ = ft("run", path, "--name", "mine", "--dry-run")
    assert code == 0
    lines = {line[:28].strip(): line[28:] for line in out.splitlines()}
    assert lines["docs, train"] == "64, trained on"
    assert lines["docs, test"] == "24, 10 scored with base and tuned each"
    assert lines["steps"] == "16 of 8 rows (4 at once, 2 accumulated), 2 epochs"
    assert lines["memory, peak"].endswith(": fits")
    assert lines["time"].startswith("about ")
    assert {"weights of the base", "activations", "logits", "Python and libraries", "tokens"} <= lines.keys()
    assert (
        not list(tmp_path.rglob("card.json"))
        + list(tmp_path.rglob("checkpoint-*"))
        + list(tmp_path.rglob("record.json"))
    )
    assert not list((tmp_path / "adapters").rglob("recipe.yaml"))
