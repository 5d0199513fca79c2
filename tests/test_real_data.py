"""Real data, real tokenizers, a real pretrained model; skipped where FT_HARNESS_SHARED is not set."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ft_harness.data import load_splits
from ft_harness.examples import build_examples, trains_eos
from ft_harness.paths import task_yamls_dir
from ft_harness.pipeline import Experiment, run
from ft_harness.recipe import load_recipe
from ft_harness.tasks import TaskSpec, load_tasks

REPOSITORY = Path(__file__).parents[1]


def sst2_metadata(shared: Path) -> dict:
    """What lm_eval's --metadata carries for the files without a header."""
    return {"data_source": str(shared / "data/sst2_sentences"), "data_column_names": ["sentence", "label"]}


def real_tokenizer(shared: Path, name: str):
    from transformers import AutoTokenizer

    folders = {"gpt2": shared / "data/tokenizers/gpt2", "stories260k": shared / "models/stories260k-hf"}
    return AutoTokenizer.from_pretrained(folders[name])


@pytest.mark.parametrize("name", ["gpt2", "stories260k"])
@pytest.mark.parametrize("task_name", ["sst2_custom", "sst2_stories_custom"])
def test_boundaries_with_real_tokenizers(shared: Path, name: str, task_name: str):
    tokenizer = real_tokenizer(shared, name)
    metadata = sst2_metadata(shared) | {"data_train_size": 50}
    task = load_tasks(TaskSpec(task_name, metadata=metadata), ["train"])["train"]
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
    assert {split: len(sst2[split]) for split in sst2} == {"train": 6920, "validation": 872, "test": 1821}
    snli = load_splits(
        {
            "source": str(shared / "data/snli"),
            "columns": {"premise": ["sentence1"], "hypothesis": ["sentence2"], "label": ["gold_label"]},
            "labels": ["entailment", "neutral", "contradiction"],
            "validation_size": 300,
        }
    )
    assert {split: len(snli[split]) for split in snli} == {"train": 9542, "validation": 300, "test": 9818}
    pairs = {split: {(row["premise"], row["hypothesis"]) for row in snli[split]} for split in ("train", "validation")}
    assert len(pairs["validation"] & pairs["train"]) <= 2  # disjoint by row; SNLI dev itself repeats a pair or two


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
    run([Experiment("sst2-stories260k", recipe, out, "test")], "sst2", lambda _: None)
    return out


def test_sst2_is_learnt_as_well_as_a_right_pipeline_learns_it(tuned: Path):
    rows = json.loads((tuned / "results/reports/sst2/rows.json").read_text())
    (primary,) = [row for row in rows if row["primary"]]
    assert primary["n"] == 1821
    assert 0.45 < primary["base"] < 0.58
    assert primary["tuned"] >= 0.70
    assert primary["verdict"] == "improved"


def test_the_stock_command_gives_the_same_accuracy_to_the_item(tuned: Path, shared: Path, tmp_path: Path):
    """`lm_eval` itself, in a process of its own, with `peft=` on the adapter that was trained here."""
    options = {
        "include_path": task_yamls_dir(),
        "tasks": "sst2_stories_custom",
        "model": "hf",
        "model_args": f"pretrained={shared / 'models/stories260k-hf'},peft={tuned / 'adapters/sst2-stories260k'}",
        "metadata": json.dumps(sst2_metadata(shared)),
        "device": "cpu",
        "batch_size": 64,
        "output_path": tmp_path,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    subprocess.run([sys.executable, "-m", "lm_eval", "run", "--log_samples", *words], check=True, capture_output=True)
    (stock_file,) = tmp_path.rglob("samples_*.jsonl")
    stock = {item["doc_id"]: item["acc"] for item in map(json.loads, stock_file.read_text().splitlines())}
    from ft_harness.records import load_records

    (ours,) = [found for found in load_records([tuned / "results"]) if found.record.adapter]
    assert {sample.doc_id: sample.scores["acc"] for sample in ours.samples()} == stock
    assert len(stock) == 1821
