"""The recipes of real write-ups: complete, and run from end to end on tiny random models of their
own architectures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ft_harness.models.adapters import read_card, read_history
from ft_harness.recipe import Recipe, load_recipe
from ft_harness.records.finding import load_records
from tests.builders.tiny import save_backbone, write_jsonl

pytestmark = pytest.mark.slow  # runs every shipped recipe on a tiny model

ADAPTERS = Path(__file__).resolve().parents[2] / "adapters"
ARCHITECTURES = {
    "snli-phi2-head-qlora": "phi",
    "sst2-llama3.2-1b": "llama",
    "squad-v2-llama3.2-1b": "llama",
    "imdb-distilbert": "distilbert",
    "imdb-mistral-7b-qlora": "mistral",
    "imdb-gemma-2b-shots": "gemma2",
    "zh-classical-taiwan-llm-qlora": "llama",
}
CONTEXT = 512


def rows_of(name: str, count: int) -> list[dict[str, Any]]:
    """Rows in the columns of the recipe's task; every label and both kinds of question occur
    often."""
    task = load_recipe(ADAPTERS / name).task.name
    tone = ("cold", "warm")
    rows = {
        "snli_custom": lambda i: {
            "premise": f"a man {i}", "hypothesis": f"is {('warm', 'long', 'cold')[i % 3]}", "label": i % 3,
        },
        "sst2_custom": lambda i: {"sentence": f"film {i} was {tone[i % 2]}", "label": i % 2},
        "imdb_custom": lambda i: {"text": f"film {i} was {tone[i % 2]}", "label": i % 2},
        "squad_v2_custom": lambda i: {
            "id": str(i), "title": f"title {i // 4}", "context": f"Tom has {i} cats.", "question": "What has Tom?",
            "answers": [] if i % 3 == 0 else [f"{i} cats"],
        },
        "zh_classical_custom": lambda i: {"instruction": f"翻譯：明日{i}", "output": f"第二天{i}"},
    }  # fmt: skip
    return [rows[task](i) for i in range(count)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    shape = {
        "max_position_embeddings": CONTEXT,
        "num_key_value_heads": 4,
    }  # 4 bits want outputs in multiples of 32
    return {
        kind: save_backbone(folder / kind, kind, **shape) for kind in set(ARCHITECTURES.values())
    }


def small(name: str, models: dict[str, Path], folder: Path) -> list[str]:
    """What replaces the big models, the hub's data, the sizes and the length of answers; all else,
    and what varies, is the recipe's own."""
    if name.startswith("zh-"):
        for split, count in (("train", 40), ("test", 1)):
            (folder / "data").mkdir(exist_ok=True)
            (folder / "data" / f"{split}.json").write_text(
                json.dumps(rows_of(name, count)), encoding="utf-8"
            )
        source = folder / "data"
    else:
        source = write_jsonl(folder / "pool.jsonl", rows_of(name, 60))
    recipe = load_recipe(ADAPTERS / name)
    sizes = {"train_size": 24, "validation_size": 12, "test_size": 12}
    given = recipe.data.model_dump(exclude_none=True)
    settings: dict[str, Any] = {f"data.{key}": size for key, size in sizes.items() if key in given}
    settings |= {
        "model.pretrained": models[ARCHITECTURES[name]],
        "data.source": source,
        "model.max_length": CONTEXT,
    }
    for kind in ("vary", "stretches"):
        if axis := getattr(recipe.sweep, kind):
            settings[f"sweep.{kind}"] = json.dumps(small_axis(axis, models))
    for axis in recipe.sweep.together if recipe.sweep else ():
        settings["sweep.together"] = json.dumps(small_axis(axis, models))
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def small_axis(axis: dict[str, Any], models: dict[str, Path]) -> dict[str, list[Any]]:
    """The values that a tiny model can take in place of a write-up's."""
    small_values = {
        "data.train_size": lambda size: size and 24 + size % 7,
        "model.pretrained": lambda name: str(models["gemma2" if "gemma" in name else "llama"]),
        "eval.generation_kwargs": lambda given: {**given, "max_gen_toks": 4},
    }
    return {
        name: [small_values.get(name, lambda value: value)(value) for value in values]
        for name, values in axis.items()
    }


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_each_opens_with_what_it_is_and_its_commands(name: str):
    text = (ADAPTERS / name / "recipe.yaml").read_text(encoding="utf-8")
    opening = re.match(r"(#.*\n)+", text)
    assert opening
    assert f"adapters/{name}" in opening[0]
    assert "ft-harness " in opening[0]
    assert "write-up" in opening[0]


def numbers(recipe: Recipe) -> tuple[Any, ...]:
    adapter, train, data = recipe.adapter, recipe.train, recipe.data
    batch = train.per_device_train_batch_size * train.gradient_accumulation_steps
    sizes = data.split or (data.train_size, data.validation_size, data.test_size)
    lora = (adapter.r, adapter.lora_alpha, adapter.lora_dropout) if adapter.peft_type else None
    return (
        lora,
        train.num_train_epochs,
        batch,
        train.learning_rate,
        sizes,
        recipe.model.quantization,
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # what the write-ups say of themselves; 2 x 8 is a batch of 16
        ("snli-phi2-head-qlora", ((16, 64, 0.05), 5, 16, 1e-4, (1000, 100, 100), "nf4")),
        ("sst2-llama3.2-1b", ((16, 32, 0.05), 3, 8, 2e-5, "80/20", None)),
        ("squad-v2-llama3.2-1b", ((16, 32, 0.05), 3, 8, 2e-5, "80/20", None)),
        ("imdb-distilbert", (None, 2, 16, 2e-5, "70/10/20", None)),
        ("imdb-mistral-7b-qlora", ((16, 32, 0.05), 2, 16, 1e-4, (900, 100, 2500), "nf4")),
        ("zh-classical-taiwan-llm-qlora", ((64, 16, 0.1), 1, 16, 3e-5, (3000, None, None), "nf4")),
    ],
)
def test_the_write_ups_numbers(name: str, expected: tuple[Any, ...]):
    assert numbers(load_recipe(ADAPTERS / name)) == expected


POINTS = {
    "snli-phi2-head-qlora": 3,  # seeds
    "sst2-llama3.2-1b": 3 * 2,  # sizes, models
    "squad-v2-llama3.2-1b": 1 + 6,  # the reference; size, epochs, batch, rate, scheduler, model
    "imdb-distilbert": 2,  # sizes
    "imdb-mistral-7b-qlora": 3 * 3,  # shots, draws
    "imdb-gemma-2b-shots": 3 * 3,
    "zh-classical-taiwan-llm-qlora": 3 * 5 * 2,  # stretches, decodings, shots
}


@pytest.mark.parametrize("name", sorted(POINTS))
def test_each_write_up_is_one_command(ft, models: dict[str, Path], name: str, tmp_path: Path):
    settings = small(name, models, tmp_path)
    recipe = ADAPTERS / name
    code, out, err = ft("check", recipe, *settings)
    assert code == 0, err
    assert "no fault" in out
    code, out, err = ft("sweep", recipe, *settings)
    assert code == 0, err
    report = tmp_path / "results" / "reports" / name
    assert (report / "report.md").is_file()
    sweep = json.loads((report / "sweep.json").read_text(encoding="utf-8"))
    assert [point["reason"] for point in sweep["points"]] == [None] * POINTS[name]
    scored = load_records([tmp_path / "results"])
    assert {each.record.status for each in scored} == {"complete"}
    own = load_recipe(recipe)
    cards = [read_card(path.parent) for path in tmp_path.glob("adapters/*/card.json")]
    made = [card for card in cards if card is not None]
    assert bool(made) == (own.sweep is not None and own.sweep.trains)
    for card in made:
        epochs = card.recipe["train"]["num_train_epochs"]
        batch = card.recipe["train"]["per_device_train_batch_size"]
        batch *= card.recipe["train"]["gradient_accumulation_steps"]
        assert card.steps == epochs * -(-card.examples // batch)
    if name.startswith("squad-"):
        fields = ("train_size", "num_train_epochs", "per_device_train_batch_size")
        for field in (*fields, "learning_rate", "lr_scheduler_type", "pretrained"):
            assert any(line.startswith((f"{field}:", f"{field},")) for line in out.splitlines())
    if name.startswith("zh-"):
        check_stretches(tmp_path / "adapters", name)
        text = (report / "report.md").read_text(encoding="utf-8")
        forms = text.partition("## Other forms of the data")[2].partition("\n## ")[0]
        lines = [line for line in forms.splitlines() if "zh\\_classical\\_ppl\\_custom" in line]
        assert len(lines) == 3 * 2  # adapters, with none and with three examples


def check_stretches(folder: Path, name: str) -> None:
    """24 rows in batches of 16 are 2 steps an epoch; the third adapter knows the first two."""
    names = [f"{name}-num_train_epochs_{epochs}" for epochs in ("1", "1_1", "1_1_3")]
    steps = [
        [each.step for each in read_history(folder / stretch) if each.loss] for stretch in names
    ]
    assert [len(found) for found in steps] == [2, 2, 6]
    card = read_card(folder / names[-1])
    assert card is not None
    assert [parent.name for parent in card.lineage] == names[:2]
