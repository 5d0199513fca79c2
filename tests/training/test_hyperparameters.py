"""The training's hyperparameters do what transformers says of them; what can't run here is refused before a model is
loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments, get_scheduler, modeling_utils
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from ft_harness.errors import InputError
from ft_harness.models.adapters import AdapterFolder, attached, read_history
from ft_harness.models.base_model import load_base_model
from ft_harness.models.heads import plan_head
from ft_harness.recipe import Recipe
from ft_harness.training import (
    TrainingPlan,
    describe_warmup,
    hyperparameter_problems,
    rate_problems,
    train,
)
from ft_harness.training.adapter_model import adapter_model
from ft_harness.training.hyperparameters import (
    ignored_by_optimizer,
    make_optimizer,
    warmup_steps,
)
from tests.builders.command import assert_three_lines
from tests.builders.interruptions import kill_at_step
from tests.builders.tiny import write_jsonl
from tests.builders.weights import weights
from tests.training.test_methods import PROMPTS, Bench, save_llama

pytestmark = pytest.mark.slow  # trains with every schedule and optimizer

ADAPTER = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0}


@pytest.fixture(scope="module")
def bench(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = save_llama(tmp_path_factory.mktemp("models") / "tiny")
    recipe = Recipe.model_validate(
        {"model": {"pretrained": str(folder)}, "task": {"name": "demo_sentiment"}}
    )
    return Bench(load_base_model(recipe.model), folder, str(reviews))


def losses(folder: Path) -> list[float]:
    return [entry.loss for entry in read_history(folder) if entry.loss is not None]


# --- learning rate ---------------------------------------------------------------------------------------------------

# Step k of 10 takes what the schedule says after k - 1 steps, s. Two steps of warm-up: s/2 of the full rate, here 1e-3;
# then p = (s - 2) / 8 of the way down: linear 1 - p, cosine (1 + cos(pi p)) / 2, polynomial of power 2 towards 2e-4:
# 2e-4 + 8e-4 (1 - p)^2. A warm-up of 0.25 of 10 steps is rounded up to 3.
RATES: dict[str, tuple[dict[str, Any], dict[int, float]]] = {
    "linear": ({"lr_scheduler_type": "linear", "warmup_steps": 2}, {1: 0, 2: 5e-4, 3: 1e-3, 7: 5e-4, 10: 1.25e-4}),
    "share of all": ({"lr_scheduler_type": "linear", "warmup_steps": 0.25}, {1: 0, 2: 1e-3 / 3, 4: 1e-3, 10: 1e-3 / 7}),
    "cosine": (
        {"lr_scheduler_type": "cosine", "warmup_steps": 2},
        {2: 5e-4, 3: 1e-3, 5: 1e-3 * (1 + math.sqrt(0.5)) / 2, 7: 5e-4, 9: 1e-3 * (1 - math.sqrt(0.5)) / 2},
    ),
    "constant": ({"lr_scheduler_type": "constant", "warmup_steps": 2}, {1: 1e-3, 10: 1e-3}),
    "constant with warm-up": (
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 2}, {1: 0, 2: 5e-4, 3: 1e-3, 10: 1e-3},
    ),
    "polynomial": (
        {"lr_scheduler_type": "polynomial", "warmup_steps": 2, "lr_scheduler_kwargs": {"power": 2, "lr_end": 2e-4}},
        {2: 5e-4, 3: 1e-3, 5: 6.5e-4, 7: 4e-4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RATES)
def test_learning_rates(name: str, bench: Bench, tmp_path: Path):
    settings, expected = RATES[name]
    bench.train(
        tmp_path / "a", ADAPTER, max_steps=10, learning_rate=1e-3, eval_strategy="no", **settings
    )
    found = {
        entry.step: entry.learning_rate
        for entry in read_history(tmp_path / "a")
        if entry.loss is not None
    }
    assert len(found) == 10
    assert {step: found[step] for step in expected} == pytest.approx(expected, abs=1e-12)


def test_a_rate_that_falls_where_evaluations_stop_improving(bench: Bench, tmp_path: Path):
    """No loss is better by 99.9 %: halved at each evaluation but the first, which is the best so far."""
    kwargs = {"patience": 0, "factor": 0.5, "threshold": 0.999}
    settings = {
        "max_steps": None,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 32,
        "learning_rate": 1e-3,
    }
    bench.train(
        tmp_path / "a",
        ADAPTER,
        lr_scheduler_type="reduce_lr_on_plateau",
        lr_scheduler_kwargs=kwargs,
        **settings,
    )
    rates = [
        entry.learning_rate for entry in read_history(tmp_path / "a") if entry.loss is not None
    ]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4, 2.5e-4])


def test_a_greedy_rate_goes_by_the_evaluations(bench: Bench, tmp_path: Path):
    """As transformers' own schedule, given the losses that the history holds."""
    settings = {
        "max_steps": None,
        "num_train_epochs": 4,
        "per_device_train_batch_size": 64,
        "learning_rate": 1e-3,
    }
    bench.train(
        tmp_path / "a",
        ADAPTER,
        lr_scheduler_type="greedy",
        lr_scheduler_kwargs={"patience": 0},
        **settings,
    )
    history = read_history(tmp_path / "a")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedule, expected = (
        get_scheduler("greedy", optimizer, scheduler_specific_kwargs={"patience": 0}),
        [],
    )
    for entry in history:
        if entry.eval_loss is not None:
            schedule.step(entry.eval_loss)
        else:
            expected.append(optimizer.param_groups[0]["lr"])
    assert [entry.learning_rate for entry in history if entry.loss is not None] == pytest.approx(
        expected
    )
    assert len(set(expected)) > 1


def test_every_schedule_of_transformers_can_be_asked_for(bench: Bench):
    needed = {
        "cosine_with_min_lr": {"min_lr_rate": 0.1}, "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1},
        "warmup_stable_decay": {"num_decay_steps": 5},
    }  # fmt: skip
    for kind in SchedulerType:
        recipe = bench.recipe(
            ADAPTER, lr_scheduler_type=kind.value, lr_scheduler_kwargs=needed.get(kind.value, {})
        )
        assert hyperparameter_problems(recipe) == [], kind


@pytest.mark.parametrize(
    ("kind", "kwargs", "words"),
    [
        ("cosine", {"num_cycle": 1}, "num_cycle"),
        ("linear", {"power": 2}, "power"),
        ("constant", {"power": 2}, "it takes none"),
        ("constant_with_warmup", {"power": 2}, "it takes none"),
        ("cosine_with_min_lr", {}, "min_lr"),
        ("warmup_stable_decay", {}, "num_decay_steps"),
        ("polynomial", {"lr_end": 1.0}, "must be smaller than initial lr"),
        ("reduce_lr_on_plateau", {"factor": 2}, "Factor"),
    ],
)
def test_arguments_that_a_schedule_does_not_take(
    kind: str, kwargs: dict[str, Any], words: str, bench: Bench
):
    recipe = bench.recipe(ADAPTER, lr_scheduler_type=kind, lr_scheduler_kwargs=kwargs)
    (found,) = hyperparameter_problems(recipe)
    assert "train.lr_scheduler_kwargs" in found.what
    assert words in found.what


@pytest.mark.parametrize("kind", ["reduce_lr_on_plateau", "greedy"])
def test_a_schedule_that_goes_by_evaluations_needs_them(kind: str, bench: Bench):
    with pytest.raises(ValueError, match="goes by what evaluations find"):
        bench.recipe(ADAPTER, lr_scheduler_type=kind, eval_strategy="no")


WARMING_UP: list[tuple[dict[str, Any], str | None]] = [  # 43 rows: 6 steps of 8 rows an epoch
    ({"num_train_epochs": 2}, None),  # 12 steps, one of warm-up
    ({"num_train_epochs": 2, "warmup_steps": 11}, None),
    ({"num_train_epochs": 2, "warmup_steps": 12}, "WARNING: train.warmup_steps is 12 of 12 steps"),
    (
        {"num_train_epochs": 2, "warmup_steps": 500},
        "WARNING: train.warmup_steps is 500 of 12 steps",
    ),
    ({"num_train_epochs": 2, "warmup_steps": 500, "lr_scheduler_type": "constant"}, None),
    ({"num_train_epochs": 2, "warmup_steps": 500, "lr_scheduler_type": "greedy"}, None),
    ({"num_train_epochs": 0.1, "warmup_steps": 0}, None),
]


@pytest.mark.parametrize(("settings", "warning"), WARMING_UP, ids=str)
def test_a_warm_up_that_never_ends_is_pointed_out(
    settings: dict[str, Any], warning: str | None, bench: Bench
):
    recipe = bench.recipe(ADAPTER, max_steps=None, **settings)
    assert rate_problems(recipe.train, 43) == []
    found = describe_warmup(recipe.train, 43)
    assert (found is None) == (warning is None)
    assert str(found).startswith(str(warning))


@pytest.mark.parametrize(
    "settings", [{"num_train_epochs": 0.1}, {"max_steps": 1, "warmup_steps": 3}], ids=str
)
def test_steps_that_all_have_rate_0_are_refused(settings: dict[str, Any], bench: Bench):
    """A tenth of 6 steps is one, whose rate is that of the schedule after none: 0."""
    recipe = bench.recipe(ADAPTER, **{"max_steps": None} | settings)
    (found,) = rate_problems(recipe.train, 43)
    assert found.what == "train.learning_rate: 0 in each of the 1 steps, so that nothing is learnt"


@pytest.mark.parametrize(
    ("settings", "idle"),
    [
        ({"optim": "sgd", "adam_beta1": 0.5}, ["adam_beta1"]),
        ({"optim": "adafactor", "adam_epsilon": 1e-3, "adam_beta2": 0.9}, ["adam_beta2", "adam_epsilon"]),
        ({"optim": "adamw_torch", "adam_beta1": 0.5, "adam_epsilon": 1e-3}, []),
        ({"optim": "sgd", "weight_decay": 0.1}, []),
        ({"optim": "no such thing", "adam_beta1": 0.5}, []),  # reported as such
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_adam_under_another_optimizer_are_named(
    settings: dict[str, Any], idle: list[str], bench: Bench
):
    train = bench.recipe(ADAPTER, **settings).train
    assert ignored_by_optimizer(train) == idle


def write_recipe(folder: Path, bench: Bench, rest: str, task: str = "demo_sentiment") -> Path:
    path = folder / "adapters" / "x" / "recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {bench.model_folder}}}\ndata: {{source: {bench.source}}}\ntask: {{name: {task}}}\n{rest}"
    )
    return path


def test_the_warm_up_is_looked_at_by_check_and_run(bench: Bench, tmp_path: Path, ft):
    recipe = write_recipe(
        tmp_path,
        bench,
        "adapter: {r: 4}\ntrain: {max_steps: 2, warmup_steps: 9}\neval: {splits: [test]}\n",
    )
    code, out, _ = ft("check", recipe)
    assert (code, "train.warmup_steps is 9 of 2 steps" in out.partition("things checked")[2]) == (
        0,
        True,
    )
    code, out, err = ft("train", recipe)
    assert (code, "train.warmup_steps is 9 of 2 steps" in out + err) == (0, True)
    for command in ("check", "train"):
        code, _, err = ft(command, recipe, "--set", "train.max_steps=1")
        assert code == 3
        assert_three_lines(err, "nothing is learnt", "train.warmup_steps")


# --- optimizer -------------------------------------------------------------------------------------------------------


def test_fields_are_those_of_transformers_arguments_and_reach_the_optimizer(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {
        "learning_rate": 3e-4, "num_train_epochs": 5.0, "max_steps": 77, "per_device_train_batch_size": 3,
        "gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 1.5},
        "warmup_steps": 7, "weight_decay": 0.1, "optim": "adafactor", "adam_beta1": 0.8, "adam_beta2": 0.95,
        "adam_epsilon": 1e-6, "max_grad_norm": 0.3, "gradient_checkpointing": True, "seed": 11,
    }  # fmt: skip
    known = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", **settings)
    assert {name: getattr(known, name) for name in settings} == settings
    seen, original = [], Trainer.get_optimizer_cls_and_kwargs

    def watched(arguments: TrainingArguments, model: torch.nn.Module) -> Any:
        seen.append(arguments)
        return original(arguments, model)

    monkeypatch.setattr(Trainer, "get_optimizer_cls_and_kwargs", watched)
    make_optimizer(bench.recipe(ADAPTER, **settings).train, torch.nn.Linear(2, 2))
    of_optimizer = (
        "learning_rate",
        "weight_decay",
        "optim",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
    )
    (made,) = seen
    assert {name: getattr(made, name) for name in of_optimizer} == {
        name: settings[name] for name in of_optimizer
    }


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant_with_warmup"])
@pytest.mark.parametrize("warmup", [0, 0.05, 0.31, 1, 7, 500])
def test_steps_of_warm_up_are_those_of_transformers(
    kind: str, warmup: float, tmp_path: Path, bench: Bench
):
    known = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none", warmup_steps=warmup)
    settings = bench.recipe(ADAPTER, warmup_steps=warmup, lr_scheduler_type=kind).train
    assert [warmup_steps(settings, steps) for steps in range(1, 50)] == [
        known.get_warmup_steps(steps) for steps in range(1, 50)
    ]


def test_biases_and_norms_do_not_decay(bench: Bench, tmp_path: Path):
    """The groups that transformers' Trainer makes of the same model."""
    recipe = bench.recipe("none", weight_decay=0.3)
    with adapter_model(recipe, bench.base) as model:
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(1))  # Llama itself has none
        try:
            arguments = TrainingArguments(
                str(tmp_path), use_cpu=True, report_to="none", weight_decay=0.3
            )
            expected = Trainer(model, arguments).create_optimizer().param_groups
            found = make_optimizer(recipe.train, model).param_groups
        finally:
            model.lm_head.bias = None
        assert [group["weight_decay"] for group in found] == [0.3, 0.0]
        assert all(group["params"] for group in found)
        for mine, theirs in zip(found, expected, strict=True):
            assert list(map(id, mine["params"])) == list(map(id, theirs["params"]))


def start_of(bench: Bench, settings: dict[str, Any], part: str) -> dict[str, torch.Tensor]:
    """The weights of a fresh adapter whose names hold `part`, by the names that its file has."""
    with adapter_model(bench.recipe(ADAPTER, **settings), bench.base) as model:
        return {
            name.replace(".default", ""): p.detach().clone()
            for name, p in model.named_parameters()
            if part in name
        }


def test_gradients_are_clipped(bench: Bench, tmp_path: Path):
    """One step of plain descent with rate 2 and gradients of norm at most 0.01 moves the weights by 0.02."""
    settings = {
        "max_steps": 1, "optim": "sgd", "learning_rate": 2.0, "lr_scheduler_type": "constant", "max_grad_norm": 0.01,
        "eval_strategy": "no",
    }  # fmt: skip
    start = start_of(bench, settings, "lora")
    bench.train(tmp_path / "a", ADAPTER, **settings)
    moved = sum(
        float((weight - start[name]).pow(2).sum())
        for name, weight in weights(tmp_path / "a").items()
    )
    assert read_history(tmp_path / "a")[0].grad_norm > 0.01
    assert math.sqrt(moved) == pytest.approx(0.02, rel=1e-3)


def test_weight_decay(bench: Bench, tmp_path: Path):
    """AdamW decays a weight by rate x decay before its step; where A has no gradient, as B is zero at the first step,
    A is 1 - 0.1 x 0.5 of what it was."""
    settings = {
        "max_steps": 1, "learning_rate": 0.1, "weight_decay": 0.5, "lr_scheduler_type": "constant",
        "eval_strategy": "no",
    }  # fmt: skip
    start = start_of(bench, settings, "lora_A")
    bench.train(tmp_path / "a", ADAPTER, **settings)
    after = weights(tmp_path / "a")
    assert len(start) == 14  # seven modules in each of two layers
    assert all(
        torch.allclose(after[name], weight * 0.95, atol=1e-7) for name, weight in start.items()
    )


RUN_HERE = {
    "adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop", "adamw_bnb_8bit", "adamw_8bit",
    "lion_8bit", "lion_32bit", "paged_adamw_32bit", "paged_adamw_8bit", "paged_lion_32bit", "paged_lion_8bit",
    "ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit", "rmsprop_bnb", "rmsprop_bnb_8bit",
    "rmsprop_bnb_32bit",
}  # fmt: skip


@pytest.mark.parametrize("name", [each.value for each in OptimizerNames])
def test_an_optimizer_takes_a_step_here_or_is_refused_with_the_reason(name: str, bench: Bench):
    found = hyperparameter_problems(bench.recipe(ADAPTER, optim=name))
    assert (found == []) == (name in RUN_HERE), found
    assert all(f"train.optim {name}: it can't take a step here (" in each.what for each in found)


def test_an_optimizer_that_is_made_but_fails_at_its_step_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no kernel for this device")

    monkeypatch.setattr(torch.optim.SGD, "step", fail)
    (found,) = hyperparameter_problems(bench.recipe(ADAPTER, optim="sgd"))
    assert found.what == "train.optim sgd: it can't take a step here (no kernel for this device)"


def test_a_learning_rate_that_no_optimizer_can_take_is_named(bench: Bench):
    """AdamW divides it by 1 - 0.9: 1e39 is beyond float32's 3.4e38."""
    (found,) = hyperparameter_problems(bench.recipe(ADAPTER, learning_rate=1e38))
    assert found.what.startswith(
        "train.learning_rate 1e+38: adamw_torch can't take a step with it ("
    )


@pytest.mark.parametrize("name", ["adafactor", "paged_adamw_8bit", "lion_32bit"])
def test_training_with_another_optimizer(name: str, bench: Bench, tmp_path: Path):
    bench.train(
        tmp_path / "a", ADAPTER, optim=name, max_steps=8, eval_strategy="no", learning_rate=0.01
    )
    found = losses(tmp_path / "a")
    assert len(found) == 8
    assert found[-1] < found[0] - 0.5


def test_a_killed_training_in_8_bits_continues_to_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    section = {**ADAPTER, "r": 160}  # A of 160 x 32 is large enough for 8 bits: 4,096 numbers
    settings = {"optim": "paged_adamw_8bit", "max_steps": 6, "save_steps": 2, "eval_strategy": "no"}
    bench.train(tmp_path / "whole", section, **settings)
    kill_at_step(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        bench.train(tmp_path / "killed", section, **settings)
    monkeypatch.undo()
    assert bench.train(tmp_path / "killed", section, **settings).cost.resumed_from_step == 4
    assert AdapterFolder(tmp_path / "whole").identity == AdapterFolder(tmp_path / "killed").identity


def test_what_cannot_run_ends_a_training_before_it_loads_a_model(
    bench: Bench, tmp_path: Path, ft, no_model
):
    recipe = tmp_path / "adapters" / "x" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {bench.model_folder}}}\ndata: {{source: {bench.source}}}\n"
        "task: {name: demo_sentiment}\n"
        "adapter: {modules_to_save: [lm_heads]}\n"
        "train: {optim: adamw_troch, lr_scheduler_type: linear, lr_scheduler_kwargs: {power: 2}}\n"
    )
    code, _, err = ft("train", recipe)
    assert code == 3
    for words in (
        "did you mean adamw_torch",
        "train.lr_scheduler_kwargs",
        "adapter.modules_to_save 'lm_heads'",
    ):
        assert words in err


# --- seeds -----------------------------------------------------------------------------------------------------------


def test_a_seed_makes_the_adapter(bench: Bench, tmp_path: Path):
    section = {**ADAPTER, "lora_dropout": 0.2}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name) * 7 + seed)  # what was drawn before does not matter
        torch.rand(seed)
        bench.train(tmp_path / name, section, seed=seed, eval_strategy="no")
    assert (
        AdapterFolder(tmp_path / "a").identity
        == AdapterFolder(tmp_path / "b").identity
        != AdapterFolder(tmp_path / "c").identity
    )
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


# --- activations computed twice --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "section", [ADAPTER | {"lora_dropout": 0.2}, ADAPTER | {"use_dora": True}, "none"], ids=str
)
def test_gradient_checkpointing_changes_no_number(
    section: Any, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    used: list[bool] = []
    original = modeling_utils.checkpoint

    def count(*args: Any, **options: Any) -> Any:
        used.append(options["use_reentrant"])
        return original(*args, **options)

    monkeypatch.setattr(modeling_utils, "checkpoint", count)
    settings = {"max_steps": 5, "eval_strategy": "no", "learning_rate": 0.003}
    bench.train(tmp_path / "plain", section, **settings)
    assert not used
    bench.train(tmp_path / "twice", section, gradient_checkpointing=True, **settings)
    assert len(used) >= 2 * 5  # two layers, five steps
    assert not any(used)
    assert losses(tmp_path / "twice") == pytest.approx(losses(tmp_path / "plain"), abs=1e-6)
    assert not bench.base.model.is_activation_checkpointing
    file = "model.safetensors" if section == "none" else "adapter_model.safetensors"
    first, second = load_file(tmp_path / "plain" / file), load_file(tmp_path / "twice" / file)
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-5


def test_an_architecture_that_cannot_compute_activations_twice_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "supports_gradient_checkpointing", False)
    (found,) = hyperparameter_problems(bench.recipe(ADAPTER, gradient_checkpointing=True))
    assert "LlamaForCausalLM doesn't support it" in found.what
    assert hyperparameter_problems(bench.recipe(ADAPTER)) == []


# --- few bits --------------------------------------------------------------------------------------------------------

FEW_BITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dora": ({"use_dora": True}, {}),
    "output head": ({"modules_to_save": ["lm_head"]}, {}),
    "activations twice": ({}, {"gradient_checkpointing": True}),
    "head": ({"task_type": "SEQ_CLS"}, {"optim": "paged_adamw_8bit"}),
    "head, dora, activations twice": (
        {"task_type": "SEQ_CLS", "use_dora": True},
        {"gradient_checkpointing": True},
    ),
}


@pytest.mark.parametrize("bits", ["nf4", "int8"])
@pytest.mark.parametrize("name", FEW_BITS)
def test_quantised_bases_are_trained_and_left_as_they_were(
    name: str, bits: str, bench: Bench, tmp_path: Path
):
    section, settings = FEW_BITS[name]
    if bits == "int8" and section.get("use_dora") and not torch.cuda.is_available():
        pytest.skip("refused on a CPU")
    recipe = bench.recipe(
        ADAPTER | section, max_steps=6, eval_strategy="no", learning_rate=0.01, **settings
    )
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"quantization": bits})}
    )
    base = load_base_model(recipe.model, plan_head(recipe, bench.tasks.values()))
    before = {
        key: tensor.clone()
        for key, tensor in base.model.state_dict().items()
        if torch.is_tensor(tensor)
    }
    own = Bench(base, bench.model_folder, bench.source)
    own.__dict__["tasks"] = bench.tasks
    train(TrainingPlan(recipe, base, own.training_set(recipe)), tmp_path / "a")
    assert losses(tmp_path / "a")[-1] < losses(tmp_path / "a")[0]
    after = base.model.state_dict()
    assert all(torch.equal(tensor, after[key]) for key, tensor in before.items())
    with attached(tmp_path / "a", base, list(PROMPTS)) as (_, info):
        assert info.live_proof.changed_prompts == 2
        assert info.unchecked == []
    norms = [p.dtype for key, p in base.model.named_parameters() if "norm" in key]
    assert set(norms) == {base.model.dtype}  # not widened, as they are scored


def test_dora_on_8_bits_is_refused_on_a_cpu(
    bench: Bench, foreign_dora: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = bench.recipe(ADAPTER | {"use_dora": True})
    eight = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"quantization": "int8"})}
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (found,) = hyperparameter_problems(eight)
    assert "adapter.use_dora: on a CPU, bitsandbytes loses" in found.what
    assert hyperparameter_problems(recipe) == []
    with (
        pytest.raises(InputError, match="use_dora"),
        attached(foreign_dora, load_base_model(eight.model), PROMPTS),
    ):
        pass


@pytest.fixture
def foreign_dora(bench: Bench, tmp_path: Path) -> Path:
    """An adapter that was trained on the base in 32 bits."""
    bench.train(tmp_path / "dora", ADAPTER | {"use_dora": True}, max_steps=2, eval_strategy="no")
    return tmp_path / "dora"


def test_all_weights_in_few_bits_are_refused(bench: Bench, tmp_path: Path):
    recipe = bench.recipe("none")
    quantised = recipe.model.model_copy(update={"quantization": "int8"})
    base = load_base_model(quantised)
    with pytest.raises(InputError, match="to train all of its weights"):
        train(TrainingPlan(recipe, base, bench.training_set(recipe)), tmp_path / "a")


# --- scores during training ------------------------------------------------------------------------------------------


def test_answers_scored_during_training_need_room_too(bench: Bench, tmp_path: Path, ft, no_model):
    """Such scores use the task's own decoding, 8 tokens, whatever eval.generation_kwargs say."""
    for split, count in (("train", 4), ("validation", 2), ("test", 2)):
        rows = [
            {
                "passage": f"a film {split}",
                "question": f"what {i}",
                "answer": ("warm", "cold")[i % 2],
            }
            for i in range(count)
        ]
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    recipe = write_recipe(
        tmp_path,
        bench,
        "adapter: {r: 4}\neval: {splits: [test], generation_kwargs: {max_gen_toks: 2}}\n",
        "demo_qa",
    )
    settings = ("--set", f"data.source={tmp_path / 'data'}", "--set", "model.max_length=8")
    code, _, err = ft("check", recipe, *settings)
    assert code == 0, err
    code, _, err = ft("check", recipe, *settings, "--set", "train.eval_scores=2")
    assert code == 3
    assert_three_lines(err, "max_gen_toks is 8, the context 8 tokens")
