"""Why a difference has no interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ft_harness.comparison import measurement
from ft_harness.comparison.measurement import Difference, Measurement
from ft_harness.comparison.pairing import pair_items
from tests.builders.records import label_samples, make_record, make_sample, write_evaluation


def measure(folder: Path, metric: str, sides: list[list[Any]]) -> Difference:
    evaluations = [
        write_evaluation(
            folder / (adapter or "base"),
            make_record(adapter, metrics=(metric,)),
            [make_sample(n, "x", "x", {metric: score}) for n, score in enumerate(scores)],
        )
        for adapter, scores in zip((None, "tuned"), sides, strict=True)
    ]
    pairs, _ = pair_items(*evaluations)
    return Measurement(pairs).difference(metric)


def test_an_ece_is_descriptive(tmp_path: Path) -> None:
    bins = [[0.1 * (n % 3), *[0.0] * 9] for n in range(40)]
    found = measure(tmp_path, "ece", [bins, bins[::-1]])
    assert found.base is not None
    assert (found.interval, found.p, found.no_interval) == (None, None, "descriptive")


def test_two_long_texts_are_too_few(tmp_path: Path) -> None:
    texts = [[-2000.0, 1000.0], [-2500.0, 1000.0], *[[-2.0, 1.0]] * 30]
    better = [[score * 0.9, tokens] for score, tokens in texts]
    found = measure(tmp_path, "token_ppl", [texts, better])
    assert found.delta is not None
    assert (found.interval, found.p) == (None, None)
    assert found.no_interval == "too few items for an interval"


def test_an_end_beyond_the_range_of_a_float_is_not_given(tmp_path: Path) -> None:
    texts = [[-10.0 * loss, 10.0] for loss in (1.0, 1.25, 1.5, 1.75, 2.0)]
    ruined = [[-10.0 * loss, 10.0] for loss in (690.0, 690.0, 1.0, 1.0, 1.0)]
    found = measure(tmp_path, "token_ppl", [texts, ruined])
    assert found.delta is not None
    assert (found.interval, found.p) == (None, None)
    assert found.no_interval == "too few items for an interval"


def test_a_value_that_is_undefined(tmp_path: Path) -> None:
    one_class = [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 20
    found = measure(tmp_path, "mcc", [one_class, one_class])
    assert (found.delta, found.interval, found.no_interval) == (None, None, "undefined")


def test_a_difference_with_an_interval_has_no_reason(tmp_path: Path) -> None:
    found = measure(tmp_path, "token_f1", [[0.0] * 30, [0.9] * 30])
    assert found.no_interval is None
    assert found.interval is not None
    assert found.interval[0] < 0.9 < found.interval[1]
    assert found.p == pytest.approx(0.0, abs=0.001)


def test_many_items_are_not_held_for_all_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("acc", "f1_macro", "mcc", "f1_negative")
    base, tuned = (
        write_evaluation(
            tmp_path / (adapter or "base"), make_record(adapter, metrics=names), samples
        )
        for adapter, samples in (
            (None, label_samples([0, 1] * 20, [0, 1, 1, 0] * 10)),
            ("tuned", label_samples([0, 1] * 20, [0, 1, 1, 1] * 10)),
        )
    )
    pairs, _ = pair_items(base, tuned)
    few, many = Measurement(pairs), Measurement(pairs)
    found = [few.difference(name) for name in names]
    assert len(few._scored) == 3  # f1_macro and mcc share their statistics
    monkeypatch.setattr(measurement, "_FEW", len(pairs) - 1)
    assert [many.difference(name) for name in names] == found
    assert len(many._scored) == 1
