"""Results that lm-eval's own command wrote: what becomes of them, of broken ones, and of hostile
ones."""

from __future__ import annotations

import json
import math
import os
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from ft_harness.comparison.aggregator import aggregate, compare
from ft_harness.errors import InputError
from ft_harness.records import SCORES_FILE, Evaluation
from ft_harness.records.finding import find_records, load_records
from ft_harness.records.score_table import read_outcomes
from tests.builders.command import assert_three_lines
from tests.builders.lm_eval_output import DATE, TASK, make_line, make_lines, write_output
from tests.builders.records import label_samples, make_record, write_evaluation

GOLDS = [0, 1] * 10
BASE = [0] * 20  # 10 of 20 right
TUNED = [0, 1] * 8 + [1, 0, 1, 0]  # 16 of 20 right


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder with the output of a base model and of an adapter."""
    write_output(tmp_path / "out" / "small", make_lines(GOLDS, BASE))
    write_output(tmp_path / "out" / "tuned", make_lines(GOLDS, TUNED), "adapters/mine")
    return tmp_path / "out"


def only(path: Path) -> Evaluation:
    (found,) = load_records([path])
    return found


def samples_file(folder: Path) -> Path:
    (file,) = folder.glob("samples_*.jsonl")
    return file


def rows_of(folder: Path, name: str = "report") -> list[dict[str, Any]]:
    return json.loads((folder / "results" / "reports" / name / "rows.json").read_text())


# --- what is read


def test_the_report_on_plain_lm_eval_output(ft, both: Path, tmp_path: Path):
    code, _, err = ft("report", both)
    assert code == 0, err
    (row,) = [row for row in rows_of(tmp_path) if row["tuned"] is not None]
    assert (row["task"], row["metric"], row["base_subject"], row["tuned_subject"]) == (
        TASK, "acc", "base--small", "mine",
    )  # fmt: skip
    # 6 items corrected (numbers 1, 3, ... 15 are right now: 8; 16 and 18 broken): 10 -> 16 of 20
    assert (row["base"], row["tuned"], row["n"]) == (0.5, 0.8, 20)
    assert row["p"] == pytest.approx(
        2 * (math.comb(10, 0) + math.comb(10, 1) + math.comb(10, 2) / 2) / 2**10
    )  # mid-p of 8 against 2
    unchecked = "so it was not checked that they are the same for base and tuned"
    assert row["footnotes"] == [f"lm-eval 0.4.13 does not record weights, {unchecked}"]
    text = (tmp_path / "results/reports/report/report.md").read_text()
    assert "scored by" in text
    assert "whether they change what it says" in text


@pytest.mark.parametrize("which", ["folder", "results", "samples"])
def test_a_side_may_be_a_folder_or_either_file(ft, both: Path, which: str, tmp_path: Path):
    sides = []
    for name in ("small", "tuned"):
        folder = both / name
        sides.append(
            {
                "folder": folder,
                "results": folder / f"results_{DATE}.json",
                "samples": samples_file(folder),
            }[which]
        )
    code, _, err = ft("compare", *sides)
    assert code == 0, err
    assert [row["tuned"] for row in rows_of(tmp_path, "comparison")] == [None, 0.8]


def test_a_record_says_what_the_results_say(both: Path):
    record = only(both / "tuned").record
    settings, (score,) = record.settings, record.scores
    assert (record.subject, record.adapter and record.adapter.path) == ("mine", "adapters/mine")
    assert (record.model.pretrained, record.model.dtype, record.model.parameters) == (
        "models/small",
        "float32",
        1000,
    )
    assert (settings.task_version, settings.split, settings.num_fewshot, settings.limit) == (
        "1.0",
        "test",
        0,
        None,
    )
    assert (settings.max_length, settings.seed, settings.back_end) == (512, 1234, "hf")
    # Wilson for 16 of 20: (16 + z²/2) / (20 + z²) -+ z / (20 + z²) * sqrt(16 * 4 / 20 + z²/4), z =
    # 1.959964
    assert (score.value, score.n) == (0.8, 20)
    assert (score.low, score.high) == pytest.approx((0.58398, 0.91934), abs=1e-5)


def _in_premises(results: dict[str, Any]) -> None:
    results["configs"][TASK]["metadata"]["cluster"] = "premise"


def test_the_interval_of_a_score_draws_clusters_whole(tmp_path: Path):
    """20 items in two clusters of 10, one right throughout and one wrong: two are too few for an
    interval. Wilson's of 10 of 20 single items is 0.30 to 0.70."""
    lines = make_lines([0] * 20, [0] * 10 + [1] * 10)
    for number, line in enumerate(lines):
        line["doc"] |= {"premise": f"p{number // 10}"}
    write_output(tmp_path / "out", lines, change=_in_premises)
    (score,) = only(tmp_path / "out").record.scores
    assert (score.value, score.low, score.high) == (0.5, None, None)
    alone = [
        line | {"doc": line["doc"] | {"premise": f"p{number}"}} for number, line in enumerate(lines)
    ]
    write_output(tmp_path / "alone", alone, change=_in_premises)
    (score,) = only(tmp_path / "alone").record.scores
    assert (score.low, score.high) == pytest.approx((0.29930, 0.70070), abs=1e-5)


def test_a_mean_that_is_not_of_zeros_and_ones_has_an_interval(tmp_path: Path):
    """Equal to scipy's percentile bootstrap of 400 numbers, up to the draw and the small
    widening."""
    values = [(number % 10) / 10 for number in range(400)]
    lines = [
        {key: value for key, value in make_line(number, 0, 0).items() if key != "acc"}
        | {"metrics": ["token_f1"], "token_f1": value}
        for number, value in enumerate(values)
    ]

    def change(results: dict[str, Any]) -> None:
        results["results"][TASK] = {"alias": TASK, "token_f1,none": sum(values) / len(values)}

    for line in lines:
        line["acc"] = 0.0
    write_output(tmp_path / "out", lines, change=change)
    (score,) = only(tmp_path / "out").record.scores
    drawn = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(1)
    )
    ends = (drawn.confidence_interval.low, drawn.confidence_interval.high)
    assert (score.low, score.high) == pytest.approx(ends, abs=0.003)


def test_a_sample_is_read_as_ours(both: Path):
    sample = list(only(both / "tuned").samples())[1]
    assert (sample.doc_id, sample.target, sample.prediction) == (1, "good", "good")
    assert sample.responses == [[-9.5, False], [-7.25, True]]
    assert sample.prompt == "Review: text 1\nSentiment:"
    assert sample.scores == {"acc": 1.0}


def test_adapters_whose_paths_end_alike_are_two(ft, tmp_path: Path):
    write_output(tmp_path / "b", make_lines(GOLDS, BASE))
    for name in ("first", "second"):  # the same answers, and so the same samples
        write_output(tmp_path / name, make_lines(GOLDS, TUNED), f"runs/{name}/weights")
    code, _, err = ft("report", "b", "first", "second")
    assert code == 0, err
    tuned = [row["tuned_subject"] for row in rows_of(tmp_path) if row["tuned"] is not None]
    assert tuned == ["first--weights", "second--weights"]
    text = (tmp_path / "results/reports/report/report.md").read_text()
    assert "first--weights" in text.replace("\\", "").partition("## Scores by split")[0]


def test_adapters_of_one_folder_whose_paths_end_alike_do_not_replace_each_other(tmp_path: Path):
    write_output(
        tmp_path / "out",
        make_lines(GOLDS, TUNED),
        "runs/a/weights",
        date="2026-02-03T04-05-06.789012",
    )
    write_output(
        tmp_path / "out",
        make_lines(GOLDS, BASE),
        "runs/b/weights",
        date="2026-02-04T04-05-06.789012",
    )
    assert sorted(each.record.subject for each in load_records([tmp_path])) == [
        "a--weights",
        "b--weights",
    ]


def test_a_likelihood_of_running_text_is_no_answer(tmp_path: Path):
    def rolling(results: dict[str, Any]) -> None:
        results["configs"][TASK]["output_type"] = "loglikelihood_rolling"

    line = make_line(0, 0, 0, target="a text", resps=[["-12.5"]], filtered_resps=["-12.5"])
    sample = next(iter(only(write_output(tmp_path / "out", [line], change=rolling)).samples()))
    assert (sample.prediction, sample.target) == (None, "a text")


def test_several_tasks_of_one_file_are_compared_and_groups_left_alone(ft, tmp_path: Path):
    def group(results: dict[str, Any]) -> None:
        results["results"]["both"] = {"alias": "both", "acc,none": 0.5, "acc_stderr,none": "N/A"}
        results["group_subtasks"] = {"both": ["one", "two"], "one": [], "two": []}

    for name, predictions, peft in (("b", BASE, None), ("t", TUNED, "a/mine")):
        lines = make_lines(GOLDS, predictions)
        write_output(tmp_path / name, {"one": lines, "two": lines}, peft, change=group)
    code, _, err = ft("compare", "b", "t")
    assert code == 0, err
    rows = [row for row in rows_of(tmp_path, "comparison") if row["tuned"] is not None]
    assert [row["task"] for row in rows] == ["one", "two"]
    assert [row["p_adjusted"] for row in rows] == [None, None]  # each is judged by its own p
    code, _, err = ft("compare", "b", "t", "--holm")
    assert code == 0, err
    rows = [row for row in rows_of(tmp_path, "comparison") if row["tuned"] is not None]
    # Holm: the smaller of two equal p is doubled, the other is not smaller
    assert [row["p_adjusted"] for row in rows] == pytest.approx([2 * rows[0]["p"]] * 2)


def test_filters_of_one_file_are_evaluations_of_their_own(tmp_path: Path):
    lines = [
        line
        for strict, flexible in zip(make_lines(GOLDS, BASE), make_lines(GOLDS, TUNED), strict=True)
        for line in (strict | {"filter": "strict"}, flexible | {"filter": "flexible"})
    ]

    def state(results: dict[str, Any]) -> None:
        results["results"][TASK] = {"acc,strict": 0.5, "acc,flexible": 0.8}
        results["n-samples"][TASK]["effective"] = 20

    write_output(tmp_path / "out", lines, change=state)
    found = {
        each.record.foreign.filter: each.record
        for each in load_records([tmp_path])
        if each.record.foreign
    }
    assert {name: record.scores[0].value for name, record in found.items()} == {
        "strict": 0.5,
        "flexible": 0.8,
    }
    assert {name: record.scores[0].n for name, record in found.items()} == {
        "strict": 20,
        "flexible": 20,
    }


def test_the_newest_whole_run_of_a_folder_counts_and_others_are_named(tmp_path: Path):
    folder = tmp_path / "out"
    write_output(folder, make_lines(GOLDS, [1] * 20), date="2026-01-01T00-00-00.000001")
    write_output(folder, make_lines(GOLDS, TUNED), date="2026-01-02T00-00-00.000001")
    write_output(folder, make_lines(GOLDS, BASE), date="2026-01-03T00-00-00.000001")
    newest = folder / "samples_sentiment_2026-01-03T00-00-00.000001.jsonl"
    newest.write_text("".join(newest.read_text().splitlines(keepends=True)[:7]))
    found = find_records([folder])
    assert [each.record.scores[0].value for each in found.evaluations] == [0.8]
    assert found.unread == [f"{newest}: 7 samples, but the results are of 20: incomplete"]
    (note,) = found.notes
    assert "2026-01-01T00-00-00.000001.jsonl: left out" in note
    assert "2026-01-02T00-00-00.000001.jsonl is newer" in note


def test_our_own_evaluation_and_the_stock_command_agree_on_every_item(
    ft, model_folder: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The stock command's own files beside an evaluation of ours: items, prompts and targets pair
    by their hashes."""
    from lm_eval.tasks import TaskManager

    whole = TaskManager.__init__
    monkeypatch.setattr(
        TaskManager, "__init__", lambda self, **given: whole(self, include_defaults=False, **given)
    )
    monkeypatch.setattr("lm_eval.utils.setup_logging", lambda: None)
    code, _, err = ft(
        "lm-eval", "--model", "hf", "--model_args", f"pretrained={model_folder},dtype=float32,max_length=64",
        "--tasks", "demo_sentiment", "--metadata", json.dumps({"data_source": str(reviews)}), "--device", "cpu",
        "--batch_size", "4", "--log_samples", "--output_path", str(tmp_path / "stock"),
    )  # fmt: skip
    assert code == 0, err
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: demo_sentiment}}\ndata: {{source: {reviews}}}\n"
        "eval: {splits: [test]}\n",
        encoding="utf-8",
    )
    assert ft("eval", recipe)[0] == 0
    theirs, ours = only(tmp_path / "stock"), only(tmp_path / "results")
    left = {sample.item_key: sample for sample in ours.samples()}
    right = {sample.item_key: sample for sample in theirs.samples()}
    assert len(left) == 24
    assert left.keys() == right.keys()
    for key, sample in left.items():
        other = right[key]
        assert (sample.prompt, sample.prompt_hash, sample.target, sample.target_hash, sample.prediction) == (
            other.prompt, other.prompt_hash, other.target, other.target_hash, other.prediction,
        )  # fmt: skip
    stated = {score.metric: score.value for score in ours.record.scores}
    for score in theirs.record.scores:
        assert score.value == pytest.approx(stated[score.metric], abs=1e-4)
    accepted = ["model", "task_hash", "max_length", "back_end", "seed", "metric", "dtype"]
    compared = compare(ours, theirs, allow_mismatch=accepted)
    assert compared.rows[1].delta == 0
    assert any("task_hash" in note for note in compared.rows[1].footnotes)


# --- repaired at the door


@pytest.mark.parametrize("value", [math.nan, math.inf, "N/A", None, 10**400])
def test_what_is_no_number_is_no_score(tmp_path: Path, value: object):
    lines = make_lines(GOLDS, BASE)
    lines[3]["acc"] = value
    write_output(
        tmp_path,
        lines,
        change=lambda results: results["results"][TASK].update({"acc,none": 10 / 19}),
    )
    (score,) = only(tmp_path).record.scores
    assert (score.n, score.value) == (19, pytest.approx(10 / 19))  # item 3 was a wrong one
    assert "NaN" not in only(tmp_path).record.model_dump_json()


@pytest.mark.parametrize("value", ["nan", "-inf", "inf"])
def test_a_log_likelihood_that_is_no_number_has_no_score(tmp_path: Path, value: str):
    """lm-eval calls the first choice the best of NaNs, and scores that."""
    lines = make_lines(GOLDS, BASE)
    lines[3]["filtered_resps"] = [[value, "False"], ["-7.0", "False"]]
    write_output(
        tmp_path,
        lines,
        change=lambda results: results["results"][TASK].update({"acc,none": 10 / 19}),
    )
    sample = list(only(tmp_path).samples())[3]
    assert (sample.failed, sample.scores) == (
        "a log-likelihood is not a finite number",
        {"acc": None},
    )
    write_output(tmp_path, lines)  # 10 of 20, as lm-eval counts
    with pytest.raises(
        InputError, match=r"acc of these samples is 0\.526316, the results say 0\.5"
    ):
        load_records([tmp_path])


def test_metrics_without_a_number_for_each_item_are_named(ft, tmp_path: Path):
    """As lm-eval keeps them: f1 and mcc a pair of labels, bleu a pair of texts; unknown ones can't
    be tested."""
    more = {"f1": [0, 1], "mcc": [0, 1], "bleu": ["a", "b"], "perplexity": -3.5}
    for name, predictions, peft in (("b", BASE, None), ("t", TUNED, "a/mine")):
        lines = [
            line | more | {"metrics": ["acc", *more]} for line in make_lines(GOLDS, predictions)
        ]
        write_output(tmp_path / name, lines, peft)
    assert [score.metric for score in only(tmp_path / "b").record.scores] == ["acc"]
    (note,) = find_records([tmp_path / "b"]).notes
    assert all(f"{name} (" in note for name in ("bleu", "f1", "perplexity")[:2])
    assert "and 1 more" in note
    assert ft("compare", "b", "t")[0] == 0


def test_statistics_of_our_metrics_are_read_as_such(tmp_path: Path):
    # macro F1 of 2 x 2: gold 0 1 0 1, predicted 0 1 1 1: F1 of 0 is 2/3, of 1 is 4/5; their mean is
    # 11/15
    statistics = [[1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]]
    lines = make_lines([0, 1, 0, 1], [0, 1, 1, 1])
    lines = [
        line | {"metrics": ["acc", "f1_macro"], "f1_macro": list(map(float, counts))}
        for line, counts in zip(lines, statistics, strict=True)
    ]
    write_output(
        tmp_path,
        lines,
        change=lambda results: results["results"][TASK].update({"f1_macro,none": 11 / 15}),
    )
    scores = {score.metric: score.value for score in only(tmp_path).record.scores}
    assert scores == {"acc": 0.75, "f1_macro": pytest.approx(11 / 15)}


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("f1_macro", 0.5, "no statistics"),  # a mean of means is another number
        ("bleu", [1.0, 2.0, 3.0], "undefined for these samples"),
        ("chrf", [1.0, 2.0, 3.0], "another form"),
        ("rouge1", 43.2, "no number from 0 to 1"),  # in per cent
        ("token_f1", [0.5, 0.5], "no number from 0 to 1"),
        ("f1_macro", [1.0, 0.0, 0.0, 0.0, 0.0, 0.0], "the results say 0.25"),
    ],
)
def test_a_metric_of_our_name_that_is_another_is_named(
    tmp_path: Path, name: str, value: Any, reason: str
):
    lines = [line | {"metrics": ["acc", name], name: value} for line in make_lines(GOLDS, BASE)]
    write_output(
        tmp_path,
        lines,
        change=lambda results: results["results"][TASK].update({f"{name},none": 0.25}),
    )
    found = find_records([tmp_path])
    accuracy, other = found.evaluations[0].record.scores
    assert (accuracy.metric, accuracy.is_stated) == ("acc", False)
    assert (other.metric, other.value, other.low, other.is_stated) == (name, 0.25, None, True)
    assert "shown as lm-eval states it, without interval and p" in found.notes[0]
    assert reason in found.notes[0]


def test_macro_f1_without_the_scores_of_labels_has_no_confusion_matrix(ft, tmp_path: Path):
    cells = {
        True: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        False: [0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    }  # gold 0, or gold 1 taken for 0
    lines = [
        line | {"metrics": ["acc", "f1_macro"], "f1_macro": cells[gold == 0]}
        for line, gold in zip(make_lines(GOLDS, BASE), GOLDS, strict=True)
    ]
    for name, peft in (("b", None), ("t", "a/mine")):
        write_output(tmp_path / name, lines, peft)
    code, _, err = ft("compare", "b", "t")
    assert code == 0, err
    assert {row["metric"] for row in rows_of(tmp_path, "comparison")} == {"acc", "f1_macro"}


def test_other_values_than_0_and_1_are_no_accuracy_of_ours(tmp_path: Path):
    lines = make_lines(GOLDS, BASE)
    lines[0]["acc"] = 0.5
    write_output(tmp_path, lines)
    found = find_records([tmp_path])
    (score,) = found.evaluations[0].record.scores
    assert (score.metric, score.is_stated, score.low) == ("acc", True, None)
    assert "another value than 0 and 1" in found.notes[0]
    (tmp_path / f"results_{DATE}.json").unlink()  # now nothing states it
    with pytest.raises(InputError, match=r"acc .*another value than 0 and 1"):
        load_records([tmp_path])


def test_samples_alone_leave_their_settings_unknown(tmp_path: Path):
    write_output(tmp_path, make_lines(GOLDS, BASE))
    (tmp_path / f"results_{DATE}.json").unlink()
    record = only(tmp_path).record
    assert (record.settings.max_length, record.settings.seed, record.settings.batch_size) == (
        None,
        None,
        None,
    )
    assert record.foreign is not None
    assert {"model", "num_fewshot", "limit", "dtype"} <= set(record.foreign.unknown)


# --- broken and hostile


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def nest(file: Path) -> None:
    file.write_bytes(b"[" * 200_000 + b"]" * 200_000 + b"\n")


def swap(file: Path) -> None:
    file.write_text(
        "".join(json.dumps(line) + "\n" for line in make_lines(GOLDS, [1 - gold for gold in GOLDS]))
    )


def foreign(file: Path) -> None:
    file.write_text('{"id": 1, "text": "rows of something else"}\n' * 20)


def latin(file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"text 3", b"t\xe9xt 3"))


def sparse(file: Path) -> None:
    with file.open("r+b") as handle:
        handle.seek(2**30)
        handle.write(b"}\n")


def long_number(file: Path) -> None:
    file.write_text(file.read_text().replace('"doc_id": 3', '"doc_id": ' + "9" * 5000))


def surrogate(file: Path) -> None:
    file.write_text(file.read_text().replace('"text 3"', '"\\ud800"'))


def empty(file: Path) -> None:
    file.write_bytes(b"")


BROKEN = {
    truncate: "line 20: not JSON",
    nest: "line 1: nested too deeply",
    swap: "acc of these samples is 0, the results say 0.8",
    foreign: "line 1: not a sample of lm-eval",
    latin: "line 4: not UTF-8",
    sparse: "line 21 has more than 10,000,000 bytes",
    long_number: "line 4: ",
    surrogate: "line 4: text that is not Unicode",
    empty: "no samples in it",
}


@pytest.mark.parametrize("damage", BROKEN, ids=lambda damage: damage.__name__)
def test_a_broken_samples_file_is_named_and_changes_no_number(
    ft, both: Path, tmp_path: Path, damage
):
    assert ft("report", both)[0] == 0
    before = rows_of(tmp_path)
    write_output(both / "broken", make_lines(GOLDS, TUNED), "adapters/broken")
    file = samples_file(both / "broken")
    damage(file)
    size, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    code, _, err = ft("report", both)
    assert code == 6
    assert_three_lines(err, "broken")
    assert BROKEN[damage] in err
    assert time.monotonic() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size < 200_000  # KB
    assert rows_of(tmp_path) == before
    text = (tmp_path / "results/reports/report/report.md").read_text()
    assert "not read: " in text
    code, _, err = ft("report", both / "broken")
    assert code == 3
    assert_three_lines(err, "broken")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "not JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b"[]", "no object 'results'"),
        (b'{"results": {"sentiment": {"acc,none": NaN}}}', None),
        (b'{"results": {"other": {}}}', "does not name this task"),
        (b'{"results": {"sentiment": 5}, "configs": 5, "config": [], "n-shot": "x"}', None),
        (
            b'{"results": {"sentiment": {}}, "config": {"model_args": 5, "model_num_parameters": "x"}}',
            None,
        ),
        (b'{"results": {}}\xff', "not UTF-8"),
    ],
)
def test_a_broken_results_file_is_named_or_says_nothing(
    both: Path, content: bytes, reason: str | None
):
    (both / "tuned" / f"results_{DATE}.json").write_bytes(content)
    found = find_records([both])
    if reason is None:
        assert [each.record.scores[0].value for each in found.evaluations] == [0.5, 0.8]
        assert not found.unread
    else:
        assert [each.record.subject for each in found.evaluations] == ["base--small"]
        assert any(reason in line for line in found.unread)


def test_a_huge_results_file_is_not_read(both: Path):
    with (both / "tuned" / f"results_{DATE}.json").open("r+b") as handle:
        handle.truncate(2**30)
    found = find_records([both])
    assert len(found.evaluations) == 1
    assert "1,073,741,824 bytes" in found.unread[0]


def test_no_link_leads_out_of_the_folder(both: Path, tmp_path: Path):
    outside = write_output(tmp_path / "secret", make_lines(GOLDS, TUNED), "adapters/secret")
    inside = both / "linked"
    inside.mkdir()
    for file in outside.iterdir():
        (inside / file.name).symlink_to(file)
    (both / "whole").symlink_to(outside)
    found = find_records([both])
    assert {each.record.subject for each in found.evaluations} == {"base--small", "mine"}
    assert sorted(found.unread) == sorted(
        f"{inside / file.name}: a link out of the folder, not followed"
        for file in outside.iterdir()
    )


def test_a_pipe_is_not_opened(both: Path):
    os.mkfifo(both / "samples_x_2026-02-03T04-05-06.789012.jsonl")
    found = find_records([both])
    assert len(found.evaluations) == 2
    assert found.unread == [
        f"{both / 'samples_x_2026-02-03T04-05-06.789012.jsonl'}: not a regular file"
    ]


@pytest.mark.parametrize("text", ["{", "[" * 200_000, '{"schema_version": 99}', "", '{"a": NaN}'])
def test_a_broken_record_of_ours_is_named(ft, tmp_path: Path, text: str):
    for name, predictions in ((None, BASE), ("mine", TUNED)):
        write_evaluation(
            tmp_path / "r" / str(name), make_record(name), label_samples(GOLDS, predictions)
        )
    assert ft("report", "r")[0] == 0
    before = rows_of(tmp_path)
    (tmp_path / "r" / "broken").mkdir()
    (tmp_path / "r" / "broken" / "record.json").write_text(text)
    code, _, err = ft("report", "r")
    assert code == 6
    assert_three_lines(err, "not a record")
    assert rows_of(tmp_path) == before
    with pytest.raises(InputError, match="not a record"):
        load_records([tmp_path / "r"])


def test_nothing_to_read_is_said(ft, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for path in ("empty", "missing", "results_x.json"):
        code, _, err = ft("report", path)
        assert code == 3
        assert_three_lines(err, "no evaluation found")


def test_results_without_samples_are_named(ft, tmp_path: Path):
    write_output(tmp_path / "out", make_lines(GOLDS, BASE))
    samples_file(tmp_path / "out").unlink()
    code, _, err = ft("report", "out")
    assert code == 3
    assert_three_lines(err, "--log_samples")


@pytest.mark.slow  # writes a large file
def test_memory_does_not_grow_with_the_samples(tmp_path: Path):
    """12,000 samples of 1 kB against 2,000: not the 10 MB more that they are."""
    import tracemalloc

    peaks = []
    for count in (2_000, 12_000):
        golds = [0, 1] * (count // 2)
        folder = write_output(
            tmp_path / str(count), [make_line(n, g, 0) for n, g in enumerate(golds)]
        )
        tracemalloc.start()
        find_records([folder])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4_000_000


def test_what_else_is_done_with_lm_evals_output(ft, both: Path):
    """`power` needs items only; other metrics can't be computed from what lm-eval keeps."""
    code, out, err = ft("power", both / "small")
    assert code == 0, err
    assert "20 items, base 50.0 %" in out
    code, _, err = ft("rescore", both / "small")
    assert code == 3
    assert_three_lines(err, "made by lm-eval 0.4.13")


def test_a_study_of_lm_evals_output_by_its_python_names(both: Path):
    study = aggregate(load_records([both]), name="n", command="c")
    assert [comparison.tuned.subject for comparison in study.comparisons] == ["mine"]


def test_samples_are_put_in_columns_as_they_come_and_as_written_where_a_secret_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What a report shows comes from the columns: no secret may be in them that the samples lack."""
    monkeypatch.setenv("SOME_TOKEN", "s3cret-Value-9")
    for name, place in (("clean", "a quiet place"), ("leaky", "s3cret-Value-9")):
        lines = [make_line(number, number % 2, number % 2) for number in range(4)]
        lines[2]["doc"]["text"] = place
        lines[2]["target"] = place
        (read,) = load_records([write_output(tmp_path / name, lines)])
        assert (read.folder / SCORES_FILE).exists() == (name == "clean")
        targets = read_outcomes(read).texts.column("target").to_pylist()
        samples = [sample.target for sample in read.samples()]
        assert targets == samples
        assert "s3cret-Value-9" not in str(samples)
