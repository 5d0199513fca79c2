"""Evaluations of ours that can't be read whole: named, left out of the report, never a part of a
number."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from ft_harness.records import SAMPLES_FILE
from tests.builders.command import assert_three_lines
from tests.builders.records import label_samples, make_record, make_score, write_evaluation

GOLDS = [0, 1] * 20
BASE = [0] * 40
TUNED = [0, 1] * 16 + [0] * 8


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A base and two adapters of other weights, each scored on the same 40 items."""
    folder = tmp_path / "given"
    for name, predictions in ((None, BASE), ("good", TUNED), ("other", TUNED)):
        record = make_record(name)
        scores = [make_score(score.metric, n=40) for score in record.scores]
        weights = record.adapter and record.adapter.model_copy(update={"identity": str(name)})
        record = record.model_copy(update={"scores": scores, "adapter": weights})
        write_evaluation(folder / (name or "base"), record, label_samples(GOLDS, predictions))
    return folder


def shorten(folder: Path, lines: int) -> None:
    """Leave the first lines of the samples, in a file that is whole as such."""
    path = folder / SAMPLES_FILE
    kept = gzip.decompress(path.read_bytes()).splitlines(keepends=True)[:lines]
    path.write_bytes(gzip.compress(b"".join(kept)))


def tear(folder: Path) -> None:
    path = folder / SAMPLES_FILE
    path.write_bytes(path.read_bytes()[:-40])


def subjects(out: Path) -> set[str]:
    rows = json.loads((out / "results/reports/report/rows.json").read_text())
    return {row["tuned_subject"] for row in rows if row["tuned_subject"]}


@pytest.mark.parametrize(
    "damage", [lambda folder: shorten(folder, 30), tear], ids=["short", "torn"]
)
def test_one_damaged_evaluation_is_named_and_the_others_are_reported(
    ft, results: Path, tmp_path: Path, damage
):
    damage(results / "other")
    code, _, err = ft("report", results)
    assert code == 6
    assert str(results / "other" / SAMPLES_FILE) in err
    assert_three_lines(err)
    assert subjects(tmp_path) == {"good"}
    assert (
        SAMPLES_FILE
        in (tmp_path / "results/reports/report/report.md").read_text().partition("## Notes")[2]
    )


def test_fewer_samples_than_were_scored_on_both_sides_are_no_comparison(ft, results: Path):
    for name in ("base", "good"):
        shorten(results / name, 30)
    code, _, err = ft("compare", results / "base", results / "good")
    assert code == 3
    assert "30 samples, the scores rest on 40" in err


def test_the_reason_is_told_where_nothing_is_left_to_compare(ft, results: Path):
    tear(results / "base")
    code, _, err = ft("report", results)
    assert code == 3
    assert str(results / "base" / SAMPLES_FILE) in err
    assert_three_lines(err)
