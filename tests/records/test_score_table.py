"""Outcomes in columns: the same as the samples', read from scores.parquet only if it is of these
samples."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from ft_harness.comparison.aggregator import compare
from ft_harness.errors import InputError
from ft_harness.metrics import score_answer
from ft_harness.records import SAMPLES_FILE, SCORES_FILE, Evaluation, Sample
from ft_harness.records.score_table import find_samples, read_outcomes, write_scores
from ft_harness.storage import write_gzip_lines
from tests.builders.records import (
    ANSWER_METRICS,
    answer_samples,
    label_samples,
    make_record,
    make_sample,
    write_evaluation,
)


def write(folder: Path, samples: list[Sample], **settings: object) -> Evaluation:
    """As a run writes it: samples in members of a thousand, scores beside them."""
    evaluation = write_evaluation(folder, make_record(**settings), samples)
    write_gzip_lines(folder / SAMPLES_FILE, [sample.model_dump_json() for sample in samples])
    write_scores(evaluation)
    return evaluation


def some_samples(n: int) -> list[Sample]:
    return label_samples(
        [number % 2 for number in range(n)], [number % 3 % 2 for number in range(n)]
    )


def test_columns_hold_what_the_samples_hold(tmp_path: Path) -> None:
    samples = some_samples(30)
    samples[4] = samples[4].model_copy(
        update={"scores": samples[4].scores | {"acc": None}, "prediction": None}
    )
    evaluation = write(tmp_path / "e", samples)
    found = read_outcomes(evaluation)
    (evaluation.folder / SCORES_FILE).unlink()
    for outcomes in (found, read_outcomes(evaluation)):
        assert outcomes.texts.column("item_key").to_pylist() == [
            sample.item_key for sample in samples
        ]
        assert outcomes.texts.column("prediction").to_pylist() == [
            sample.prediction for sample in samples
        ]
        assert outcomes.texts.column("cluster").null_count == 30
        for metric in samples[0].scores:
            expected = [
                np.nan if sample.scores[metric] is None else sample.scores[metric]
                for sample in samples
            ]
            assert np.array_equal(
                outcomes.statistics(metric), np.array(expected).reshape(30, -1), equal_nan=True
            )
        assert outcomes.statistics("none").shape == (30, 1)
        assert np.isnan(outcomes.statistics("none")).all()


def test_metrics_of_the_same_statistics_share_a_column(tmp_path: Path) -> None:
    columns = read_outcomes(write(tmp_path / "e", some_samples(30))).columns
    assert columns["mcc"] == columns["f1_macro"] == "balanced_acc"
    assert columns["recall_negative"] == columns["f1_negative"] == "precision_negative"
    assert columns["acc"] == "acc"


def test_metrics_that_part_late_do_not_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two metrics are equal in the first batch of ten items and differ in the second; a third
    appears there only."""
    monkeypatch.setattr("ft_harness.records.score_columns._BATCH", 10)
    scores = [
        {"a": 1.0, "b": 1.0 if n < 10 else 0.0} | ({"c": [1.0, 2.0]} if n >= 10 else {})
        for n in range(20)
    ]
    outcomes = read_outcomes(
        write(tmp_path / "e", [make_sample(n, "x", "x", each) for n, each in enumerate(scores)])
    )
    assert outcomes.columns == {"a": "a", "b": "b", "c": "c"}
    assert outcomes.statistics("b")[:, 0].tolist() == [1.0] * 10 + [0.0] * 10
    assert np.isnan(outcomes.statistics("c")[:10]).all()
    assert outcomes.statistics("c")[10:].tolist() == [[1.0, 2.0]] * 10


def test_scores_of_other_samples_and_damaged_ones_are_not_used(tmp_path: Path) -> None:
    evaluation = write(tmp_path / "e", some_samples(30))
    write_gzip_lines(
        evaluation.folder / SAMPLES_FILE, [sample.model_dump_json() for sample in some_samples(20)]
    )
    assert len(read_outcomes(evaluation).texts) == 20
    (evaluation.folder / SCORES_FILE).write_bytes(b"PAR1 no parquet")
    assert len(read_outcomes(evaluation).texts) == 20
    assert len(find_samples(evaluation, {"item0003-1"})) == 1


@pytest.mark.parametrize("n", [1, 999, 1000, 1001, 2500])
def test_single_samples_are_found_in_their_member(
    tmp_path: Path, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [make_sample(number, "x", "x", {"acc": 1.0}) for number in range(n)]
    evaluation = write(tmp_path / "e", samples)
    assert list(evaluation.samples()) == samples
    wanted = {samples[0].item_key, samples[-1].item_key, samples[n // 2].item_key}
    monkeypatch.setattr(Evaluation, "samples", None)  # the file is not read from its start
    assert find_samples(evaluation, wanted) == {
        s.item_key: s for s in samples if s.item_key in wanted
    }
    assert find_samples(evaluation, {"unknown"}) == {}


def test_a_file_of_one_member_is_read_from_its_start(tmp_path: Path) -> None:
    evaluation = write(tmp_path / "e", some_samples(1500))
    with gzip.open(evaluation.folder / SAMPLES_FILE, "wt") as file:
        file.writelines(f"{sample.model_dump_json()}\n" for sample in some_samples(1500))
    write_scores(evaluation)
    assert list(find_samples(evaluation, {"item1400-1"})) == ["item1400-1"]


def test_clusters_are_hashes_of_the_named_field(tmp_path: Path) -> None:
    samples = [
        make_sample(n, "x", "x", {"acc": 1.0}, doc={"premise": f"p{n // 2}"}) for n in range(4)
    ]
    clusters = (
        read_outcomes(write(tmp_path / "e", samples, cluster="premise"))
        .texts.column("cluster")
        .to_pylist()
    )
    assert clusters[0] == clusters[1] != clusters[2] == clusters[3]
    with pytest.raises(InputError, match="no field 'context'"):
        read_outcomes(write_evaluation(tmp_path / "f", make_record(cluster="context"), samples))


def test_statistics_of_different_length_are_refused(tmp_path: Path) -> None:
    samples = [make_sample(n, "x", "x", {"acc": [1.0] * (1 + n)}) for n in range(2)]
    with pytest.raises(InputError, match="acc has statistics of different length"):
        read_outcomes(write_evaluation(tmp_path / "e", make_record(), samples))


def test_comparisons_are_the_same_with_and_without_the_table(tmp_path: Path) -> None:
    golds = ["red car", "blue", "green", "old house", "a tree"] * 6
    answers = [
        [gold if (n * 7 + side * 5) % 11 < 6 else "no" for n, gold in enumerate(golds)]
        for side in (0, 1)
    ]
    assert score_answer({"answer": "a"}, ["a"])["token_f1"] == 1.0
    sides = [
        write(
            tmp_path / name, answer_samples(golds, given), adapter=adapter, metrics=ANSWER_METRICS
        )
        for name, adapter, given in (("base", None, answers[0]), ("tuned", "qa", answers[1]))
    ]
    with_table = compare(*sides)
    for side in sides:
        (side.folder / SCORES_FILE).unlink()
    assert compare(*sides) == with_table


def test_an_empty_evaluation(tmp_path: Path) -> None:
    evaluation = write(tmp_path / "e", [])
    assert len(read_outcomes(evaluation).texts) == 0
    assert find_samples(evaluation, set()) == {}
