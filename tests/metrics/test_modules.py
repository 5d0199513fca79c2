"""The metrics as `evaluate` modules: the same numbers as the metrics room, alone, in batches and
combined."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from ft_harness.errors import InputError
from ft_harness.metrics import find_metric, score_text
from ft_harness.metrics.modules import load_metric

PREDICTIONS = ["the cat sat on the mat", "", "a red automobile", "这是一个测试"]
REFERENCES = ["the cat sat on the mat", "hello there", "a red car", "这是一个句子"]
LABELS = ["negative", "neutral", "positive"]


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """`load_metric` with evaluate's files in a folder of the test."""
    return lambda name, **options: load_metric(name, cache_dir=str(tmp_path), **options)


def expected_of(name: str, predictions: list[str], references: list[Any]) -> float | None:
    docs = [
        score_text({"answer": answer}, [text])
        for text, answer in zip(predictions, references, strict=True)
    ]
    return find_metric(name).value([scores[name] for scores in docs])


@pytest.mark.parametrize(
    "name", ["bleu", "chrf", "meteor", "exact_match", "token_f1", "rouge1", "rougeLsum"]
)
def test_the_numbers_are_those_of_a_task(name: str, load: Any) -> None:
    module = load(name)
    assert isinstance(module, evaluate.Metric)
    expected = expected_of(name, PREDICTIONS, REFERENCES)
    assert expected is not None
    assert module.compute(predictions=PREDICTIONS, references=REFERENCES) == {name: expected}


def test_hand_derived_values(load: Any) -> None:
    bleu = load("bleu").compute(
        predictions=["the cat sat on"], references=["the cat sat on the mat"]
    )
    assert bleu["bleu"] == pytest.approx(60.6531, abs=1e-4)  # 100 e^-0.5
    rouge = load("rouge").compute(predictions=["the cat"], references=["the cat sat"])
    assert rouge == pytest.approx({"rouge1": 0.8, "rouge2": 2 / 3, "rougeL": 0.8, "rougeLsum": 0.8})
    assert load("meteor").compute(predictions=["hello there"], references=["hello there"]) == {
        "meteor": 0.9375
    }


def test_several_references(load: Any) -> None:
    references = [["the cat sat on the mat", "a cat sat on the mat"], ["hello there my friend"]]
    predictions = ["a cat sat on the mat", "hello there my friend"]
    assert load("bleu").compute(predictions=predictions, references=references)[
        "bleu"
    ] == pytest.approx(100.0)
    assert load("exact_match").compute(predictions=predictions, references=references) == {
        "exact_match": 1.0
    }


def test_batches_single_items_and_one_call_give_the_same(load: Any) -> None:
    whole = load("chrf").compute(predictions=PREDICTIONS, references=REFERENCES)
    module = load("chrf")
    module.add_batch(predictions=PREDICTIONS[:2], references=REFERENCES[:2])
    for prediction, reference in zip(PREDICTIONS[2:], REFERENCES[2:], strict=True):
        module.add(prediction=prediction, reference=reference)
    assert module.compute() == whole
    in_memory = load("chrf", keep_in_memory=True)
    assert in_memory.compute(predictions=PREDICTIONS, references=REFERENCES) == whole


def test_combined(load: Any) -> None:
    names = ["bleu", "chrf", "meteor", "exact_match", "token_f1"]
    together = evaluate.combine([load(name) for name in [*names, "rouge"]])
    together.add_batch(predictions=PREDICTIONS, references=REFERENCES)
    values = together.compute()
    assert values == {name: expected_of(name, PREDICTIONS, REFERENCES) for name in values}
    assert list(values) == [*names, "rouge1", "rouge2", "rougeL", "rougeLsum"]
    prefixed = evaluate.combine([load("bleu"), load("chrf")], force_prefix=True)
    assert list(prefixed.compute(predictions=["a"], references=["b"])) == ["bleu_bleu", "chrf_chrf"]


def test_the_language_chooses_the_tokenizer(load: Any) -> None:
    texts = {"predictions": ["这是一个测试"], "references": ["这是一个句子"]}
    assert load("bleu", language="en").compute(**texts) == {"bleu": 0.0}
    # 4 of 6 characters, 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours
    expected = 100 * (4 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    assert load("bleu", language="zh").compute(**texts) == {"bleu": pytest.approx(expected)}
    assert "tok:zh" in load("bleu", language="zh").description


@pytest.mark.parametrize("as_names", [True, False])
def test_labels_by_name_or_index(as_names: bool, load: Any) -> None:
    golds, predictions = [0, 1, 2, 2, 1, 0], [0, 2, 2, 1, 1, 0]
    given = [[LABELS[i] for i in side] if as_names else side for side in (predictions, golds)]
    values = load("label", labels=LABELS).compute(predictions=given[0], references=given[1])
    assert values["acc"] == pytest.approx(4 / 6)
    assert values["f1_macro"] == pytest.approx(f1_score(golds, predictions, average="macro"))
    assert values["f1_neutral"] == pytest.approx(0.5)  # tp 1 fp 1 fn 1
    assert values["mcc"] == pytest.approx(matthews_corrcoef(golds, predictions))
    assert not {"ece", "brier"} & values.keys()


def test_the_labels_of_the_task_count_and_not_those_that_occur(load: Any) -> None:
    # gold aabb, answers aab and one that is no label: F1 of a 1, of b 2/3; the unreadable answer is
    # no class of its own
    module = evaluate.combine([load(name, labels=["a", "b"]) for name in ("f1_macro", "acc")])
    values = module.compute(predictions=["a", "a", "b", "x"], references=["a", "a", "b", "b"])
    assert values == {"f1_macro": pytest.approx(5 / 6), "acc": 0.75}
    values = load("label", labels=["a", "b", "c"]).compute(
        predictions=[0, 1, -1, 9], references=[0, 1, 0, 1]
    )
    assert values["acc"] == 0.5
    assert values["f1_c"] is None  # undefined is no number


def test_squad_has_answers_or_none(load: Any) -> None:
    found = load("squad").compute(
        predictions=["the cat", "", "Paris"], references=[["cat", "a dog"], [], []]
    )
    # articles don't count; no answer was right once of two
    assert found == {
        "exact_match": pytest.approx(2 / 3), "token_f1": pytest.approx(2 / 3), "HasAns_exact": 1.0, "HasAns_f1": 1.0,
        "NoAns_exact": 0.5, "NoAns_f1": 0.5,
    }  # fmt: skip


def test_perplexity_weighs_by_units(load: Any) -> None:
    # (-10, 2 words) and (-2, 8 words): exp(12 / 10)
    found = load("token_ppl").compute(predictions=[-10.0, -2.0], references=[2, 8])
    assert found == {"token_ppl": pytest.approx(3.3201169)}
    with pytest.raises(InputError, match="0 units"):
        load("byte_ppl").compute(predictions=[-1.0], references=[0])


def test_calibration_takes_a_log_likelihood_a_label(load: Any) -> None:
    # probabilities 0.75/0.25 and gold 0; 0.6/0.4 and gold 1
    predictions = [[math.log(0.75), math.log(0.25)], [math.log(0.6), math.log(0.4)]]
    brier = (0.25**2 + 0.25**2 + 0.6**2 + 0.6**2) / 2
    assert load("brier", labels=["a", "b"]).compute(
        predictions=predictions, references=["a", "b"]
    ) == {"brier": pytest.approx(brier)}
    # confidences 0.75 (right) and 0.6 (wrong) in bins of their own: (0.25 + 0.6) / 2
    assert load("ece", labels=["a", "b"]).compute(
        predictions=predictions, references=["a", "b"]
    ) == {"ece": pytest.approx(0.425)}
    with pytest.raises(InputError, match="2 log-likelihoods for 3 labels"):
        load("ece", labels=["a", "b", "c"]).compute(predictions=predictions, references=["a", "b"])


@pytest.mark.parametrize("name", ["bleu", "rouge", "exact_match", "meteor", "chrf"])
def test_an_item_without_reference_is_refused(name: str, load: Any) -> None:
    with pytest.raises(InputError, match="no reference"):
        load(name).compute(predictions=["a"], references=[[]])


def test_numbers_are_names_where_the_labels_are_numbers():
    stars = load_metric("label", labels=["1", "2", "3", "4", "5"])
    found = stars.compute(predictions=["1", "2"], references=["1", "2"])
    assert (found["recall_1"], found["recall_2"], found["recall_3"]) == (1.0, 1.0, None)
    assert stars.compute(predictions=[5, 2], references=[5, 1])["acc"] == 0.5
    assert load_metric("recall_1", labels=["1", "0"]).compute(
        predictions=[1, 0], references=[1, 1]
    ) == {"recall_1": 0.5}
    # neither "x" nor 0.7 is a label: answers that can't be read
    assert stars.compute(predictions=["1", "x"], references=["1", "2"])["acc"] == 0.5
    assert load_metric("acc", labels=["a", "b"]).compute(
        predictions=[0.7, 1], references=[0, 1]
    ) == {"acc": 0.5}


@pytest.mark.parametrize("reference", ["x", 2, -1])
def test_a_reference_that_is_no_label_is_refused(reference: str | int, load: Any) -> None:
    with pytest.raises(InputError, match=f"reference {reference!r} is no label"):
        load("acc", labels=["a", "b"]).compute(predictions=[reference], references=[reference])


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("blue", None, "unknown metric blue"),
        ("f1_x", ["a"], "unknown metric f1_x"),
        ("ece", None, "no labels for ece"),
        ("acc", None, "no labels for acc"),
        ("label", None, "no labels for label"),
        ("bleu", ["a"], "labels given for bleu"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    name: str, labels: list[str] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        load_metric(name, labels=labels)


def test_a_text_that_cannot_be_scored_is_null(load: Any) -> None:
    assert load("meteor").compute(predictions=["北京"], references=["北京"]) == {"meteor": None}


def test_no_network_is_asked_for(load: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in ("bleu", "chrf", "rouge", "meteor", "exact_match", "token_f1"):
        values = load(name).compute(predictions=["a blue car"], references=["an auto in blue"])
        assert all(value is not None for value in values.values())


def test_evaluate_is_not_imported_before_a_metric_is_loaded() -> None:
    script = (
        "import sys\n"
        "import ft_harness.metrics.modules\n"
        "print({'evaluate', 'datasets', 'nltk', 'sacrebleu', 'rouge_score'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"
