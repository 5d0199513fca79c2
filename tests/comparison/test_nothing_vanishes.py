"""Nothing vanishes: seeds on other splits, filters, eval seeds, models without an adapter."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison.aggregator import AdapterRun, aggregate
from ft_harness.comparison.features import TITLES, features_of, varying
from ft_harness.comparison.sentences import state_study
from ft_harness.records import Evaluation
from ft_harness.records.finding import load_records
from tests.builders.lm_eval_output import make_lines, write_output
from tests.builders.records import (
    label_samples,
    make_card,
    make_record,
    make_score,
)
from tests.comparison.conftest import Write

N = 100


def scored(write: Write, name: str | None, right: int, number: int = 0, **way: Any) -> Evaluation:
    """Right on the first items of 100 with alternating gold labels."""
    golds = [n % 2 for n in range(N)]
    answers = [gold if n < right else 1 - gold for n, gold in enumerate(golds)]
    record = make_record(name, **way)
    scores = [make_score("acc", value=right / N, low=right / N - 0.1, high=right / N + 0.1, n=N)]
    changed = {
        "eval_id": f"{record.eval_id}-{number}",
        "scores": [*scores, *record.scores[1:]],
    }
    return write(record.model_copy(update=changed), label_samples(golds, answers))


def make_run(name: str, seed: int, splits: Sequence[str]) -> AdapterRun:
    recipe = {
        "task": {"name": "demo_nli"},
        "train": {"seed": seed},
        "eval": {"splits": list(splits)},
    }
    return AdapterRun(card=make_card(name).model_copy(update={"recipe": recipe}), history=[])


def test_a_seed_that_was_scored_on_other_splits_is_still_a_seed(write: Write) -> None:
    """Seeds 1 and 2 on test, seed 2 on train too, seed 3 on validation alone: 2 on test, named."""
    places = {"s1": ["test"], "s2": ["test", "train"], "s3": ["validation"]}
    evaluations = [scored(write, None, 40, split=s) for s in ("test", "validation", "train")]
    runs: list[AdapterRun] = []
    for seed, (name, splits) in enumerate(places.items(), 1):
        evaluations += [scored(write, name, 60 + 5 * seed, split=split) for split in splits]
        runs.append(make_run(name, seed, splits))
    study = aggregate(evaluations, runs, name="n", command="c")
    (repeats,) = study.repeats
    assert (repeats.split, repeats.seeds, repeats.elsewhere) == ("test", [1, 2], ["s3"])
    assert repeats.deltas == pytest.approx([0.25, 0.30])
    said = state_study(study)[-1]
    assert said.startswith(
        "Over 2 training seeds accuracy on demo_nli (test) changes by +27.5 points"
    )
    assert said.endswith("; not scored on this split: s3.")
    assert ", 1 of 2 training seeds)" in study.comparisons[0].finding


def test_eval_seeds_are_a_column_and_a_spread(write: Write) -> None:
    """One adapter, 3-shot with two eval seeds: +20 and +30 points, SD 7.07."""
    evaluations: list[Evaluation] = []
    for number, (seed, right) in enumerate(((1, 60), (2, 70))):
        way = {"num_fewshot": 3, "seed": seed, "fewshot_hash": "rows"}
        evaluations.append(scored(write, None, 40, number, **way))
        evaluations.append(scored(write, "a", right, number, **way))
    study = aggregate(evaluations, name="n", command="c")
    assert varying(study) == ["eval_seed"]
    assert [features_of(study, each)["eval_seed"] for each in study.comparisons] == ["1", "2"]
    (repeats,) = study.repeats
    assert (repeats.varied, repeats.seeds) == ("eval seed", [1, 2])
    assert repeats.deltas == pytest.approx([0.2, 0.3])
    assert repeats.seed_deviation == pytest.approx(statistics.stdev([0.2, 0.3]))
    assert state_study(study)[-1].startswith("Over 2 eval seeds accuracy on demo_nli (test)")


def test_two_filters_of_one_task_are_two_named_rows(tmp_path: Path) -> None:
    """F5: the same task and split, answered once by strict-match and once by flexible-extract."""
    golds = [n % 2 for n in range(24)]
    for name, peft in (("b", None), ("t", "a/mine")):
        lines = [
            line | {"filter": each}
            for each in ("strict-match", "flexible-extract")
            for line in make_lines(golds, golds if peft else [0] * 24)
        ]

        def state(results: dict[str, Any]) -> None:
            (scores,) = results["results"].values()
            value = scores.pop("acc,none")
            scores |= {"acc,strict-match": value, "acc,flexible-extract": value}
            (counts,) = results["n-samples"].values()
            counts["effective"] = 24

        write_output(tmp_path / name, lines, peft, change=state)
    study = aggregate(load_records([tmp_path]), name="n", command="c")
    assert varying(study) == ["filter"]
    assert sorted(features_of(study, each)["filter"] for each in study.comparisons) == [
        "flexible-extract",
        "strict-match",
    ]


def test_two_rows_never_share_a_name(write: Write) -> None:
    """Two evaluations that differ in what is no feature: their ids lead them."""
    evaluations: list[Evaluation] = []
    for number, length in enumerate((256, 512)):
        evaluations.append(scored(write, None, 40, number, max_length=length))
        evaluations.append(scored(write, "a", 70, number, max_length=length))
    study = aggregate(evaluations, name="n", command="c")
    assert varying(study) == ["evaluation"]
    keys = [
        tuple(features_of(study, each)[name] for name in TITLES if name != "metric")
        for each in study.comparisons
    ]
    assert len(set(keys)) == 2


def test_models_without_an_adapter_are_a_study(write: Write) -> None:
    """0-shot once, 5-shot with three seeds: 50, 56 and 62 right, mean 56, SD 6."""
    evaluations = [scored(write, None, 45)]
    for number, right in enumerate((50, 56, 62), 1):
        way = {"num_fewshot": 5, "seed": number, "fewshot_hash": f"rows-{number}"}
        evaluations.append(scored(write, None, right, number, **way))
    study = aggregate(evaluations, name="n", command="c")
    assert (study.comparisons, study.notes) == ([], [])
    once, thrice = study.untuned
    assert (once.num_fewshot, once.mean, once.deviation, once.n) == (0, 0.45, None, N)
    assert (once.low, once.high) == (pytest.approx(0.35), pytest.approx(0.55))
    assert (thrice.num_fewshot, thrice.seeds, thrice.values) == (5, [1, 2, 3], [0.5, 0.56, 0.62])
    assert (thrice.mean, thrice.deviation) == (pytest.approx(0.56), pytest.approx(0.06))
    assert thrice.low is not None
    assert thrice.high is not None
    # other seeds and other items: wider than the score's own 95 % interval, +- 1.96 x 0.05
    assert thrice.low < 0.56 - 0.097 < 0.56 + 0.097 < thrice.high


def test_a_base_that_no_adapter_was_compared_with_is_shown_and_named(write: Write) -> None:
    pair = [scored(write, None, 40), scored(write, "a", 70)]
    alone = scored(write, None, 55, 1, num_fewshot=5, fewshot_hash="rows")
    study = aggregate([*pair, alone], name="n", command="c")
    assert [(each.num_fewshot, each.values) for each in study.untuned] == [(5, [0.55])]
    assert study.notes == [
        "base--bundled/demo_nli@test-1: not compared, no adapter was scored the same way; the closest is "
        "a/demo_nli@test-0: shots is 5, there 0"
    ]


def test_training_sizes_are_held_against_the_base_on_their_own_train_split(write: Write) -> None:
    """The base was scored on the train split of each size; equal in all else, so that its docs
    tell which."""
    evaluations: list[Evaluation] = []
    for size in (100, 60):
        golds = [n % 2 for n in range(size)]
        for name in (None, f"size-{size}"):
            record = make_record(name, split="train", data_hash=f"first {size}")
            record = record.model_copy(update={"eval_id": f"{name}-{size}"})
            evaluations.append(write(record, label_samples(golds, golds)))
    for order in (evaluations, evaluations[::-1]):
        study = aggregate(order, name="n", command="c")
        assert {each.tuned.subject: each.base.eval_id for each in study.comparisons} == {
            "size-100": "None-100",
            "size-60": "None-60",
        }
        assert {each.tuned.subject: each.headline.n for each in study.comparisons} == {
            "size-100": 100,
            "size-60": 60,
        }
