"""The data report: what is counted, how it is said, where it is kept and what it does to the
numbers of a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ft_harness.data.data_report import (
    DATA_REPORT_FILE,
    DataReport,
    LostRows,
    data_notices,
    describe_baseline,
    describe_data,
    last_field_accuracy,
    make_data_report,
    measure_lengths,
    read_data_report,
)
from ft_harness.data.fingerprints import Item
from ft_harness.errors import InputError
from ft_harness.pipeline.experiment import Experiment
from ft_harness.pipeline.reports import report_only
from ft_harness.pipeline.runs import run
from ft_harness.pipeline.stages import check_experiment
from ft_harness.pipeline.task_checks import check_task
from ft_harness.recipe import load_recipe
from ft_harness.tasks.data_items import report_data
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.loading import load_tasks
from tests.builders.tiny import review_rows, write_jsonl


def item(prompt: str, answer: str = "yes", choices: int | None = 2, **doc: Any) -> Item:
    return Item(key=f"hash of {prompt!r}", prompt=prompt, answer=answer, doc=doc, choices=choices)


def labelled(*answers: str, choices: int | None = 2) -> list[Item]:
    return [item(f"prompt {number}", answer, choices) for number, answer in enumerate(answers)]


# --- counts
# -------------------------------------------------------------------------------------------------------


def test_balance_majority_and_random():
    data = make_data_report(
        "t", {"train": labelled("no", "yes", "yes", "maybe", "yes", choices=3)}
    ).splits[0]
    assert data.labels == {"yes": 3, "maybe": 1, "no": 1}  # most frequent first, then by name
    assert list(data.labels) == ["yes", "maybe", "no"]
    assert (data.n, data.majority_share, data.random_share) == (5, 0.6, pytest.approx(1 / 3))


def test_random_is_the_mean_over_docs_with_different_numbers_of_choices():
    items = [item("a", "w", 4), item("b", "x", 4), item("c", "y", 2), item("d", "z", 2)]
    data = make_data_report("t", {"test": items}).splits[0]
    assert data.random_share == (0.25 + 0.25 + 0.5 + 0.5) / 4
    assert (
        make_data_report("t", {"test": [*items, item("e", "u", 2)]}).splits[0].labels is None
    )  # 5 answers, 4 choices


def test_answers_in_free_text_have_no_majority_and_no_random():
    data = make_data_report("t", {"train": labelled("a", "a", choices=None)}).splits[0]
    assert (data.labels, data.majority_share, data.random_share) == (None, None, None)


def test_lengths_by_hand():
    """1 to 100: the smallest length that 5 % do not exceed is 5. Ten bins of width 9.9: 1 to 10.8
    holds 1..10, the next (to 20.8) 11..20, and so on; the last one holds its upper edge."""
    lengths = measure_lengths(list(range(1, 101)))
    assert (lengths.shortest, lengths.p5, lengths.median, lengths.p95, lengths.longest) == (
        1,
        5,
        50,
        95,
        100,
    )
    assert lengths.counts == [10] * 10
    assert lengths.edges == pytest.approx([1 + 9.9 * step for step in range(11)])
    assert sum(measure_lengths([7]).counts) == 1
    assert measure_lengths([3, 9]).median == 3


def test_lengths_are_characters_of_prompts():
    lengths = (
        make_data_report("t", {"test": [item("ab"), item("正月望日"), item("abcdef")]})
        .splits[0]
        .lengths
    )
    assert lengths is not None
    assert (lengths.shortest, lengths.median, lengths.longest) == (2, 4, 6)


def test_each_split_is_compared_with_those_before_it():
    splits = {
        "train": [item("one", "yes"), item("two"), item("two")],
        "validation": [item("Two"), item("three")],
        "test": [item("ONE", "no"), item("three"), item("four")],
    }
    report = make_data_report("t", splits)
    found = {
        (o.split, o.against): (o.n_exact, o.n_same_answer, o.n_near, o.n) for o in report.overlaps
    }
    assert found == {
        ("validation", "train"): (1, 1, 0, 2),
        ("test", "train"): (1, 0, 0, 3),
        ("test", "validation"): (1, 1, 0, 3),
    }
    assert [data.n_repeated for data in report.splits] == [1, 0, 0]
    overlap = report.overlap("test")
    assert overlap is not None
    assert overlap.items == ["hash of 'ONE'"]
    assert report.overlap("train") is None


def test_an_empty_split_is_described_too():
    report = make_data_report("t", {"train": [], "test": labelled("yes", "no")})
    assert (report.splits[0].n, report.splits[0].majority_share, report.splits[0].lengths) == (
        0,
        None,
        None,
    )
    assert describe_data(report)[0] == "train: 0 docs"


def test_the_report_in_words():
    splits = {
        "train": labelled("yes", "no", "no", "no"),
        "test": [item("PROMPT 1", "yes"), item("prompt  2", "no"), item("new", "no")],
    }
    lost = [
        LostRows(where="a.csv", rows=9, dropped=2, bad=0),
        LostRows(where="b.csv", rows=3, dropped=0, bad=0),
    ]
    report = make_data_report("t", splits, lost)
    assert describe_data(report) == [
        "train: 4 docs, answers no 3, yes 1, majority 75.0 %, random 50.0 %, "
        "prompts of 8 / 8 / 8 characters (5 % / median / 95 %), longest 8",
        "test: 3 docs, answers no 2, yes 1, majority 66.7 %, random 50.0 %, "
        "prompts of 3 / 8 / 9 characters (5 % / median / 95 %), longest 9",
        "a.csv: of 9 rows 2 were left out for their label, 0 for bad fields",
    ]
    (notice,) = data_notices(report)
    assert notice.what == (
        "2 of 3 test docs also occur among the training docs: "
        "2 exact (1 with the same answer), 0 near"
    )
    assert "scores with and without them" in notice.action


def test_no_overlap_is_said_too():
    report = make_data_report("t", {"train": labelled("yes"), "test": [item("another")]})
    assert "no test item occurs in train, exactly or nearly" in describe_data(report)


def test_repeated_docs_are_said_and_labels_stay_on_their_line():
    lines = describe_data(
        make_data_report("t", {"train": [item("a", "x\x1b[31m\n"), item("A", "y")]})
    )
    assert lines[1] == "1 of 2 train docs repeat an earlier train doc"
    assert "x\\x1b[31m" in lines[0]
    assert "\x1b" not in lines[0]


def test_many_labels_are_cut():
    labels = [f"label {number:02}" for number in range(13)]
    assert (
        "label 09 1, ... 3 more, majority"
        in describe_data(make_data_report("t", {"train": labelled(*labels, choices=13)}))[0]
    )


# --- one field alone
# ----------------------------------------------------------------------------------------------


def pair(premise: str, hypothesis: str, answer: str) -> Item:
    return item(
        f"{premise}\nQuestion: {hypothesis}", answer, 2, premise=premise, hypothesis=hypothesis
    )


def test_the_last_field_gives_the_answer_away():
    """By hand, add-one smoothing over the words of the hypotheses {not, sleeps, runs}, two docs of
    each answer.

    "no": not 2, sleeps 1, runs 1; "yes": sleeps 1, runs 1. P(not|no) = 3/7, P(not|yes) = 1/5; P(sleeps|no) = 2/7,
    P(sleeps|yes) = 2/5. So "not sleeps" is no (6/49 > 2/25), "sleeps" is yes (2/5 > 2/7): three of four are right.
    """
    train = [
        pair("A man walks.", "not sleeps", "no"),
        pair("A dog walks.", "not runs", "no"),
        pair("A man walks.", "sleeps", "yes"),
        pair("A cat walks.", "runs", "yes"),
    ]
    test = [
        pair("A cow walks.", "not sleeps", "no"),
        pair("A cow walks.", "sleeps", "yes"),
        pair("A sheep walks.", "runs", "yes"),
        pair("A sheep walks.", "not runs", "yes"),
    ]
    assert last_field_accuracy(train, test, "hypothesis") == 0.75
    assert describe_baseline(train, test) == (
        "a bag of words of the field hypothesis alone, trained on train: 75.0 % right"
    )


def test_no_baseline_for_one_field_or_free_answers():
    single = [item("a text", text="a text"), item("b text", "no", text="b text")]
    assert describe_baseline(single, single).endswith("fewer than two")
    free = [item("a text", choices=None)]
    assert "free text" in describe_baseline(free, free)


def test_check_says_the_baseline_when_asked(tmp_path: Path):
    rows = [
        {"premise": f"p {n}", "hypothesis": "no way" if n % 2 else "sure", "label": n % 2}
        for n in range(40)
    ]
    for split, part in {"train": rows[:20], "validation": rows[20:30], "test": rows[30:]}.items():
        write_jsonl(tmp_path / f"{split}.jsonl", part)
    spec = find_task("demo_nli", metadata={"data_source": str(tmp_path)})
    line = "test: a bag of words of the field hypothesis alone, trained on train: 100.0 % right"
    assert check_task(spec, baseline=True).facts[-1] == line
    assert line not in check_task(spec).facts


# --- from tasks, and on disk
# --------------------------------------------------------------------------------------


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """24 test reviews of which five are training reviews in another spelling, two of them with the
    other label."""
    train, test = review_rows(64), review_rows(24, start=200)
    for number in range(5):
        test[number] = {"text": train[number]["text"].upper(), "label": train[number]["label"]}
    for number in range(2):
        test[number]["label"] = {"positive": "negative", "negative": "positive"}[
            test[number]["label"]
        ]
    folder = tmp_path / "leaky"
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "validation.jsonl", review_rows(16, start=100))
    write_jsonl(folder / "test.jsonl", test)
    return folder


def test_a_task_is_reported_as_it_is_scored(leaky: Path):
    spec = find_task("demo_sentiment", metadata={"data_source": str(leaky)})
    report = report_data(load_tasks(spec, ["train", "validation", "test"]))
    assert report.task == "demo_sentiment"
    assert [(data.split, data.n, data.random_share) for data in report.splits] == [
        ("train", 64, 0.5),
        ("validation", 16, 0.5),
        ("test", 24, 0.5),
    ]
    overlap = report.overlap("test")
    assert overlap is not None
    assert (overlap.n_exact, overlap.n_same_answer, overlap.n_near) == (5, 3, 0)


def test_rows_that_stand_twice_in_one_file_are_found_after_it_is_split(tmp_path: Path):
    """One file of 40 rows, each of which stands twice; the splits are carved out of it."""
    write_jsonl(tmp_path / "all.jsonl", review_rows(40) * 2)
    metadata = {"data_source": str(tmp_path / "all.jsonl")}
    tasks = load_tasks(find_task("demo_sentiment", metadata=metadata), ["train", "test"])
    texts = {split: [doc["text"] for doc in task.eval_docs] for split, task in tasks.items()}
    expected = sum(text in set(texts["train"]) for text in texts["test"])
    overlap = report_data(tasks).overlap("test")
    assert overlap is not None
    assert expected > 0
    assert overlap.n_exact == expected


def test_a_damaged_report_is_named(tmp_path: Path):
    assert read_data_report(tmp_path) is None
    (tmp_path / DATA_REPORT_FILE).write_text('{"task": 1}')
    with pytest.raises(InputError, match="not a data report"):
        read_data_report(tmp_path)


@pytest.fixture
def experiment(leaky: Path, model_folder: Path, tmp_path: Path) -> Experiment:
    source = tmp_path / "adapters" / "mine" / "recipe.yaml"
    source.parent.mkdir(parents=True)
    source.write_text("task:\n  name: demo_sentiment\n")
    settings = [
        f"model.pretrained={model_folder}",
        f"data.source={leaky}",
        "train.max_steps=2",
        "eval.splits=[test]",
    ]
    return Experiment(
        "mine", load_recipe(source, settings), source, tmp_path, "ft-harness run mine"
    )


def test_check_prints_the_data(experiment: Experiment):
    found = check_experiment(experiment, trains=True).findings
    assert (
        "5 of 24 test docs also occur among the training docs: "
        "5 exact (3 with the same answer), 0 near"
    ) in [notice.what for notice in found.notices]
    assert any(line.startswith("train: 64 docs, answers ") for line in found.facts)
    assert check_experiment(experiment, trains=False).data is None


@pytest.mark.slow  # a whole run
def test_a_run_keeps_its_data_report_and_flags_the_numbers(experiment: Experiment):
    study, path = run([experiment], "mine", lambda _: None)
    data = read_data_report(experiment.folder)
    assert data == study.adapters[0].data
    assert isinstance(data, DataReport)
    (comparison,) = study.comparisons
    assert comparison.without is not None
    assert (comparison.without.split, comparison.without.n, comparison.without.primary) == (
        "test without overlap",
        19,
        False,
    )
    assert (
        "5 of 24 items also occur in the training data, exactly or nearly: the others decide. "
        "With all items accuracy 50.0 %" in comparison.sentence
    )
    text = path.read_text()
    assert (
        "5 of 24 test docs also occur among the training docs: 5 exact (3 with the same answer), 0 near"
        in text
    )
    assert not any(
        "also occur" in note for note in study.notes
    )  # said once, in the section on data
    rows = json.loads((path.parent / "rows.json").read_text())
    clean = {row["metric"]: row["n"] for row in rows if row["split"] == "test without overlap"}
    assert set(clean.values()) == {19}
    assert clean.keys() == {row["metric"] for row in rows if row["tuned_subject"]}
    assert [row["split"] for row in rows if row["primary"]] == ["test"]

    again, _ = report_only(
        [experiment.out / "results"], experiment.out, "again", "ft-harness report"
    )
    assert again.rows() == study.rows()
    (experiment.folder / DATA_REPORT_FILE).unlink()  # as with an adapter of another trainer
    without, path = report_only(
        [experiment.out / "results"], experiment.out, "third", "ft-harness report"
    )
    assert without.comparisons[0].without is None
    assert "## Data" not in path.read_text()
    assert "also occur" not in path.read_text()  # not known, and so not said
