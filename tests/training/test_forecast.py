"""The forecast of a training: counts by hand, memory beside what PyTorch's profiler sees, what needs less."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from transformers import Trainer, TrainingArguments

from ft_harness.comparison import amounts
from ft_harness.models import quantization
from ft_harness.models.base_model import load_base_model
from ft_harness.models.heads import HeadInput, HeadPlan
from ft_harness.pipeline import forecast_lines
from ft_harness.recipe import Recipe
from ft_harness.tasks.examples import Example
from ft_harness.tasks.head_examples import HeadExample
from ft_harness.training import (
    Forecast,
    TrainingPlan,
    TrainingSet,
    Work,
    count_work,
    empty_base,
    hyperparameters,
    make_forecast,
    numerics,
    run,
    time_steps,
    train,
)
from ft_harness.training.adapter_model import trained_model
from ft_harness.training.batches import Share, StepSampler
from ft_harness.training.forecast import footprint, forecast
from ft_harness.training.objectives import make_objective
from tests.builders.command import assert_three_lines

pytestmark = pytest.mark.slow  # measures the memory of whole trainings

KIB = 1 << 10
# The tiny Llama of tests/builders/tiny.py: hidden 32, inner 64, two layers, 2 of 4 heads for keys and values, V tokens
LINEAR = 2 * (32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 64 * 32)  # q, k and v, o, gate and up and down
TRAINED = 4096  # with r 4, by hand in tests/training/test_training.py


def recipe_of(model_folder: Path, **sections) -> Recipe:
    given = {"adapter": {"r": 4, "lora_dropout": 0.0}, "train": {"per_device_train_batch_size": 8}}
    for name in ("adapter", "train"):
        given[name] = given[name] | sections.pop(name, {})
    model = {"pretrained": str(model_folder)} | sections.pop("model", {})
    return Recipe.model_validate(
        {"model": model, "task": {"name": "demo_sentiment"}} | given | sections
    )


def rows_of(count: int, length: int, answer: int = 2) -> list[Example]:
    """Rows of so many tokens to read."""
    return [
        Example([5] * (length + 1 - answer), [7] * answer, truncated=False) for _ in range(count)
    ]


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
    parameters = (
        LINEAR + 2 * vocabulary * 32 + 5 * 32
    )  # embeddings, untied head, two norms per layer and one at the end
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
        (
            {"train": {"optim": "adamw_torch_4bit"}},
            "optimizer",
            8 * TRAINED * (0.5 + 4 / 128) / 4,
        ),  # torchao: 128 each
        (
            {"train": {"optim": "schedule_free_sgd"}},
            "optimizer",
            4 * TRAINED,
        ),  # the weights where they would be
    ],
)
def test_parts_follow_the_recipe(unweighted: Path, sections, part: str, expected):
    found = count(recipe_of(unweighted, **sections), rows_of(8, 20))
    assert found.footprint.parts()[part] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize(
    "name",
    ["adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop", "adamw_8bit", "lion_8bit",
     "lion_32bit", "paged_adamw_32bit", "paged_adamw_8bit", "ademamix", "ademamix_8bit", "paged_ademamix_32bit",
     "rmsprop_bnb", "rmsprop_bnb_8bit"],
)  # fmt: skip
def test_states_are_those_of_the_optimizers_themselves(name: str, tmp_path: Path):
    """After a step on a matrix; an 8-bit optimizer's map of its codes is the same 1 KiB for any matrix."""
    side = 256
    weight = torch.nn.Parameter(torch.zeros(side, side))
    weight.grad = torch.ones_like(weight)
    kind, options = Trainer.get_optimizer_cls_and_kwargs(
        TrainingArguments(str(tmp_path), optim=name, use_cpu=True)
    )
    optimizer = kind([weight], **options)
    optimizer.step()
    held = [(key, value) for states in optimizer.state.values() for key, value in states.items()]
    sizes = [
        value.nbytes for key, value in held if isinstance(value, torch.Tensor) and "qmap" not in key
    ]
    assert footprint._state_bytes(name) * side**2 == pytest.approx(
        sum(sizes), rel=0.01, abs=0.1 * side**2
    )


def test_all_weights_are_trained_beside_a_copy_to_put_back(unweighted: Path):
    found = count(
        Recipe.model_validate(recipe_of(unweighted).model_dump() | {"adapter": "none"}),
        rows_of(8, 20),
    )
    parts = found.footprint
    assert found.trainable == found.parameters
    assert parts.weights == parts.adapter == parts.gradients == 4 * found.parameters


def test_packed_weights_take_their_bits_and_hide_no_parameter(unweighted: Path):
    """nf4: half a byte per number, a byte of scale for 64, and 4 bytes for 256 of those; the head is not packed."""
    plain, packed = (
        count(recipe_of(unweighted, model=model), rows_of(8, 20))
        for model in ({}, {"quantization": "nf4"})
    )
    saved = plain.footprint.weights - packed.footprint.weights
    assert saved == pytest.approx(LINEAR * (4 - 0.5 - 1 / 64 - 4 / (64 * 256)), abs=1)
    assert (packed.parameters, packed.trainable) == (plain.parameters, plain.trainable)


def profiled_peak(recipe: Recipe, rows: list[Example]) -> int:
    """Most bytes at once that PyTorch's profiler sees the CPU's allocator give in forward and backward."""
    base = load_base_model(recipe.model)
    objective = make_objective(base)
    with trained_model(recipe, base) as model:
        batch = objective.collate(rows)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
            objective.sums(model, batch, batch.pop("labels")).backward()
    events = [
        each for each in watched.profiler.kineto_results.events() if each.name() == "[memory]"
    ]
    now = peak = 0
    for event in sorted(events, key=lambda each: each.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_checkpointing": True}, {"loss_on": "prompt_and_answer"}]
)
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
    ledger = footprint._Ledger([], 500, {torch.bool: 3, torch.long: 5})
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
        tokens = torch.zeros(2, 4, dtype=torch.long).nonzero()
    assert picked.shape == (3, 5)
    assert tokens.shape == (5, 2)
    assert ledger.peak[True] >= 6000


def data_of(rows: list[Example]) -> TrainingSet:
    return TrainingSet(rows, [], "task")


def test_work_by_hand(model_folder: Path):
    """20 rows in steps of 8, 8 and 4: 2.5 epochs are 7.5 steps, so 8: twice all rows, and two whole steps of 8."""
    work = count_work(recipe_of(model_folder, train={"num_train_epochs": 2.5}), rows_of(20, 10))
    assert work == Work(8, 8 / 3, (2 * 20 + 16) * 10, (2 * 20 + 16) * 2, "token")
    last = count_work(recipe_of(model_folder, train={"max_steps": 3}), rows_of(20, 10))
    assert last == Work(3, 1.0, 200, 40, "token")  # the third step has 4 rows


def test_work_is_that_of_the_steps_themselves(model_folder: Path):
    """Rows of unlike length: what the sampler of training gives in the first two steps."""
    rows = [*rows_of(8, 10), *rows_of(8, 30), *rows_of(8, 90), *rows_of(6, 50)]
    batches = list(StepSampler([len(row.input_ids) for row in rows], Share(8), seed=0))[:2]
    expected = sum(len(rows[number].input_ids) for batch in batches for number in batch)
    assert count_work(recipe_of(model_folder, train={"max_steps": 2}), rows).tokens_read == expected


def test_a_head_has_labels_for_targets(model_folder: Path):
    rows = [HeadExample(HeadInput([5] * 10, None, truncated=False), 1) for _ in range(16)]
    work = count_work(recipe_of(model_folder, train={"max_steps": 2}), rows)
    assert work == Work(2, 1.0, 160, 16, "label")
    lines = dict(forecast_lines.work_lines(Forecast(work, Share(8), "cpu", None, None, None)))
    assert lines["tokens"] == "160 read, 16 labels trained on"


def test_a_head_has_as_many_rows_as_the_task_has_labels(unweighted: Path):
    """One output of the head more is 32 numbers more; the tiny model's configuration has 2."""
    recipe = recipe_of(unweighted, adapter={"task_type": "SEQ_CLS"})
    rows = [HeadExample(HeadInput([5] * 10, None, truncated=False), 1) for _ in range(8)]
    for labels in ("ab", "abcde"):
        base = empty_base(recipe.model, HeadPlan(tuple(labels), tuple(labels)))
        found = footprint.count_memory(recipe, base, rows)
        assert found.trainable == TRAINED + 32 * len(labels)
        assert base.info.parameters == found.parameters


def test_the_largest_batch_is_the_one_with_most_tokens(model_folder: Path):
    rows = rows_of(8, 10) + rows_of(8, 90) + rows_of(16, 20)
    recipe = recipe_of(model_folder, train={"num_train_epochs": 1})
    found = forecast.largest_batch(recipe, rows, forecast.share_out(recipe))
    assert [len(row.input_ids) for row in found] == [90] * 8  # four steps are sorted together


def test_only_planned_steps_have_a_largest_batch(model_folder: Path):
    """Which of the three steps comes first is the sampler's."""
    rows = rows_of(8, 10) + rows_of(8, 90) + rows_of(8, 20)
    recipe = recipe_of(model_folder, train={"max_steps": 1})
    first = next(iter(StepSampler([len(row.input_ids) for row in rows], Share(8), seed=0)))
    assert len(rows[first[0]].input_ids) != 90
    assert forecast.largest_batch(recipe, rows, Share(8)) == [rows[number] for number in first]


def test_what_does_not_fit_says_what_needs_less(unweighted: Path, monkeypatch: pytest.MonkeyPatch):
    recipe, data = (
        recipe_of(unweighted, train={"loss_on": "prompt_and_answer"}),
        data_of(rows_of(32, 128)),
    )
    base = empty_base(recipe.model, None)
    monkeypatch.setattr(forecast, "rss_bytes", lambda: 10 * KIB)
    found = make_forecast(TrainingPlan(recipe, base, data)).memory
    assert found.own == 10 * KIB
    assert found.fits
    assert found.instead == []
    monkeypatch.setattr(forecast, "free_memory_bytes", lambda _: found.total - 10 * KIB)
    tight = make_forecast(TrainingPlan(recipe, base, data)).memory
    assert tight.room == tight.total
    assert not tight.fits  # the count may be 15 % short
    batch, accumulation = "train.per_device_train_batch_size", "train.gradient_accumulation_steps"
    assert [each.settings for each in tight.instead] == [
        *({batch: 8 // many, accumulation: many} for many in (2, 4, 8)),
        {"train.gradient_checkpointing": True},
        {"model.quantization": "nf4"},
        {"model.max_length": 64},
    ]  # loss on answers alone saves nothing here: the vocabulary is small
    halves = [each.total for each in tight.instead[:3]]
    assert halves == sorted(halves, reverse=True)
    assert halves[0] < tight.total
    assert all(each.fits == (each.total * 1.15 <= tight.room) for each in tight.instead)
    smaller = recipe_of(
        unweighted, train={"loss_on": "prompt_and_answer", "gradient_checkpointing": True}
    )
    assert make_forecast(TrainingPlan(smaller, base, data)).memory.total == tight.instead[3].total


def test_where_no_setting_is_enough_they_are_taken_together(unweighted: Path):
    recipe, data = recipe_of(unweighted), data_of(rows_of(32, 128))
    base = empty_base(recipe.model, None, gpu=True)
    least = min(
        each.total
        for each in make_forecast(TrainingPlan(recipe, base, data), room=1).memory.instead[:6]
    )
    found = make_forecast(TrainingPlan(recipe, base, data), room=round(0.9 * least)).memory.instead
    assert [each.fits for each in found] == [False] * (len(found) - 1) + [True]
    one_row = {"train.per_device_train_batch_size": 1, "train.gradient_accumulation_steps": 8}
    assert found[6].settings == one_row | {"train.gradient_checkpointing": True}
    assert found[-1].settings.items() > found[6].settings.items() or len(found) == 7
    changed = recipe_of(unweighted, train=_fields(found[6].settings, "train"))
    assert make_forecast(TrainingPlan(changed, base, data), room=1).memory.total == found[6].total


def _fields(settings: dict[str, object], section: str) -> dict[str, object]:
    return {
        name.removeprefix(f"{section}."): value
        for name, value in settings.items()
        if name.startswith(f"{section}.")
    }


@pytest.mark.parametrize(
    ("batch", "accumulation", "halves"),
    [
        (12, 1, [6, 3, 1]),
        (5, 1, [1]),
        (10, 1, [5, 2, 1]),
        (6, 2, [3, 1]),
        (5, 2, [2, 1]),
        (1, 8, []),
    ],
)
def test_any_batch_is_halved_down_to_one_row(
    batch: int, accumulation: int, halves: list[int], model_folder: Path
):
    """The rows of a step stay: a micro-batch divides them."""
    train = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
    found = [
        list(each.values())
        for each in forecast._micro_batches(recipe_of(model_folder, train=train))
    ]
    assert found == [[rows, batch * accumulation // rows] for rows in halves]


def test_a_gpu_elsewhere_computes_in_sixteen_bits(unweighted: Path):
    """Weights stored in float32 stay so; packed ones compute in bfloat16, in which their other weights are kept."""
    plain = recipe_of(unweighted)
    assert empty_base(plain.model, None, gpu=True).info.dtype == "float32"
    packed = recipe_of(unweighted, model={"quantization": "nf4"})
    here, there = empty_base(packed.model, None), empty_base(packed.model, None, gpu=True)
    assert (here.info.dtype, there.info.dtype, there.device) == ("float32", "bfloat16", "cuda")
    rows = rows_of(8, 20)
    numbers = here.info.parameters - LINEAR
    weights = [
        footprint.count_memory(packed, base, rows).footprint.weights for base in (here, there)
    ]
    assert weights[0] - weights[1] == 2 * numbers
    found = make_forecast(TrainingPlan(packed, there, data_of(rows)), room=10**9).memory
    assert (found.own, found.room, found.fits) == (0, 10**9, True)


def test_an_architecture_that_looks_at_contents_is_said_not_to_be_foreseen(
    unweighted: Path, monkeypatch
):
    def fail(*_: object) -> None:
        raise RuntimeError("no contents")

    monkeypatch.setattr(forecast, "count_once", fail)
    recipe = recipe_of(unweighted)
    found = make_forecast(
        TrainingPlan(recipe, empty_base(recipe.model, None), data_of(rows_of(8, 20)))
    )
    assert (found.memory, found.trainable, found.work.steps) == (None, None, 2)


def test_timing_leaves_the_base_and_the_random_generators_as_they_were(model_folder: Path):
    recipe = recipe_of(model_folder, adapter={"lora_dropout": 0.3})
    base = load_base_model(recipe.model)
    before, state = (
        {key: value.clone() for key, value in base.model.state_dict().items()},
        torch.get_rng_state(),
    )
    assert 0 < time_steps(TrainingPlan(recipe, base, data_of(rows_of(20, 30)))) < 60
    after = base.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.equal(state, torch.get_rng_state())


def test_time_by_hand(model_folder: Path, monkeypatch: pytest.MonkeyPatch):
    """A clock that a batch takes 2 s by and the optimizer 0.5 s: 8 rows of 30 tokens in 2 s, 2 x 20 x 30 tokens in
    10 s; 2 x 3 steps in 3 s. The first, which warms up, is slower and not counted."""
    recipe = recipe_of(model_folder, train={"num_train_epochs": 2})
    base = load_base_model(recipe.model)
    clock = iter([0, 100, 200, *(200 + 5 * turn + at for turn in (1, 2) for at in (0, 2, 2.5))])
    monkeypatch.setattr(forecast, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    found = time_steps(TrainingPlan(recipe, base, data_of(rows_of(20, 30))))
    assert found == pytest.approx(10 + 3)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory, model_folder: Path):
    """The tiny model in bfloat16."""
    return load_base_model(recipe_of(model_folder, model={"dtype": "bfloat16"}).model)


def seen_of(model) -> dict[str, object]:
    """How a model is set up at the moment."""
    inner = model.get_base_model()
    return {
        "training": all(module.training for module in model.modules()),
        "checkpointing": inner.is_activation_checkpointing,
        "products": sum(
            bool(module.lora_variant)
            for module in model.modules()
            if hasattr(module, "lora_variant")
        ),
    }


def test_a_model_is_timed_as_it_is_trained(
    half, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Both are looked at where their loss is made; 7 linear layers in each of two have 16-bit products."""
    seen: list[dict[str, object]] = []

    def watching(*given):
        made = make_objective(*given)

        def loss(model, *given):
            seen.append(seen_of(model))
            return made.sums(model, *given)

        return made._replace(sums=loss)

    monkeypatch.setattr(forecast, "make_objective", watching)
    monkeypatch.setattr(run, "make_objective", watching)
    recipe = recipe_of(model_folder, train={"gradient_checkpointing": True, "max_steps": 1})
    time_steps(TrainingPlan(recipe, half, data_of(rows_of(8, 20))))
    timed = list(seen)
    seen.clear()
    train(TrainingPlan(recipe, half, data_of(rows_of(8, 20))), tmp_path / "a")
    assert timed == [{"training": True, "checkpointing": True, "products": 14}] * 3
    assert seen == timed[:1]
    assert not half.model.is_activation_checkpointing


def test_the_optimizer_is_timed_with_the_recipes_own(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    steps = []
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: steps.append(self.defaults["lr"]))
    recipe = recipe_of(model_folder, train={"optim": "sgd", "learning_rate": 0.25})
    time_steps(TrainingPlan(recipe, load_base_model(recipe.model), data_of(rows_of(8, 20))))
    assert steps == [0.25] * 3


def test_autocast_is_that_of_a_gpu_in_bfloat16(half):
    assert not numerics.is_autocast(half)
    with numerics.autocast(half):
        assert not torch.is_autocast_enabled("cpu")
    on_gpu = replace(half, device="cuda")
    assert numerics.is_autocast(on_gpu)
    with numerics.autocast(on_gpu, "cpu"):
        assert torch.is_autocast_enabled("cpu")
    assert not numerics.is_autocast(
        replace(on_gpu, info=half.info.model_copy(update={"dtype": "float32"}))
    )


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (amounts.epochs(1.0), "1 epoch"),
        (amounts.epochs(2.0), "2 epochs"),
        (amounts.epochs(8 / 3), "2.7 epochs"),
        (amounts.epochs(0.02), "0.02 epochs"),
        (amounts.epochs(150.0), "150 epochs"),
        (amounts.tokens(60), "60 tokens"),
        (amounts.tokens(1_234_567_890), "1,235 M tokens"),
        (amounts.tokens(2_500_000), "2.5 M tokens"),
        (forecast_lines._trainable(39072, 39072), "all 39,072"),
        (
            forecast_lines._trainable(4096, 1_000_000),
            "4,096 next to 1,000,000 of the base (0.41 %)",
        ),
        (forecast_lines._trainable(990, 1000), "990 next to 1,000 of the base (99 %)"),
        (forecast_lines._trainable(None, 1000), "not known"),
    ],
)
def test_numbers_as_they_are_said(shown: str, expected: str):
    assert shown == expected


def test_a_forecast_in_a_line_advises_what_fits():
    work = Work(1, 1.0, 2_500_000, 8, "token")
    parts = footprint.Footprint(2**30, 0, 0, 0, 0, 0)
    memory = forecast.Memory(parts, 0, 2**30)
    small = replace(parts, weights=2**29)
    instead = [
        memory.with_settings({"train.gradient_checkpointing": True}, parts),
        memory.with_settings({"model.quantization": "nf4", "model.max_length": 64}, small),
    ]
    said = forecast_lines.summarise(
        Forecast(work, Share(8), "cuda", 1, 1, replace(memory, instead=instead))
    )
    assert said == (
        "1 step of 8 rows, 2.5 M tokens to read, peak about 1.0 GiB of 1.0 GiB; WARNING: it may not fit "
        "(512.0 MiB: fits with --set model.quantization=nf4 --set model.max_length=64)"
    )


def write_recipe(tmp_path: Path, model_folder: Path, reviews: Path, more: str = "") -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        f"train: {{gradient_accumulation_steps: 2, per_device_train_batch_size: 4{more}}}\n"
        "eval: {splits: [test], limit: 10}\n"
    )
    return path


def lines_of(out: str) -> dict[str, str]:
    """Quantities and amounts, which two spaces or more stand between."""
    return {re.split(" {2,}", line.strip(), maxsplit=1)[0]: line[28:] for line in out.splitlines()}


def test_a_dry_run_says_it_all_and_writes_nothing(
    ft, model_folder: Path, reviews: Path, tmp_path: Path
):
    path = write_recipe(tmp_path, model_folder, reviews)
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = ft("run", path, "--name", "mine", "--dry-run")
    assert code == 0
    lines = lines_of(out)
    assert lines["docs, train"] == "64, trained on"
    assert lines["docs, test"] == "24, 10 scored with base and tuned each"
    assert lines["steps"] == "16 of 8 rows (4 at once, 2 accumulated), 2 epochs"
    assert lines["memory, peak"].endswith(": fits")
    assert lines["time"].startswith("about ")
    assert {
        "weights of the base",
        "activations",
        "logits",
        "Python and libraries",
        "tokens",
    } <= lines.keys()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_looks_whether_its_folders_could_be_written(
    ft, model_folder: Path, reviews: Path, tmp_path: Path
):
    (tmp_path / "adapters").write_text("a file where a folder has to be")
    code, _, err = ft(
        "run", write_recipe(tmp_path, model_folder, reviews), "--name", "mine", "--dry-run"
    )
    assert (code, "adapters: can't be written" in err) == (2, True)


def test_a_dry_run_that_may_not_fit_shows_what_does(
    ft, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(forecast, "rss_bytes", lambda: 0)
    monkeypatch.setattr(forecast, "free_memory_bytes", lambda _: 1000 * KIB)
    code, out, _ = ft(
        "run", write_recipe(tmp_path, model_folder, reviews), "--name", "mine", "--dry-run"
    )
    assert code == 0
    lines = out.splitlines()
    peak = next(line for line in lines if line.startswith("memory, peak"))
    assert peak.endswith(" of 1000.0 KiB: MAY NOT FIT")
    assert lines[-1].split("  ")[-1] == "not known: it may not fit"
    advice = lines[lines.index("what needs less") + 1 : -1]
    found = [
        re.fullmatch(
            r"  (\S+ [KM]iB): (fits|may not fit) {2,}(--set \S+=\S+(?: --set \S+=\S+)*)", line
        )
        for line in advice
    ]
    assert all(found), advice
    kib = [float(each[1].split()[0]) * {"K": 1, "M": 1024}[each[1].split()[1][0]] for each in found]
    assert [each[2] == "fits" for each in found] == [size * 1.15 <= 1000 for size in kib]
    assert {each[2] for each in found} == {"fits", "may not fit"}
    assert (
        found[0][3]
        == "--set train.per_device_train_batch_size=2 --set train.gradient_accumulation_steps=4"
    )
    settings = [
        word
        for word in next(each[3] for each in found if each[2] == "fits").split()
        if word != "--set"
    ]
    options = [word for setting in settings for word in ("--set", setting)]
    code, out, _ = ft("run", tmp_path / "recipe.yaml", "--name", "mine", "--dry-run", *options)
    assert (code, "MAY NOT FIT" in out) == (0, False)


def test_a_long_quantity_stays_apart_from_its_amount(
    ft, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "ft_harness.pipeline.dry_run.estimate", lambda *_: [("q" * 40, "1 GiB"), ("short", "2 GiB")]
    )
    _, out, _ = ft(
        "run", write_recipe(tmp_path, model_folder, reviews), "--name", "mine", "--dry-run"
    )
    assert out.splitlines() == ["q" * 40 + "  1 GiB", "short" + " " * 37 + "2 GiB"]


def test_a_dry_run_for_a_gpu_elsewhere(
    ft, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch
):
    """What only this CPU can't do is not refused; how long it takes is not known here."""
    monkeypatch.setattr(hyperparameters, "_try_step", _refuse)
    monkeypatch.setattr(quantization, "_odd_modules", lambda *_: ["lm (3)"])
    path = write_recipe(tmp_path, model_folder, reviews, ", optim: paged_adamw_8bit")
    given = ("run", path, "--name", "mine", "--set", "model.quantization=nf4")
    code, _, err = ft(*given, "--dry-run")
    assert (code, "can't take a step here" in err, "in 4 bits on a CPU" in err) == (3, True, True)
    code, out, _ = ft(*given, "--dry-run=24")
    lines = lines_of(out)
    assert code == 0
    assert lines["GPU memory, peak"].endswith(" of 24.0 GiB: fits")
    assert lines["time"].startswith("not known")
    assert "Python and libraries" not in lines


def _refuse(*_: object) -> None:
    raise RuntimeError("no kernel for this device")


def test_a_dry_run_looks_at_the_learning_rate_of_each_step(
    ft, model_folder: Path, reviews: Path, tmp_path: Path
):
    command = (
        "run",
        write_recipe(tmp_path, model_folder, reviews),
        "--name",
        "mine",
        "--dry-run",
        "--set",
    )
    code, _, err = ft(*command, "train.max_steps=1", "--set", "train.warmup_steps=1")
    assert code == 3
    assert_three_lines(err, "train.learning_rate: 0 in each of the 1 steps")
    code, out, _ = ft(*command, "train.max_steps=3", "--set", "train.warmup_steps=3")
    assert code == 0
    assert (
        "WARNING: train.warmup_steps is 3 of 3 steps: the full learning rate is never reached"
        in out
    )
