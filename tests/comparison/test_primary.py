"""Which metric leads: declared, or what fits; and that declaring it is no part of any identity."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from ft_harness import task_yamls_dir
from ft_harness.comparison.aggregator import aggregate, compare
from ft_harness.comparison.primary import find_companions, find_primary, is_too_short_for_bleu
from ft_harness.metrics import score_text
from ft_harness.recipe import EvalSection, Recipe
from ft_harness.tasks.finding import find_task
from tests.builders.records import make_record, make_sample, write_evaluation

TEXT = ("exact_match", "token_f1", "bleu", "chrf", "rougeL", "meteor")
SQUAD = ("exact_match", "token_f1", "HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
SHORT = ["a red car"] * 10
LONG = ["the quick brown fox jumps over the lazy dog " * 3] * 10  # 27 words
CHINESE = ["學而時習之不亦說乎有朋自遠方來不亦樂乎" * 2] * 10  # 38 characters, no spaces


@pytest.mark.parametrize(
    ("names", "declared", "targets", "leads"),
    [
        (("f1_macro", "acc"), None, [], "acc"),
        (("f1_macro", "acc"), "f1_macro", [], "f1_macro"),
        (("f1_macro", "acc"), "mcc", [], "acc"),  # declared, but not scored
        (SQUAD, None, SHORT, "exact_match"),
        (TEXT, None, SHORT, "chrf"),  # never exact match of free text
        (TEXT, None, LONG, "rougeL"),
        (TEXT, None, CHINESE, "chrf"),
        (("exact_match", "bleu"), None, SHORT, "exact_match"),  # BLEU of three words is 0
        (("exact_match", "bleu"), None, LONG, "bleu"),
        (("token_ppl", "byte_ppl"), None, [], "token_ppl"),
    ],
)
def test_what_leads(names: tuple[str, ...], declared: str | None, targets: list[str], leads: str):
    assert find_primary(names, declared, targets) == leads


def test_what_belongs_next_to_it():
    assert find_companions("acc", ("acc", "f1_macro", "mcc")) == ["f1_macro"]
    assert find_companions("exact_match", SQUAD) == list(SQUAD[1:])
    assert find_companions("token_ppl", ("token_ppl",)) == []


def test_bleu_of_short_answers_is_noted(tmp_path: Path):
    """Perfect answers of three words have no run of four: BLEU 0.00."""
    golds = [f"a red car {number}"[:9] for number in range(20)]
    samples = [
        make_sample(number, gold, gold, score_text({"answer": gold}, [gold]))
        for number, gold in enumerate(golds)
    ]
    assert is_too_short_for_bleu(golds)
    names = ("exact_match", "bleu", "chrf")
    sides = [
        write_evaluation(tmp_path / str(name), make_record(name, metrics=names), samples)
        for name in (None, "x")
    ]
    compared = compare(*sides)
    bleu = next(row for row in compared.rows if row.metric == "bleu")
    assert (bleu.base, bleu.tuned) == (0.0, 0.0)
    assert [note for note in bleu.footnotes if note.startswith("BLEU counts runs of four words")]
    assert compared.headline.metric == "chrf"
    declared = [
        side.model_copy(
            update={"record": side.record.model_copy(update={"primary_metric": "bleu"})}
        )
        for side in sides
    ]
    compared = compare(*declared)
    assert compared.headline.metric == "bleu"
    assert "another metric should lead" in compared.sentence


def test_a_declared_metric_that_was_not_scored_is_noted(tmp_path: Path):
    samples = [make_sample(n, "a", "a", {"acc": 1.0}) for n in range(20)]
    records = [
        make_record(name, metrics=("acc",)).model_copy(update={"primary_metric": "mcc"})
        for name in (None, "x")
    ]
    sides = [write_evaluation(tmp_path / r.subject, r, samples) for r in records]
    notes = aggregate(sides, name="n", command="c").notes
    assert notes == ["x/demo_nli@test: the primary metric mcc was not scored, acc leads"]


# --- identity


def test_shipped_tasks_declare_what_leads():
    folder = task_yamls_dir()
    found = {
        name: find_task(name).content["metadata"].get("primary_metric")
        for name in ("instruction_custom", "zh_classical_custom", "squad_v2_custom", "squad_custom")
    }
    assert folder.is_dir()
    assert found == {
        "instruction_custom": "chrf",
        "zh_classical_custom": "chrf",
        "squad_v2_custom": "exact_match",
        "squad_custom": "exact_match",
    }


def test_a_primary_metric_changes_no_identity(tmp_path: Path):
    text = "task: t\ndoc_to_text: q\nmetric_list: [{metric: acc}]\nmetadata:\n  version: 1.0\n"
    for name, more in (
        ("plain", ""),
        ("declared", "  primary_metric: acc\n"),
        ("other", "  x: 1\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t.yaml").write_text(text + more)
    plain, declared, other = (
        find_task("t", tmp_path / name) for name in ("plain", "declared", "other")
    )
    assert declared.task_hash == plain.task_hash != other.task_hash
    assert declared.training_hash == plain.training_hash
    assert "primary_metric" in declared.content["metadata"]
    recipe = Recipe.model_validate({"model": {"pretrained": "bundled"}, "task": {"name": "t"}})
    changed = recipe.model_copy(update={"eval": EvalSection(primary_metric="f1_macro")})
    assert changed.fingerprint() == recipe.fingerprint()
    assert dataclasses.is_dataclass(plain)
