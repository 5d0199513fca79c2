"""The items that weigh most in a perplexity, found in stored statistics and named in the report."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ft_harness.comparison.aggregator import aggregate
from ft_harness.comparison.comparability import Terms
from ft_harness.pipeline.explanations import find_outliers
from ft_harness.records import Evaluation
from tests.builders.records import make_record, make_sample, write_evaluation

# log-likelihood and tokens of seven items, before and after; the fifth has no score after tuning
BASE = [(-4.0, 4), (-10.0, 2), (-3.0, 3), (-8.0, 4), (-6.0, 1), (-2.0, 2), (-5.0, 5)]
TUNED = [(-2.0, 4), (-8.0, 2), (-6.0, 3), (-1.0, 4), None, (-3.0, 2), (-0.5, 5)]


def write(
    folder: Path, adapter: str | None, statistics: list[tuple[float, int] | None]
) -> Evaluation:
    record = make_record(adapter, metrics=("token_ppl",))
    samples = [
        make_sample(
            number,
            f"text {number}",
            None,
            {"token_ppl": list(found) if found else None},
            invalid=False,
        )
        for number, found in enumerate(statistics)
    ]
    return write_evaluation(folder, record, samples)


@pytest.fixture
def scored(tmp_path: Path) -> list[Evaluation]:
    return [write(tmp_path / "base", None, BASE), write(tmp_path / "tuned", "mine", TUNED)]


def test_the_largest_losses_per_token_are_found(scored: list[Evaluation]):
    study = aggregate(scored, name="x", command="x", terms=Terms(allow_mismatch=("items",)))
    (found,) = find_outliers(study, scored)
    # losses per token after tuning: 0.5, 4, 2, 0.25, -, 1.5, 0.1; the five largest leave out the
    # last item alone
    assert [item.text for item in found.items] == ["text 1", "text 2", "text 5", "text 0", "text 3"]
    assert [(item.base, item.tuned, item.units) for item in found.items[:2]] == [
        (5.0, 4.0, 2),
        (1.0, 2.0, 3),
    ]
    assert [item.item_key for item in found.items[:1]] == ["item0001-1"]
    # of a loss of 2 + 8 + 6 + 1 + 3 + 0.5 = 20.5 they hold 20
    assert found.share == pytest.approx(20 / 20.5)
    assert found.base_without == pytest.approx(math.e)  # exp(5 / 5)
    assert found.tuned_without == pytest.approx(math.exp(0.1))
    assert found.metric == "token_ppl"


def test_nothing_is_found_where_nothing_is_scored(tmp_path: Path):
    scored = [write(tmp_path / "base", None, BASE), write(tmp_path / "tuned", "mine", [None] * 7)]
    assert (
        find_outliers(
            aggregate(scored, name="x", command="x", terms=Terms(allow_mismatch=("items",))), scored
        )
        == []
    )


def test_the_report_names_them(ft, scored: list[Evaluation], tmp_path: Path):
    code, _, _ = ft("compare", "base", "tuned", "--allow-mismatch", "items")
    assert code == 0
    text = (tmp_path / "results/reports/comparison/report.md").read_text().replace("\\_", "_")
    assert "hold 97.6 % of all loss. Without them token_ppl is 2.72 before and 1.11 after." in text
    assert "| item0001-1 |" in text
