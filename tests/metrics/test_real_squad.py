"""The answers of three published systems on the official SQuAD files, against what the official
scorer gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ft_harness.metrics import find_metric, score_squad
from ft_harness.metrics.squad import ABSTAINS, normalize_squad

pytestmark = pytest.mark.slow  # whole trainings and scorings on real data

OFFICIAL_NAMES = {"exact_match": "exact", "token_f1": "f1"} | {
    name: name for name in ("HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")
}
SYSTEMS = {
    "v1.1_match_lstm": (10570, 0),
    "v2.0_bidaf_elmo": (5928, 5945),
    "v2.0_bert_single": (5928, 5945),
}


def questions(path: Path) -> list[tuple[str, list[str]]]:
    """(id, gold answers) in the order of the file."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    return [
        (question["id"], [answer["text"] for answer in question["answers"]])
        for article in articles
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


@pytest.fixture(scope="module", params=SYSTEMS)
def replayed(request, shared: Path) -> tuple[str, dict[str, str], list[dict[str, Any]]]:
    """(system, its predictions, the scores of each question)."""
    folder = shared / "data/squad"
    predictions = json.loads(
        (folder / f"predictions/{request.param}.json").read_text(encoding="utf-8")
    )
    asked = questions(folder / f"dev-{request.param.split('_')[0]}.json")
    return (
        request.param,
        predictions,
        [score_squad({"answers": gold}, [predictions[key]]) for key, gold in asked],
    )


def test_the_official_figures_come_out_to_the_last_digit(replayed, shared: Path):
    system, _, items = replayed
    official = json.loads((shared / "data/squad/predictions/official_scores.json").read_text())[
        system
    ]
    answerable, unanswerable = SYSTEMS[system]
    counts = {"exact_match": answerable + unanswerable, "token_f1": answerable + unanswerable}
    checked = 0
    for ours, theirs in OFFICIAL_NAMES.items():
        scored = [item[ours] for item in items if item[ours] is not None]
        assert len(scored) == counts.get(
            ours, answerable if ours.startswith("Has") else unanswerable
        )
        value = find_metric(ours).value([item[ours] for item in items])
        if not scored:
            assert value is None
            assert theirs not in official
            continue
        total = 0.0
        for score in scored:
            total += score
        assert (
            100.0 * total / len(scored) == official[theirs]
        )  # the scorer's own sum and order of operations
        assert value == total / len(scored)
        assert 100 * value == pytest.approx(
            official[theirs], rel=3e-16, abs=0
        )  # within one unit of the last place
        checked += 1
    assert checked == sum(key in official for key in OFFICIAL_NAMES.values()) >= 4
    assert [official["total"], official["HasAns_total"]] == [len(items), answerable]


def test_no_published_answer_is_touched_by_the_rules_for_generated_text(replayed):
    """None abstains in words, runs on or is cut: the figures are those of the official rules
    alone."""
    _, predictions, items = replayed
    assert not [text for text in predictions.values() if normalize_squad(text) in ABSTAINS]
    assert sum(item["run_on"] for item in items) == 0
    assert {item["truncated"] for item in items} == {None}


def test_no_gold_answer_is_a_word_for_no_answer(shared: Path):
    golds = [
        gold
        for version in ("v1.1", "v2.0")
        for _, gold in questions(shared / f"data/squad/dev-{version}.json")
    ]
    assert len(golds) == 10570 + 11873
    assert not [text for gold in golds for text in gold if normalize_squad(text) in ABSTAINS]
