"""What can be trained: PEFT's LoRA with each of its options, and all weights of a model. What was trained is what is
scored afterwards, and the base is left as it was."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

from ft_harness.errors import ConfigError, InputError, NonFiniteError
from ft_harness.models import adapters, base_model
from ft_harness.models.adapters import AdapterFolder, attached, live, read_card, read_history
from ft_harness.models.base_model import BaseModel, empty_model, load_base_model
from ft_harness.models.heads import plan_head
from ft_harness.pipeline.shown_tasks import mark_trained
from ft_harness.recipe import AdapterSection, Recipe, load_recipe
from ft_harness.tasks.examples import Example, describe_examples, train_prompts
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from ft_harness.training import (
    TrainingPlan,
    TrainingSet,
    build_training_set,
    finished_card,
    hyperparameter_problems,
    run,
    train,
)
from ft_harness.training.adapter_model import adapter_model
from tests.builders.interruptions import kill_at_step
from tests.builders.tiny import build_tokenizer, write_jsonl

pytestmark = pytest.mark.slow  # trains every kind of adapter

PROMPTS = ["the film number 3 was", "the film number 4 was"]


def save_llama(folder: Path, **settings: Any) -> Path:
    """A random Llama (hidden 32, two layers) with biases in its attention."""
    tokenizer = build_tokenizer("bpe_bos")
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
        attention_bias=True, **settings,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@dataclass
class Bench:
    """A loaded tiny model and the reviews task."""

    base: BaseModel
    model_folder: Path
    source: str

    @cached_property
    def tasks(self) -> dict[Any, Any]:
        return load_tasks(
            find_task("demo_sentiment", metadata={"data_source": self.source}),
            ["train", "validation", "test"],
        )

    def recipe(self, adapter: Any, **train_settings: Any) -> Recipe:
        settings = {
            "max_steps": 3,
            "per_device_train_batch_size": 8,
            "learning_rate": 0.02,
        } | train_settings
        return Recipe.model_validate(
            {
                "model": {"pretrained": str(self.model_folder)},
                "task": {"name": "demo_sentiment"},
                "data": {"source": self.source},
                "adapter": adapter,
                "train": settings,
            }
        )

    def training_set(self, recipe: Recipe) -> TrainingSet:
        return build_training_set(self.tasks, self.base, recipe, "task")

    def train(self, folder: Path, adapter: Any, **train_settings: Any):
        recipe = self.recipe(adapter, **train_settings)
        return train(TrainingPlan(recipe, self.base, self.training_set(recipe)), folder)

    def logits(self, model: Any) -> torch.Tensor:
        """Of every position of a few prompts."""
        model.eval()
        rows = [self.base.tokenizer(prompt, return_tensors="pt")["input_ids"] for prompt in PROMPTS]
        with torch.inference_mode():
            return torch.cat([model(input_ids=row).logits[0] for row in rows])

    def state(self) -> dict[str, torch.Tensor]:
        return {name: tensor.clone() for name, tensor in self.base.model.state_dict().items()}

    def is_as(self, before: dict[str, torch.Tensor]) -> bool:
        after = self.base.model.state_dict()
        return before.keys() == after.keys() and all(
            torch.equal(before[name], after[name]) for name in before
        )


@pytest.fixture(scope="module")
def benches(reviews: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Bench]:
    """Models whose embedding and output head are one matrix, or two."""
    made = {}
    for tied in (False, True):
        folder = save_llama(
            tmp_path_factory.mktemp("models") / f"tied-{tied}", tie_word_embeddings=tied
        )
        recipe = Recipe.model_validate(
            {"model": {"pretrained": str(folder)}, "task": {"name": "demo_sentiment"}}
        )
        made[tied] = Bench(load_base_model(recipe.model), folder, str(reviews))
    return made


@pytest.fixture(scope="module")
def whole(benches: dict[bool, Bench], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all weights were trained."""
    folder = tmp_path_factory.mktemp("whole") / "a"
    benches[False].train(folder, "none", max_steps=2)
    return folder


@pytest.fixture
def bench(benches: dict[bool, Bench]) -> Bench:
    return benches[False]


@pytest.fixture
def trained_logits(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the trained model says at the end of its training, before it is taken off its base."""
    found: list[torch.Tensor] = []
    save = run.save_weights

    def look(model: Any, base: BaseModel, folder: Path) -> None:
        found.append(Bench(base, folder, "").logits(model))
        save(model, base, folder)

    monkeypatch.setattr(run, "save_weights", look)
    return found


# --- PEFT's fields ---------------------------------------------------------------------------------------------------


def test_every_field_of_peft_is_taken_or_refused_with_its_reason():
    fields = {field.name for field in dataclasses.fields(LoraConfig)}
    taken, refused = set(AdapterSection.model_fields), set(AdapterSection.refused)
    assert not taken & refused
    assert taken | refused == fields, f"PEFT {peft.__version__} has other fields"
    assert all(len(reason) > 10 for reason in AdapterSection.refused.values())


def test_a_refused_field_is_named_with_its_reason(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("task: {name: demo_sentiment}\nadapter:\n  r: 4\n  eva_config: {rho: 2}\n")
    with pytest.raises(
        ConfigError,
        match="eva_config can't be used here: its initialisation needs a pass over data",
    ) as caught:
        load_recipe(path)
    assert "recipe.yaml:4" in caught.value.what


ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "dora on an embedding": {"use_dora": True, "target_modules": ["embed_tokens", "q_proj"]},
    "bias of each B": {"lora_bias": True},
    "all biases": {"bias": "all"},
    "biases of adapted modules": {"bias": "lora_only", "target_modules": ["q_proj"]},
    "ranks by name": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 8}},
    "alphas by name": {"alpha_pattern": {"v_proj": 3}},
    "one layer": {"target_modules": ATTENTION, "layers_to_transform": [1], "layers_pattern": "layers"},
    "all but some": {"exclude_modules": ["down_proj", "o_proj"]},
    "by an expression": {"target_modules": r".*\.layers\.0\..*_proj"},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "drawn B": {"init_lora_weights": False},
    "minor components": {"init_lora_weights": "mica"},
    "output head": {"modules_to_save": ["lm_head"]},
    "embedding": {"modules_to_save": ["embed_tokens"]},
    "embedding and output head": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "every norm": {"modules_to_save": ["embed_tokens", "norm"]},  # names end so: input_layernorm as well
    "the last norm": {"modules_to_save": ["model.norm"]},
    "adapted output head": {"target_modules": ["q_proj", "lm_head"]},
    "some tokens": {"trainable_token_indices": [5, 6, 40]},
    "parameters": {"target_modules": [], "target_parameters": ["mlp.up_proj.weight"]},
    "tied on": {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True},
}  # fmt: skip
ON_TIED = ("embedding", "adapted output head", "some tokens", "tied on")


@pytest.mark.parametrize(
    ("name", "tied"),
    [(name, False) for name in OPTIONS if name != "tied on"] + [(name, True) for name in ON_TIED],
)
def test_what_was_trained_is_what_is_scored(
    name: str,
    tied: bool,
    benches: dict[bool, Bench],
    tmp_path: Path,
    trained_logits: list[torch.Tensor],
):
    bench = benches[tied]
    before, untuned = bench.state(), bench.logits(bench.base.model)
    section = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0} | OPTIONS[name]
    empty = empty_model(bench.recipe(section).model)
    assert adapters.target_problems(AdapterSection.model_validate(section), empty) == []
    card = bench.train(tmp_path / "a", section)
    assert bench.is_as(before)
    with attached(tmp_path / "a", bench.base, PROMPTS) as (tuned, info):
        assert info.unchecked == []
        scored = bench.logits(tuned.model)
    assert (scored - trained_logits[0]).abs().max() < 1e-6
    assert (scored - untuned).abs().max() > 1e-3
    assert bench.is_as(before)
    assert torch.equal(bench.logits(bench.base.model), untuned)
    assert adapters.problems(tmp_path / "a", None, bench.recipe(section).model) == []
    assert card.trainable_parameters > 0


def test_an_option_does_what_peft_does_with_it(bench: Bench):
    """Every field that differs from its default reaches PEFT's configuration."""
    section = {
        "r": 3, "lora_alpha": 5, "lora_dropout": 0.2, "target_modules": ["q_proj"], "exclude_modules": ["k_proj"],
        "modules_to_save": ["lm_head"], "bias": "all", "use_rslora": True, "use_dora": True,
        "init_lora_weights": "gaussian", "layers_to_transform": [0], "layers_pattern": ["layers"],
        "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"q_proj": 7}, "target_parameters": ["up_proj.weight"],
        "trainable_token_indices": {"embed_tokens": [4]}, "fan_in_fan_out": True, "ensure_weight_tying": True,
    }  # fmt: skip
    made = adapters.lora_config(AdapterSection.model_validate(section))
    sets = ("target_modules", "exclude_modules")
    assert {
        name: sorted(value) if name in sets else value
        for name, value in made.to_dict().items()
        if name in section
    } == section
    assert set(section) | {"lora_bias", "peft_type", "task_type"} == set(
        AdapterSection.model_fields
    )


def test_a_heads_modules_are_saved_beside_those_asked_for():
    made = adapters.lora_config(
        AdapterSection(task_type="SEQ_CLS", modules_to_save=["norm", "score"]), ["score"]
    )
    assert made.modules_to_save == ["score", "norm"]


BAD_OPTIONS = {
    "misspelt module": ({"modules_to_save": ["lm_heads"]}, "modules_to_save 'lm_heads'.*did you mean lm_head"),
    "nothing to exclude": ({"exclude_modules": ["k_prog"]}, "adapter.exclude_modules 'k_prog'"),
    "misspelt parameter": ({"target_parameters": ["experts.up"]}, "adapter.target_parameters 'experts.up'"),
    "a pattern for nothing": ({"rank_pattern": {"query": 2}}, "adapter.rank_pattern 'query': matches no module"),
    "an alpha for nothing": ({"alpha_pattern": {"query": 2}}, "adapter.alpha_pattern 'query': matches no module"),
    "a token too many": ({"trainable_token_indices": [3, 320]}, "320 is no token of the model"),
    "layers of an expression": ({"layers_to_transform": [0]}, "layers_to_transform with target_modules 'all-linear'"),
    "a pattern of an expression": ({"layers_pattern": "layers"}, "layers_pattern with target_modules 'all-linear'"),
    "a layer that is not there": ({"target_modules": ["q_proj"], "layers_to_transform": [7]}, "not found"),
    "a layer that is not there, beside one that is": ({"target_modules": ["q_proj"], "layers_to_transform": [1, 7]}, "adapter.layers_to_transform 7: "),
    "dora and a bias": ({"use_dora": True, "lora_bias": True}, "not supported for DoRA"),
    "an odd rank": ({"init_lora_weights": "orthogonal", "r": 3}, "r"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_do_not_fit_the_model_are_found_before_it_is_loaded(name: str, bench: Bench):
    section, words = BAD_OPTIONS[name]
    recipe = bench.recipe(section)
    found = adapters.target_problems(recipe.adapter, empty_model(recipe.model))
    assert found
    with pytest.raises(InputError, match=words):
        raise found[0]


# --- all weights -----------------------------------------------------------------------------------------------------


def test_none_is_read_as_all_weights_of_words_or_of_a_head():
    words = Recipe.model_validate({"task": {"name": "t"}, "adapter": "none"})
    head = Recipe.model_validate(
        {"task": {"name": "t", "text_fields": ["text"]}, "adapter": "none"}
    )
    assert (words.adapter.peft_type, words.adapter.task_type) == (None, "CAUSAL_LM")
    assert (head.adapter.peft_type, head.adapter.task_type) == (None, "SEQ_CLS")
    assert Recipe.model_validate(words.resolved()) == words  # as a card keeps it
    long = {"peft_type": None, "task_type": "SEQ_CLS"}
    assert (
        Recipe.model_validate({"task": {"name": "t", "text_fields": ["text"]}, "adapter": long})
        == head
    )


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"adapter": {"peft_type": None, "r": 4}}, "no field of LoRA where peft_type is null"),
        (
            {"adapter": "none", "model": {"quantization": "nf4"}},
            "weights of 4 or 8 bits can't be trained",
        ),
        ({"adapter": "none", "eval": {"merge": True}}, "there is no adapter to merge"),
        (
            {"adapter": {"task_type": "SEQ_CLS"}, "train": {"loss_on": "prompt_and_answer"}},
            "a head learns labels",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        Recipe.model_validate({"task": {"name": "t"}, **sections})


@pytest.mark.parametrize("tied", [False, True])
def test_all_weights_are_trained_saved_and_scored(
    tied: bool, benches: dict[bool, Bench], tmp_path: Path, trained_logits: list[torch.Tensor]
):
    bench = benches[tied]
    before, untuned = bench.state(), bench.logits(bench.base.model)
    card = bench.train(tmp_path / "a", "none")
    assert bench.is_as(before)
    assert not any(p.requires_grad for p in bench.base.model.parameters())
    assert card.trainable_parameters == bench.base.info.parameters
    assert set(card.files) == {"model.safetensors", "config.json"}
    loaded = AutoModelForCausalLM.from_pretrained(
        tmp_path / "a"
    )  # as lm-eval's hf does with pretrained=FOLDER
    assert (bench.logits(loaded) - trained_logits[0]).abs().max() < 1e-6
    moved = [
        name
        for name, tensor in loaded.state_dict().items()
        if not torch.equal(tensor, before[name])
    ]
    assert len(moved) == len(before)
    assert adapters.problems(tmp_path / "a", None, bench.recipe("none").model) == []
    with attached(tmp_path / "a", bench.base, PROMPTS) as (tuned, info):
        assert (bench.logits(tuned.model) - trained_logits[0]).abs().max() < 1e-6
        assert info.identity == AdapterFolder(tmp_path / "a").identity
        assert info.live_proof.changed_prompts == 2
        assert info.trainable_parameters == card.trainable_parameters
    assert bench.is_as(before)
    assert torch.equal(bench.logits(bench.base.model), untuned)
    recipe = bench.recipe("none")
    assert (
        finished_card(TrainingPlan(recipe, bench.base, bench.training_set(recipe)), tmp_path / "a")
        == card
    )


def test_an_error_while_all_weights_are_attached_leaves_the_base_as_it_was(
    bench: Bench, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(whole, tmp_path / "a")
    before = bench.state()
    with (
        pytest.raises(RuntimeError, match="in between"),
        attached(tmp_path / "a", bench.base, PROMPTS),
    ):
        raise RuntimeError("in between")
    assert bench.is_as(before)
    save_file(
        before, tmp_path / "a" / "model.safetensors", {"format": "pt"}
    )  # the base's own weights
    forget_hash(tmp_path / "a")
    with (
        pytest.raises(InputError, match="changes no logit"),
        attached(tmp_path / "a", bench.base, PROMPTS),
    ):
        pass

    def fail(*_: Any) -> None:
        raise RuntimeError("while it is proven")

    monkeypatch.setattr(live, "_prove_live", fail)
    with (
        pytest.raises(RuntimeError, match="while it is proven"),
        attached(whole, bench.base, PROMPTS),
    ):
        pass
    assert bench.is_as(before)


def forget_hash(folder: Path) -> None:
    adapters.write_card(folder, read_card(folder).model_copy(update={"files": {}}))


def change(folder: Path, edit) -> None:
    path = folder / "model.safetensors"
    save_file(
        {name: value.contiguous() for name, value in edit(load_file(path)).items()},
        path,
        {"format": "pt"},
    )


BAD_WHOLE = {
    "changed": (
        lambda f: change(f, lambda t: {k: v + 1 for k, v in t.items()}),
        "not the file that the card",
        False,
    ),
    "NaN": (
        lambda f: change(f, lambda t: {k: v * float("nan") for k, v in t.items()}),
        "holds NaN",
        True,
    ),
    "a weight less": (
        lambda f: change(f, lambda t: dict(list(t.items())[1:])),
        "1 weights don't match",
        True,
    ),
    "a weight more": (
        lambda f: change(f, lambda t: t | {"extra": torch.ones(1)}),
        "1 weights don't match",
        True,
    ),
    "another shape": (
        lambda f: change(f, lambda t: t | {"lm_head.weight": torch.ones(4, 4)}),
        "lm_head.weight",
        True,
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors", True),
}


@pytest.mark.parametrize("name", BAD_WHOLE)
def test_damaged_whole_models_are_refused(name: str, bench: Bench, whole: Path, tmp_path: Path):
    shutil.copytree(whole, tmp_path / "a")
    before = bench.state()
    break_it, words, unhashed = BAD_WHOLE[name]
    break_it(tmp_path / "a")
    if unhashed:
        forget_hash(tmp_path / "a")
    found = adapters.problems(tmp_path / "a", None, bench.recipe("none").model)
    assert words in found[0].what
    kinds = (InputError, NonFiniteError)
    with pytest.raises(kinds, match=words), attached(tmp_path / "a", bench.base, PROMPTS):
        pass
    assert bench.is_as(before)


def test_all_weights_of_another_base_are_refused(benches: dict[bool, Bench], whole: Path):
    with (
        pytest.raises(InputError, match="asked to run on"),
        attached(whole, benches[True].base, PROMPTS),
    ):
        pass


def test_a_killed_training_of_all_weights_continues_to_the_same(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {"max_steps": 8, "save_steps": 2, "learning_rate": 0.002}
    bench.train(tmp_path / "whole", "none", **settings)
    kill_at_step(5, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        bench.train(tmp_path / "killed", "none", **settings)
    monkeypatch.undo()
    card = bench.train(tmp_path / "killed", "none", **settings)
    assert card.cost.resumed_from_step == 4
    assert AdapterFolder(tmp_path / "whole").identity == AdapterFolder(tmp_path / "killed").identity
    assert [
        entry.step for entry in read_history(tmp_path / "killed") if entry.loss is not None
    ] == list(range(1, 9))


def test_all_weights_of_a_model_in_16_bits_are_refused_before_it_is_loaded(
    bench: Bench, tmp_path: Path, ft, no_model, reviews: Path, monkeypatch: pytest.MonkeyPatch
):
    """On hardware that computes in 16 bits; elsewhere they are loaded in float32."""
    model = AutoModelForCausalLM.from_pretrained(bench.model_folder, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "half")
    bench.base.tokenizer.save_pretrained(tmp_path / "half")
    recipe = tmp_path / "adapters" / "x" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {tmp_path / 'half'}}}\ntask: {{name: demo_sentiment}}\n"
        f"data: {{source: {reviews}}}\nadapter: none\n"
    )
    monkeypatch.setattr(base_model, "sixteen_bits", lambda: "float32")
    assert ft("check", recipe)[0] == 0
    monkeypatch.setattr(base_model, "sixteen_bits", lambda: "bfloat16")
    code, _, err = ft("train", recipe)
    assert code == 3
    assert "loaded in bfloat16, to train all of its weights" in err
    base = load_base_model(
        Recipe.model_validate(
            {"model": {"pretrained": str(tmp_path / "half")}, "task": {"name": "t"}}
        ).model
    )
    with pytest.raises(InputError, match="loaded in bfloat16"):
        Bench(base, tmp_path / "half", str(reviews)).train(tmp_path / "a", "none")


@pytest.mark.parametrize(
    "field", [{"modules_to_save": ["lm_head"]}, {"bias": "lora_only"}], ids=str
)
def test_the_bases_own_weights_are_not_trained_in_16_bits(
    field: dict[str, Any], bench: Bench, tmp_path: Path
):
    recipe = bench.recipe({"r": 4} | field)
    assert hyperparameter_problems(recipe) == []
    half = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"dtype": "bfloat16"})}
    )
    (found,) = hyperparameter_problems(half)
    assert f"loaded in bfloat16, to train adapter.{next(iter(field))}" in found.what
    base = load_base_model(half.model)
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    with pytest.raises(InputError, match="loaded in bfloat16, to train adapter"):
        train(TrainingPlan(half, base, bench.training_set(recipe)), tmp_path / "a")
    assert Bench(base, bench.model_folder, "").is_as(before)


def test_all_that_is_trained_over_16_bits_is_float32(bench: Bench):
    """Whatever isn't refused: PEFT widens its own weights, and no others."""
    recipe = bench.recipe("none")
    half = recipe.model.model_copy(update={"dtype": "bfloat16"})
    base = load_base_model(half)
    tried = 0
    for name, options in OPTIONS.items():
        section = AdapterSection.model_validate({"r": 4, "lora_dropout": 0.0} | options)
        asked = recipe.model_copy(update={"adapter": section, "model": half})
        if hyperparameter_problems(asked):
            continue
        with adapter_model(asked, base) as model:
            assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.float32}, name
        tried += 1
    assert tried == len(OPTIONS) - 8  # two with biases, six with modules_to_save


def test_a_run_of_all_weights_from_recipe_to_report(
    bench: Bench, tmp_path: Path, ft, reviews: Path
):
    recipe = tmp_path / "adapters" / "all" / "recipe.yaml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(
        f"model: {{pretrained: {bench.model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "adapter: none\ntrain: {num_train_epochs: 8, per_device_train_batch_size: 8, learning_rate: 0.003}\n"
        "eval: {splits: [test]}\n"
    )
    code, out, err = ft("run", recipe)
    assert code == 0, err
    card = read_card(recipe.parent)
    assert card.recipe["adapter"]["peft_type"] is None
    rows = json.loads((tmp_path / "results" / "reports" / "all" / "rows.json").read_text())
    tuned = [row["tuned"] for row in rows if row["metric"] == "acc" and row["tuned"] is not None]
    assert tuned == [1.0]  # 'warm' or 'cold' decides
    code, out, err = ft("run", recipe)
    assert code == 0
    assert "the adapter is finished already" in out + err
    code, out, err = ft(
        "eval",
        recipe,
        "--adapter",
        recipe.parent,
        "--out",
        tmp_path / "other",
        "--set",
        "eval.limit=8",
    )
    assert code == 0, err
    (record,) = [
        json.loads(path.read_text()) for path in (tmp_path / "other").rglob("all/*/record.json")
    ]
    assert record["adapter"]["identity"] == AdapterFolder(recipe.parent).identity
    assert (
        record["adapter"]["trainable_parameters"]
        == record["model"]["parameters"]
        == card.trainable_parameters
    )


@pytest.mark.parametrize("fields", [None, ["text"]])
def test_all_weights_with_a_head(
    fields: list[str] | None, bench: Bench, tmp_path: Path, reviews: Path
):
    recipe = Recipe.model_validate(
        {
            "model": {"pretrained": str(bench.model_folder)},
            "task": {"name": "demo_sentiment", "text_fields": fields},
            "data": {"source": str(reviews)},
            "adapter": {"peft_type": None, "task_type": "SEQ_CLS"},
            "train": {"max_steps": 3, "learning_rate": 0.01},
        }
    )
    tasks = load_tasks(
        find_task("demo_sentiment", metadata=recipe.task_metadata()),
        ["train", "validation", "test"],
    )
    base = load_base_model(recipe.model, plan_head(recipe, tasks.values()))
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    data = build_training_set(tasks, base, recipe, "task")
    card = train(TrainingPlan(recipe, base, data), tmp_path / "a")
    assert set(card.files) == {"model.safetensors", "config.json", "head_init.safetensors"}
    after = base.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    texts: list[Any] = [(prompt,) for prompt in PROMPTS] if fields else list(PROMPTS)
    ids = base.tokenizer(PROMPTS[0], return_tensors="pt")
    with attached(tmp_path / "a", base, texts) as (tuned, _), torch.inference_mode():
        scored = tuned.model(**ids).logits
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "a").eval()
    with torch.inference_mode():
        assert (loaded(**ids).logits - scored).abs().max() < 1e-6
    assert loaded.config.id2label == {0: "negative", 1: "positive"}


# --- too long answers ------------------------------------------------------------------------------------------------


def test_a_too_long_answer_is_named_with_its_split_and_row(bench: Bench, tmp_path: Path):
    for split, last in (("train", "warm"), ("validation", "the film was good and the cast was")):
        rows = [
            {"passage": "a film", "question": "what", "answer": answer} for answer in ("cold", last)
        ]
        write_jsonl(tmp_path / f"{split}.jsonl", rows)
    write_jsonl(
        tmp_path / "test.jsonl", [{"passage": "a film", "question": "what", "answer": "warm"}]
    )
    tasks = load_tasks(
        find_task("demo_qa", metadata={"data_source": str(tmp_path)}), ["train", "validation"]
    )
    base = dataclasses.replace(bench.base, max_length=6)
    with pytest.raises(
        InputError, match=r"demo_qa@validation: row 1: an answer has 9 tokens, the context 6"
    ):
        build_training_set(tasks, base, bench.recipe({"r": 4}), "task")


# --- loss on the prompt ----------------------------------------------------------------------------------------------


def test_loss_on_the_prompt_leaves_out_what_is_only_read():
    """<s> a b | c </s>: read are <s> a b c, and of those a, b, c and </s> are targets: 4; on the answer alone 2."""
    example = Example([1, 10, 11], [12, 2], truncated=False)
    (whole,) = train_prompts([example])
    assert example.labels == [-100, -100, 12, 2]
    assert whole.labels == [10, 11, 12, 2]
    assert whole.input_ids == example.input_ids == [1, 10, 11, 12]
    assert (example.trained_tokens, whole.trained_tokens) == (2, 4)
    assert "4 trained tokens (prompts too)" in describe_examples([whole], True)
    assert "2 trained tokens, EOS" in describe_examples([example], True)


def test_rows_that_are_one_stay_one_with_loss_on_the_prompt():
    example = Example([1, 10], [12], truncated=False)
    first, second = train_prompts([example, example])
    assert first is second


def test_tokens_that_carry_loss_are_shown_in_brackets(bench: Bench):
    ids = bench.base.tokenizer("the film")["input_ids"]
    example = Example(
        ids, bench.base.tokenizer(" was", add_special_tokens=False)["input_ids"], truncated=False
    )
    (whole,) = train_prompts([example])
    assert mark_trained(example, bench.base.tokenizer).startswith("<s>the film[")
    assert mark_trained(whole, bench.base.tokenizer).startswith("<s>[")


def test_loss_on_the_prompt_is_cross_entropy_over_all_tokens_but_the_first(
    bench: Bench, tmp_path: Path
):
    """The first step's loss against transformers' own causal loss on the same rows."""
    recipe = bench.recipe(
        {"lora_dropout": 0.0},
        loss_on="prompt_and_answer",
        per_device_train_batch_size=64,
        max_steps=1,
    )
    data = bench.training_set(recipe)
    total, count = 0.0, 0
    with torch.inference_mode():
        for example in data.examples:
            ids = torch.tensor([[*example.context_ids, *example.answer_ids]])
            tokens = ids.shape[1] - 1
            total += float(bench.base.model(input_ids=ids, labels=ids).loss) * tokens
            count += tokens
    card = train(TrainingPlan(recipe, bench.base, data), tmp_path / "a")
    assert data.trained_tokens == card.trained_tokens == count
    assert read_history(tmp_path / "a")[0].loss == pytest.approx(total / count, abs=1e-4)
