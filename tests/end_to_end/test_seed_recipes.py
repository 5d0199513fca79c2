"""The recipes of real write-ups: complete, and run from end to end on a tiny random model of their
own architecture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ft_harness.models.adapters import read_card, read_history
from ft_harness.recipe import Recipe, load_recipe
from ft_harness.records import load_records
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
TRAINED = sorted(ARCHITECTURES.keys() - {"imdb-gemma-2b-shots"})
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
    """What replaces the big model, the hub's data and the sizes; all else is the recipe's own."""
    if name.startswith("zh-"):
        for split, count in (("train", 40), ("test", 1)):
            (folder / "data").mkdir(exist_ok=True)
            (folder / "data" / f"{split}.json").write_text(
                json.dumps(rows_of(name, count)), encoding="utf-8"
            )
        source = folder / "data"
    else:
        source = write_jsonl(folder / "pool.jsonl", rows_of(name, 120))
    sizes = {"train_size": 24, "validation_size": 12, "test_size": 12}
    given = load_recipe(ADAPTERS / name).data.model_dump(exclude_none=True)
    settings = {
        f"data.{key}": size for key, size in sizes.items() if key in given or "split" in given
    }
    if given.get("split") == "80/20":
        del settings["data.validation_size"]
    settings |= {
        "model.pretrained": models[ARCHITECTURES[name]],
        "data.source": source,
        "model.max_length": CONTEXT,
    }
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


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


@pytest.mark.parametrize("name", TRAINED)
def test_each_is_checked_and_run_from_end_to_end(
    ft, models: dict[str, Path], name: str, tmp_path: Path
):
    settings = small(name, models, tmp_path)
    recipe = ADAPTERS / name / "recipe.yaml"
    code, out, err = ft("check", recipe, *settings)
    assert code == 0, err
    assert "no fault" in out
    code, _, err = ft("run", recipe, *settings)
    assert code == 0, err
    card = read_card(tmp_path / "adapters" / name)
    assert card is not None
    own = load_recipe(recipe)
    rows = 96 if own.data.split == "80/20" else 24
    assert card.steps == own.train.planned_steps(card.examples)
    assert 0 < card.examples <= rows
    scored = load_records([tmp_path / "results"])
    assert {each.record.status for each in scored} == {"complete"}
    assert len(scored) == 2 * len(own.eval.splits) * len(own.eval.protocols())  # base and tuned
    assert (tmp_path / "results" / "reports" / name / "report.md").is_file()


def test_shots_are_scored_without_training(ft, models: dict[str, Path], tmp_path: Path):
    name = "imdb-gemma-2b-shots"
    settings = small(name, models, tmp_path)
    code, _, err = ft("check", ADAPTERS / name, *settings)
    assert code == 0, err
    again = [*settings, "--set", "eval.seed=1", "--set", "eval.num_fewshot=[1, 4]"]
    for given in (settings, again):
        code, _, err = ft("eval", ADAPTERS / name, *given)
        assert code == 0, err
    scored = {
        (each.record.settings.num_fewshot, each.record.settings.seed): each.folder
        for each in load_records([tmp_path / "results"])
    }
    assert sorted(scored) == [(0, 0), (1, 0), (1, 1), (4, 0), (4, 1)]
    code, _, err = ft("compare", scored[0, 0], scored[4, 0], "--factor", "shots")
    assert code == 0, err


def test_three_stretches_make_one_learning_curve(ft, models: dict[str, Path], tmp_path: Path):
    name = "zh-classical-taiwan-llm-qlora"
    settings = [*small(name, models, tmp_path), "--set", "eval.generation_kwargs={max_gen_toks: 4}"]
    recipe = ADAPTERS / name
    stretches = {
        "first": [],
        "second": [f"train.continue_from={tmp_path / 'adapters' / 'first'}"],
        "third": [
            f"train.continue_from={tmp_path / 'adapters' / 'second'}",
            "train.num_train_epochs=3",
        ],
    }
    for stretch, changes in stretches.items():
        more = [part for change in changes for part in ("--set", change)]
        code, _, err = ft("run", recipe, "--name", stretch, *settings, *more)
        assert code == 0, err
    card = read_card(tmp_path / "adapters" / "third")
    assert card is not None
    assert [parent.name for parent in card.lineage] == ["first", "second"]
    steps = [
        [each.step for each in read_history(tmp_path / "adapters" / name) if each.loss]
        for name in stretches
    ]
    assert [len(found) for found in steps] == [
        2,
        2,
        6,
    ]  # 24 rows in batches of 16: 2 steps an epoch
    adapter = ["--adapter", tmp_path / "adapters" / "third", "--set", "eval.generation_kwargs={}"]
    for given in ("task.name=zh_classical_ppl_custom", "eval.fewshot_ids=last:3"):
        code, _, err = ft("eval", recipe, *settings, *adapter, "--set", given)
        assert code == 0, err
    code, _, err = ft("report", tmp_path / "results", "--name", "stretches")
    assert code == 0, err
    text = (tmp_path / "results" / "reports" / "stretches" / "report.md").read_text(
        encoding="utf-8"
    )
    assert "zh\\_classical\\_ppl\\_custom" in text
