"""Classification. Expected values are worked out by hand in the comments beside them, or
scikit-learn's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from ft_harness.errors import InputError, NonFiniteError
from ft_harness.metrics import (
    Statistics,
    aggregate_f1,
    aggregate_f1_macro,
    aggregate_precision,
    aggregate_recall,
    confusion,
    find_metric,
    label_answer_metrics,
    label_metrics,
    label_statistics,
    parse_label,
    predicted_choice,
    score_label,
    score_label_answer,
)

AVERAGES = (
    "acc",
    "balanced_acc",
    "mcc",
    "f1_macro",
    "f1_micro",
    "f1_weighted",
    "precision_micro",
    "precision_weighted",
    "recall_micro",
    "recall_weighted",
    "precision_macro",
    "recall_macro",
)


def items_of(
    metric: str,
    golds: str | list[int],
    predictions: str | list[int | None],
    labels: str | list[str],
) -> list[float | Statistics | None]:
    """A metric's statistics; letters stand for labels, anything that is no label for an unreadable
    answer."""
    names = list(labels)
    gold_indices = [names.index(gold) if isinstance(gold, str) else gold for gold in golds]
    indices = [names.index(p) if isinstance(p, str) and p in names else p for p in predictions]
    return [
        label_statistics(gold, None if isinstance(predicted, str) else predicted, names)[metric]
        for gold, predicted in zip(gold_indices, indices, strict=True)
    ]


def score(
    metric: str,
    golds: str | list[int],
    predictions: str | list[int | None],
    labels: str | list[str],
):
    return find_metric(metric).value(items_of(metric, golds, predictions, labels))


def test_unreadable_answers_count_as_wrong():
    # gold 0123, answers 0, 1, none, 9: two of four are right, never two of two
    assert score("acc", [0, 1, 2, 3], "01-9", "0123") == 0.5
    answers = ["0", "1", "-", "9"]
    docs = [
        {"label": gold, "label_names": list("0123"), "label_words": list("0123")}
        for gold in range(4)
    ]
    scores = [score_label_answer(doc, [answer]) for doc, answer in zip(docs, answers, strict=True)]
    assert find_metric("acc").value([each["acc"] for each in scores]) == 0.5
    assert sum(each["invalid"] for each in scores) == 2
    assert len(scores) == 4


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("precision_a", 1.0),
        ("recall_a", 2 / 3),
        ("f1_a", 0.8),
        ("precision_b", 0.5),
        ("recall_b", 0.5),
        ("f1_b", 0.5),
        ("precision_c", 0.5),
        ("recall_c", 1.0),
        ("f1_c", 2 / 3),
        ("f1_macro", (0.8 + 0.5 + 2 / 3) / 3),  # 0.65556
        ("f1_micro", 4 / 6),  # 0.66667
        ("f1_weighted", (3 * 0.8 + 2 * 0.5 + 1 * 2 / 3) / 6),  # 0.67778
        ("precision_micro", 4 / 6),
        ("recall_micro", 4 / 6),
        ("precision_weighted", (3 * 1 + 2 * 0.5 + 1 * 0.5) / 6),  # 0.75
        ("recall_weighted", (3 * 2 / 3 + 2 * 0.5 + 1 * 1) / 6),
        ("precision_macro", (1 + 0.5 + 0.5) / 3),
        ("recall_macro", (2 / 3 + 0.5 + 1) / 3),
        ("balanced_acc", (2 / 3 + 0.5 + 1) / 3),
        ("acc", 4 / 6),
        # correct 4 of 6, gold counts 3 2 1, predicted 2 2 2:
        # (4 * 6 - (6 + 4 + 2)) / sqrt((36 - 14) * (36 - 12)) = 12 / sqrt(528)
        ("mcc", 12 / math.sqrt(528)),
    ],
)
def test_three_classes(metric: str, expected: float):
    # gold aaabbc, predicted aabbcc. a: tp 2 fp 0 fn 1; b: tp 1 fp 1 fn 1; c: tp 1 fp 1 fn 0
    assert score(metric, "aaabbc", "aabbcc", "abc") == pytest.approx(expected, abs=1e-12)


def test_an_unreadable_answer_is_no_class_of_its_own():
    # gold aabb, predicted aabx. a: 1; b: tp 1 fn 1 -> 2/3. As a third class x would make it 0.55556
    assert score("f1_macro", "aabb", "aabx", "ab") == pytest.approx((1 + 2 / 3) / 2)
    # every aggregate keeps the item: micro 2 * 3 / (2 * 3 + 0 + 1), balanced (1 + 1/2) / 2
    assert score("f1_micro", "aabb", "aabx", "ab") == pytest.approx(6 / 7)
    assert score("balanced_acc", "aabb", "aabx", "ab") == 0.75
    assert score("precision_micro", "aabb", "aabx", "ab") == 1.0  # 3 / (3 + 0)
    assert score("recall_micro", "aabb", "aabx", "ab") == 0.75  # 3 / (3 + 1)
    # correct 3 of 4, gold 2 2, predicted 2 1 and 1 unreadable: (12 - (4 + 2)) / sqrt((16 - 8) * (16
    # - 4 - 1 - 1))
    assert score("mcc", "aabb", "aabx", "ab") == pytest.approx(6 / math.sqrt(80))


def test_f1_depends_on_the_label_it_is_about():
    # gold 11000, predicted 10001. 1: tp 1 fp 1 fn 1; 0: tp 2 fp 1 fn 1
    assert score("f1_1", "11000", "10001", "01") == 0.5
    assert score("f1_0", "11000", "10001", "01") == pytest.approx(2 / 3)


def test_a_class_that_never_occurs_is_undefined_and_not_zero():
    for metric in ("precision_1", "recall_1", "f1_1", "mcc"):
        assert score(metric, "00", "00", "01") is None
    for metric in ("f1_macro", "precision_macro", "recall_macro", "balanced_acc"):
        assert score(metric, "00", "00", "01") == 1.0  # over the one class that occurs


def test_a_collapsed_model_gains_nothing_from_the_class_it_never_predicts():
    # gold aabb, predicted aaaa. precision of a 1/2, of b undefined: it counts 0, so 1/4 and not 1/2
    assert score("precision_b", "aabb", "aaaa", "ab") is None
    assert score("precision_macro", "aabb", "aaaa", "ab") == 0.25
    assert score("balanced_acc", "aabb", "aaaa", "ab") == 0.5


def test_balanced_accuracy_is_about_the_classes_in_gold():
    # gold aab, predicted acb: c is never gold. Recalls 1/2 and 1; macro recall counts c's undefined
    # one as 0
    assert score("balanced_acc", "aab", "acb", "abc") == 0.75
    assert score("recall_macro", "aab", "acb", "abc") == 0.5


def test_mcc_of_a_model_that_is_always_wrong():
    assert score("mcc", "aabb", "bbaa", "ab") == pytest.approx(-1.0)


def test_nothing_readable_gives_zero_and_no_error():
    values = {metric: score(metric, "abc", "xxx", "abc") for metric in AVERAGES}
    assert values == dict.fromkeys(AVERAGES, 0.0) | {
        "mcc": None
    }  # all predictions alike: undefined


def test_lm_eval_aggregations_are_the_metrics():
    items = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]  # tp 2 fp 1 fn 1
    assert aggregate_precision(items) == pytest.approx(2 / 3)
    assert aggregate_recall(items) == pytest.approx(2 / 3)
    assert aggregate_f1(items) == pytest.approx(2 / 3)
    assert aggregate_f1_macro([[*item, 0.0, 0.0, 0.0] for item in items]) == pytest.approx(2 / 3)


def test_three_classes_are_scored_where_lm_evals_own_f1_fails():
    from lm_eval.api.metrics import f1_score as lm_eval_f1

    golds, predictions = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="multiclass"):
        lm_eval_f1(list(zip(golds, predictions, strict=True)))
    assert score("f1_macro", golds, predictions, "abc") == pytest.approx(0.65556, abs=1e-5)


# --- against scikit-learn
# -----------------------------------------------------------------------------------


def random_case(generator: np.random.Generator) -> tuple[list[int], list[int | None], int]:
    """(golds, predictions, number of classes) of a data set: often few items, often a class that
    never occurs."""
    classes = int(generator.choice([2, 3, 4, 7, 20, 100], p=[0.3, 0.2, 0.2, 0.15, 0.1, 0.05]))
    n = int(generator.integers(1, 90))
    weights = generator.dirichlet(np.full(classes, 0.7), 2)
    golds, drawn = (generator.choice(classes, n, p=weight) for weight in weights)
    predictions = np.where(generator.random(n) < generator.random(), golds, drawn)
    unreadable = generator.random(n) < generator.choice([0.0, 0.1, 0.5])
    return (
        golds.tolist(),
        [None if u else int(p) for p, u in zip(predictions, unreadable, strict=True)],
        classes,
    )


def expected_scores(
    golds: list[int], predictions: list[int | None], classes: int
) -> dict[str, float]:
    """scikit-learn's values; an unreadable answer is one more predicted label, left out of
    `labels`."""
    answers = [classes if p is None else p for p in predictions]
    labels = list(range(classes))
    occurring = sorted({*golds, *answers} - {classes})

    def average(kind: str, over: list[int]) -> tuple[float, float, float]:
        return sklearn_metrics.precision_recall_fscore_support(
            golds, answers, labels=over, average=kind, zero_division=0
        )[:3]

    macro = average("macro", occurring)
    expected = {
        "acc": sklearn_metrics.accuracy_score(golds, answers),
        "balanced_acc": sklearn_metrics.balanced_accuracy_score(golds, answers),
        "mcc": sklearn_metrics.matthews_corrcoef(golds, answers),
        "precision_macro": macro[0],
        "recall_macro": macro[1],
        "f1_macro": macro[2],
        "f1_micro": average("micro", labels)[2],
        "f1_weighted": average("weighted", labels)[2],
        "precision_micro": average("micro", labels)[0],
        "precision_weighted": average("weighted", labels)[0],
        "recall_micro": average("micro", labels)[1],
        "recall_weighted": average("weighted", labels)[1],
    }
    per_label = sklearn_metrics.precision_recall_fscore_support(
        golds, answers, labels=labels, zero_division=np.nan
    )
    for kind, values in zip(("precision", "recall", "f1"), per_label[:3], strict=True):
        expected |= {f"{kind}_{label}": float(value) for label, value in enumerate(values)}
    return expected


@pytest.mark.parametrize("seed", range(10))
def test_agrees_with_scikit_learn(seed: int):
    """10,000 random items and more, in 300 data sets of 2 to 100 classes."""
    generator = np.random.default_rng(seed)
    items, undefined = 0, 0
    for _ in range(30):
        golds, predictions, classes = random_case(generator)
        items += len(golds)
        labels = [str(label) for label in range(classes)]
        statistics = [
            label_statistics(g, p, labels) for g, p in zip(golds, predictions, strict=True)
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = expected_scores(golds, predictions, classes)
        for name, value in expected.items():
            ours = find_metric(name).value([item[name] for item in statistics])
            if ours is None:
                undefined += 1
                assert math.isnan(value) or (name == "mcc" and value == 0), name
            else:
                assert ours == pytest.approx(value, abs=1e-9), name
    assert items > 1000
    assert undefined > 0


# --- one item, many resamples
# -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [*AVERAGES, "precision_b", "recall_c", "f1_a"])
def test_order_duplication_and_splitting_change_nothing(metric: str):
    generator = np.random.default_rng(5)
    golds = generator.integers(0, 3, 60).tolist()
    predictions = [None if p == 3 else p for p in generator.integers(0, 4, 60).tolist()]
    items = items_of(metric, golds, predictions, "abc")
    find = find_metric(metric)
    whole = find.value(items)
    assert whole is not None
    assert find.value([items[i] for i in generator.permutation(60)]) == pytest.approx(whole)
    assert find.value(items * 2) == pytest.approx(whole)
    rows = np.array(items).reshape(60, -1)
    merged = find.aggregate(rows[:17].sum(axis=0) + rows[17:].sum(axis=0), 60)
    assert float(merged) == pytest.approx(whole)


def calibration_items(metric: str, n: int = 40) -> list[float | Statistics | None]:
    generator = np.random.default_rng(3)
    docs = [
        {"label": int(gold), "label_names": list("abc")} for gold in generator.integers(0, 3, n)
    ]
    return [
        score_label(doc, [(x, False) for x in generator.normal(size=3)])[metric] for doc in docs
    ]


@pytest.mark.parametrize("metric", [*AVERAGES, "f1_a", "ece", "brier"])
def test_many_resamples_are_aggregated_at_once(metric: str):
    generator = np.random.default_rng(7)
    golds, predictions = generator.integers(0, 3, (2, 40)).tolist()
    found = (
        calibration_items(metric)
        if metric in ("ece", "brier")
        else items_of(metric, golds, predictions, "abc")
    )
    rows = np.array(found).reshape(40, -1)
    draws = generator.integers(0, 40, (2, 5, 40))
    values = find_metric(metric).aggregate(rows[draws].sum(axis=2), 40)
    assert values.shape == (2, 5)
    one_by_one = [[find_metric(metric).value(rows[draw].tolist()) for draw in row] for row in draws]
    np.testing.assert_allclose(values, np.array(one_by_one, dtype=float), atol=1e-12)


@pytest.mark.parametrize("metric", ["ece", "brier"])
def test_calibration_is_about_items_and_not_their_order(metric: str):
    items = calibration_items(metric)
    whole = find_metric(metric).value(items)
    assert whole > 0.1
    assert find_metric(metric).value(items[::-1]) == pytest.approx(whole)
    assert find_metric(metric).value(items * 2) == pytest.approx(whole)


# --- by likelihood
# ------------------------------------------------------------------------------------------


def test_the_likeliest_choice_answers_and_the_first_of_a_tie():
    assert predicted_choice([(-4.0, False), (-1.0, False), (-2.0, False)]) == 1
    assert predicted_choice([(-4.0, False), (-1.0, False), (-1.0, False)]) == 1


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_no_accuracy_from_a_broken_model(broken: float):
    with pytest.raises(NonFiniteError):
        score_label({"label": 0, "label_names": ["a", "b"]}, [(broken, False), (-1.0, False)])


def test_a_labelled_doc_is_scored_for_every_label():
    scores = score_label({"label": 0, "label_names": ["a", "b"]}, [(-2.0, False), (-1.0, False)])
    a: Statistics = [0.0, 0.0, 1.0]
    b: Statistics = [0.0, 1.0, 0.0]
    assert scores["acc"] == 0.0
    assert scores["f1_macro"] == scores["mcc"] == scores["balanced_acc"] == a + b
    assert scores["f1_micro"] == [0.0, 1.0, 1.0]
    assert scores["f1_a"] == scores["precision_a"] == scores["recall_a"] == a
    assert scores["f1_b"] == b
    assert list(scores) == label_metrics(["a", "b"])


def choices(*probabilities: float) -> list[tuple[float, bool]]:
    """Log-likelihoods whose softmax is this, 700 below zero as long label words may be."""
    return [(math.log(p) - 700, False) for p in probabilities]


def test_calibration_by_hand():
    # confidences 0.8 right, 0.6 wrong, 0.6 right, 0.95 right: bins (.7,.8] -0.2; (.5,.6] 0.6 - 0.4;
    # (.9,1] -0.05
    cases = [(0, (0.8, 0.2)), (0, (0.4, 0.6)), (1, (0.4, 0.6)), (0, (0.95, 0.05))]
    scores = [
        score_label({"label": gold, "label_names": ["a", "b"]}, choices(*probabilities))
        for gold, probabilities in cases
    ]
    assert find_metric("ece").value([each["ece"] for each in scores]) == pytest.approx(
        (0.2 + 0.2 + 0.05) / 4
    )
    # 2 * (0.04, 0.36, 0.16, 0.0025)
    assert [each["brier"] for each in scores] == pytest.approx([0.08, 0.72, 0.32, 0.005])
    assert find_metric("brier").value([each["brier"] for each in scores]) == pytest.approx(
        1.125 / 4
    )


def test_a_confidence_on_the_edge_belongs_to_the_lower_bin():
    scores = score_label(
        {"label": 0, "label_names": ["a", "b"]}, [(-1.0, False), (-1.0, False)]
    )  # exactly 0.5
    assert [index for index, value in enumerate(scores["ece"]) if value] == [4]
    certain = score_label({"label": 1, "label_names": ["a", "b"]}, [(0.0, False), (-5000.0, False)])
    assert certain["ece"] == [0.0] * 9 + [1.0]
    assert certain["brier"] == 2.0


def test_brier_agrees_with_scikit_learn():
    generator = np.random.default_rng(11)
    for classes in (2, 3, 10):
        golds = generator.integers(0, classes, 400)
        logits = generator.normal(scale=3, size=(400, classes))
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        names = [str(index) for index in range(classes)]
        items = [
            score_label({"label": int(gold), "label_names": names}, [(x, False) for x in row])[
                "brier"
            ]
            for gold, row in zip(golds, logits, strict=True)
        ]
        expected = sklearn_metrics.brier_score_loss(
            golds, probabilities, labels=range(classes), scale_by_half=False
        )
        assert find_metric("brier").value(items) == pytest.approx(expected, abs=1e-9)


def test_ece_agrees_with_its_definition_over_whole_arrays():
    # Guo et al. (2017), equation 3: sum over bins of |B| / n * |acc(B) - conf(B)|
    generator = np.random.default_rng(12)
    golds, logits = generator.integers(0, 3, 500), generator.normal(scale=2, size=(500, 3))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == golds
    expected = 0.0
    for low in range(10):
        inside = (confidence > low / 10) & (confidence <= (low + 1) / 10)
        if inside.any():
            expected += inside.sum() / 500 * abs(correct[inside].mean() - confidence[inside].mean())
    items = [
        score_label({"label": int(gold), "label_names": list("abc")}, [(x, False) for x in row])[
            "ece"
        ]
        for gold, row in zip(golds, logits, strict=True)
    ]
    assert find_metric("ece").value(items) == pytest.approx(expected, abs=1e-9)


def test_choices_that_are_not_the_labels_are_refused():
    with pytest.raises(InputError, match="2 choices for the 3 labels a, b, c"):
        score_label({"label": 0, "label_names": ["a", "b", "c"]}, choices(0.5, 0.5))
    with pytest.raises(InputError, match="1 label words for the 2 labels a, b"):
        score_label_answer({"label": 0, "label_names": ["a", "b"], "label_words": ["yes"]}, ["yes"])


@pytest.mark.parametrize("label", [7, -1, "Z", None])
def test_a_label_that_is_none_of_the_tasks_is_refused(label: object):
    doc = {"label": label, "label_names": ["a", "b"], "label_words": ["yes", "no"]}
    with pytest.raises(InputError, match=f"a doc's label is {label!r}"):
        score_label(doc, choices(0.5, 0.5))
    with pytest.raises(InputError, match=f"a doc's label is {label!r}"):
        score_label_answer(doc, ["yes"])


@pytest.mark.parametrize("name", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("names_of", [label_metrics, label_answer_metrics])
def test_a_label_may_not_have_the_name_of_an_average(
    name: str, names_of: Callable[[list[str]], list[str]]
):
    with pytest.raises(InputError, match=f"labels named {name}"):
        names_of(["other", name])


@pytest.mark.parametrize(
    ("answers", "log_likelihoods", "by_characters", "by_bytes"),
    [
        # gold is the second. -4/3 against -6/9 characters (and bytes): only the length makes it
        # right
        (["yes", "no, never"], [-4.0, -6.0], 1.0, 1.0),
        # -1/1 against -1.5/2 characters; "é" has two bytes, -1/2 against -1.5/2
        (["é", "ab"], [-1.0, -1.5], 1.0, 0.0),
    ],
)
def test_lm_evals_normalised_accuracies_keep_their_unit(
    answers: list[str], log_likelihoods: list[float], by_characters: float, by_bytes: float
):
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    names = ("acc", "acc_norm", "acc_bytes")
    task = ConfigurableTask(
        config={
            "task": "two_choices",
            "custom_dataset": lambda **_: {
                "test": Dataset.from_list([{"question": "?", "gold": 1}])
            },
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "question",
            "doc_to_target": "gold",
            "doc_to_choice": answers,
            "metric_list": [
                {"metric": name, "aggregation": find_metric(name).value, "higher_is_better": True}
                for name in names
            ],
        }
    )
    items = task.process_results(
        {"question": "?", "gold": 1}, [(x, False) for x in log_likelihoods]
    )
    assert {name: find_metric(name).value([items[name]]) for name in names} == {
        "acc": 0.0,
        "acc_norm": by_characters,
        "acc_bytes": by_bytes,
    }


# --- from a generated answer
# --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("  Yes.\n", "yes"),
        ("YES!", "yes"),
        ("yes, because no dog is a cat", "yes"),
        ("maybe yes", "maybe"),
        ("“No”", "no"),
        ("**no**", "no"),
        ("¿no?", "no"),
        ("no。", "no"),
        ("ＮＯ", "no"),  # full-width letters
        ("no\nUSER: yes", "no"),
        ("no是", "no"),  # a Chinese character goes on no English word
        ("\u200bno", "no"),
        ("yesterday", None),
        ("no_way", None),
        ("no1", None),
        ("no's", None),
        ("I say yes", None),
        ("entailment", None),  # the label's name is not its answer word
        ("0", None),  # nor is its number
        ("", None),
        ("...", None),
        ("USER: yes", None),
    ],
)
def test_which_label_an_answer_names(text: str, expected: str | None):
    words = ["yes", "maybe", "no"]
    found = parse_label(text, words)
    assert (None if found is None else words[found]) == expected


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (["not", "entailment", "not entailment"], "Not  Entailment, I think", 2),
        (["not", "entailment", "not entailment"], "not quite", 0),
        (["not entailment", "not"], "not entailment", 0),
        (["是", "不是"], "是的", 0),
        (["是", "不是"], "不是。因为", 1),
        (["是", "不是"], "我不是", None),
        (["긍정", "부정"], "긍정.", 0),
        (["긍정", "부정"], "긍정적", None),  # Korean is written with blanks
        (["ใช่", "ไม่ใช่"], "ใช่ครับ", 0),  # Thai is not
        (["हाँ", "नहीं"], "हाँ।", 0),
        (["नह", "नहीं"], "नहीं", 1),  # the vowel sign belongs to the word
        (["नह", "हाँ"], "नहीं", None),
        (["0", "1"], "1", 1),
        (["0", "1"], "(1) good", 1),
        (["0", "1"], "10", None),
        (["4", "5"], "4.5 stars", None),
        (["4", "5"], "5/5", 1),
        (["4", "5"], "4.", 0),
        (["4", "5"], ".5", None),
        (["1", "0", "-1"], "-1", 2),
        (["1", "0", "-1"], '"-1".', 2),
        (["1", "0"], "-1", None),
        (["+", "-"], "-", 1),
        (["C", "C++"], "C++", 1),
        (["straße", "weg"], "STRASSE", 0),
        (["caf\u00e9", "bar"], "cafe\u0301!", 0),  # composed and decomposed
        (["😀", "😢"], "😢", 1),
        (["IT", "it"], "it", None),  # two labels share the word
        (["", "no"], "anything", None),
        ([], "anything", None),
        ([f"class {index}" for index in range(100)], "class 10", 10),
    ],
)
def test_label_words_of_any_kind(words: list[str], text: str, expected: int | None):
    assert parse_label(text, words) == expected


def test_a_generated_label_is_scored_as_one_read_by_likelihood():
    doc = {"label": 0, "label_names": ["entailment", "neutral"], "label_words": ["yes", "maybe"]}
    scores = score_label_answer(doc, ["maybe\nQuestion: who?"])
    by_likelihood = score_label(doc, [(-2.0, False), (-1.0, False)])
    shares = {"invalid": 0.0, "empty": 0.0, "truncated": None, "run_on": 1.0}
    assert (
        scores
        == {name: by_likelihood[name] for name in by_likelihood if name not in ("ece", "brier")}
        | shares
    )
    assert list(scores) == label_answer_metrics(doc["label_names"])


def test_an_answer_that_names_no_label_is_wrong_and_invalid():
    doc = {"label": 1, "label_names": ["a", "b"], "label_words": ["yes", "no"]}
    scores = score_label_answer(doc, ["perhaps"])
    assert (scores["acc"], scores["invalid"], scores["empty"]) == (0.0, 1.0, 0.0)
    assert scores["f1_macro"] == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
    nothing = score_label_answer(doc, [" \n"])
    assert (nothing["acc"], nothing["invalid"], nothing["empty"]) == (0.0, 1.0, 1.0)


def test_confusion_keeps_unreadable_answers_apart():
    # gold aaabbc, predicted a b - b b c
    found = confusion([0, 0, 0, 1, 1, 2], [0, 1, None, 1, 1, 2], ["a", "b", "c"])
    assert found.tolist() == [[1, 1, 0, 1], [0, 2, 0, 0], [0, 0, 1, 0]]
    assert confusion([], [], ["a", "b"]).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_confusion_agrees_with_scikit_learn():
    golds, predictions = np.random.default_rng(2).integers(0, 5, (2, 300)).tolist()
    found = confusion(golds, predictions, list("abcde"))
    assert found[:, :5].tolist() == sklearn_metrics.confusion_matrix(golds, predictions).tolist()
    assert not found[:, 5].any()
