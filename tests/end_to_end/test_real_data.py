"""Real data, real tokenizers, a real pretrained model; skipped where FT_HARNESS_SHARED is not
set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ft_harness.comparison.sentences import state_study
from ft_harness.data import load_splits
from ft_harness.paths import task_yamls_dir
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.runs import run
from ft_harness.recipe import load_recipe
from ft_harness.records.finding import load_records
from ft_harness.tasks.examples import build_examples, trains_eos
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

REPOSITORY = Path(__file__).parents[2]


def sst2_metadata(shared: Path) -> dict:
    """What lm_eval's --metadata carries for the files without a header."""
    return {
        "data_source": str(shared / "data/sst2_sentences"),
        "data_column_names": ["sentence", "label"],
    }


def real_tokenizer(shared: Path, name: str):
    from transformers import AutoTokenizer

    folders = {
        "gpt2": shared / "data/tokenizers/gpt2",
        "stories260k": shared / "models/stories260k-hf",
    }
    return AutoTokenizer.from_pretrained(folders[name])


@pytest.mark.parametrize("name", ["gpt2", "stories260k"])
@pytest.mark.parametrize("task_name", ["sst2_custom", "sst2_stories_custom"])
def test_boundaries_with_real_tokenizers(shared: Path, name: str, task_name: str):
    tokenizer = real_tokenizer(shared, name)
    metadata = sst2_metadata(shared) | {"data_train_size": 50}
    task = load_tasks(find_task(task_name, metadata=metadata), ["train"])["train"]
    docs = list(task.eval_docs)
    examples = build_examples(task, docs, tokenizer, 512, eos=trains_eos(task, None))
    for doc, example in zip(docs, examples, strict=True):
        prompt = task.fewshot_context(doc, 0)
        answer = f" {task.doc_to_choice(doc)[doc['label']]}"
        assert example.context_ids == tokenizer(prompt)["input_ids"]
        assert example.context_ids + example.answer_ids == tokenizer(prompt + answer)["input_ids"]
        assert tokenizer.decode(example.answer_ids).strip() == answer.strip()
        assert example.context_ids.count(tokenizer.bos_token_id) == (name == "stories260k")


def test_sizes_of_the_real_sets(shared: Path):
    sst2 = load_splits({"labels": ["negative", "positive"]}, **sst2_metadata(shared))
    assert {split: len(sst2[split]) for split in sst2} == {
        "train": 6920,
        "validation": 872,
        "test": 1821,
    }
    snli = load_splits(
        {
            "source": str(shared / "data/snli"),
            "columns": {
                "premise": ["sentence1"],
                "hypothesis": ["sentence2"],
                "label": ["gold_label"],
            },
            "labels": ["entailment", "neutral", "contradiction"],
            "validation_size": 300,
        }
    )
    assert {split: len(snli[split]) for split in snli} == {
        "train": 9542,
        "validation": 300,
        "test": 9818,
    }
    pairs = {
        split: {(row["premise"], row["hypothesis"]) for row in snli[split]}
        for split in ("train", "validation")
    }
    assert (
        len(pairs["validation"] & pairs["train"]) <= 2
    )  # disjoint by row; SNLI dev itself repeats a pair or two


@pytest.fixture(scope="module")
def tuned(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed SST-2 recipe on stories260K, scored on the 1,821 test sentences."""
    out = tmp_path_factory.mktemp("sst2")
    recipe = load_recipe(
        REPOSITORY / "adapters/sst2-stories260k",
        [
            f"model.pretrained={shared / 'models/stories260k-hf'}",
            f"data.source={shared / 'data/sst2_sentences'}",
            "eval.splits=[test]",
        ],
    )
    source = REPOSITORY / "adapters/sst2-stories260k/recipe.yaml"
    run([Experiment("sst2-stories260k", recipe, source, out, "test")], "sst2", lambda _: None)
    return out


def test_sst2_is_learnt_as_well_as_a_right_pipeline_learns_it(tuned: Path):
    rows = json.loads((tuned / "results/reports/sst2/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    assert primary["n"] == 1821
    assert 0.45 < primary["base"] < 0.58
    assert primary["tuned"] >= 0.70
    assert primary["verdict"] == "improved"


@pytest.mark.parametrize("adapter", [False, True], ids=["base", "adapter"])
def test_the_stock_command_gives_the_same_accuracy_to_the_item(
    adapter: bool, tuned: Path, shared: Path, tmp_path: Path
):
    """`lm_eval` itself, in a process of its own, for the base and with `peft=` on the adapter that
    was trained here."""
    peft = f",peft={tuned / 'adapters/sst2-stories260k'}" if adapter else ""
    options = {
        "include_path": task_yamls_dir(),
        "tasks": "sst2_stories_custom",
        "model": "hf",
        "model_args": f"pretrained={shared / 'models/stories260k-hf'}{peft}",
        "metadata": json.dumps(sst2_metadata(shared)),
        "device": "cpu",
        "batch_size": 64,
        "output_path": tmp_path,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--log_samples", *words],
        check=True,
        capture_output=True,
    )
    (stock_file,) = tmp_path.rglob("samples_*.jsonl")
    stock = {
        item["doc_id"]: item["acc"] for item in map(json.loads, stock_file.read_text().splitlines())
    }
    (ours,) = [
        found
        for found in load_records([tuned / "results"])
        if bool(found.record.adapter) == adapter
    ]
    assert {sample.doc_id: sample.scores["acc"] for sample in ours.samples()} == stock
    assert len(stock) == 1821


def run_primary(name: str, settings: list[str], out: Path) -> tuple[dict, str]:
    """(the primary row, the sentence) of a committed recipe run with settings."""
    folder = REPOSITORY / "adapters" / name
    recipe = load_recipe(folder, [*settings, "eval.splits=[test]"])
    study, _ = run(
        [Experiment(name, recipe, folder / "recipe.yaml", out, "test")], name, lambda _: None
    )
    (row,) = [row for row in study.rows() if row.primary]
    return row.model_dump(), state_study(study)[0]


def test_snli_is_learnt_from_half_of_its_pairs(shared: Path, tmp_path: Path):
    settings = [
        f"model.pretrained={shared / 'models/stories260k-hf'}",
        f"data.source={shared / 'data/snli'}",
    ]
    row, _ = run_primary(
        "snli-stories260k", [*settings, "data.train_size=5000", "data.test_size=1000"], tmp_path
    )
    assert 0.28 < row["base"] < 0.38
    assert row["tuned"] >= 0.42
    assert row["verdict"] == "improved"


def test_random_base_weights_learn_clearly_less(shared: Path, tmp_path: Path):
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    source = shared / "models/stories260k-hf"
    torch.manual_seed(0)
    LlamaForCausalLM(AutoConfig.from_pretrained(source)).save_pretrained(tmp_path / "random")
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path / "random")
    settings = [
        f"model.pretrained={tmp_path / 'random'}",
        f"data.source={shared / 'data/sst2_sentences'}",
    ]
    row, _ = run_primary(
        "sst2-stories260k", [*settings, "data.train_size=2000", "data.test_size=1000"], tmp_path
    )
    assert row["tuned"] < 0.62


def test_a_much_too_high_learning_rate_is_reported_as_what_it_is(shared: Path, tmp_path: Path):
    settings = [
        f"model.pretrained={shared / 'models/stories260k-hf'}", f"data.source={shared / 'data/sst2_sentences'}",
        "train.learning_rate=5e-2", "train.num_train_epochs=1", "data.train_size=2000", "data.test_size=1000",
    ]  # fmt: skip
    row, sentence = run_primary("sst2-stories260k", settings, tmp_path)
    assert row["tuned"] < 0.55
    assert "it has collapsed to one answer" in sentence
