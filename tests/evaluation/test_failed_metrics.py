"""A metric that raises, gives NaN or a text on one item: the item is failed and counted, the
evaluation partial, nothing lost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ft_harness.records.finding import load_records
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_task

pytestmark = pytest.mark.usefixtures("small_index")
METRIC = """\
def score(doc, results):
    likelier = results[1][0] > results[0][0]
    found = {{"acc": float(likelier == (doc["label"] == 1))}}
    if "number 207 " in doc["text"]:
        {fault}
    return found
"""
TASK = review_task("odd", "process_results: !function own.score\n")
FAULTS = {
    "raises": "raise ZeroDivisionError('x / 0')",
    "nan": "found['acc'] = float('nan')",
    "infinite": "found['acc'] = [1.0, float('inf')]",
    "text": "found['acc'] = '1'",
    "object": "found['acc'] = object()",
    "no mapping": "return 1.0",
    "none of its scores": "return {'other': 1.0}",
    "a number for a name": "found[1] = 1.0",
    "a list": "found['acc'] = [1.0]",
    "an empty list": "found['acc'] = []",
    "beyond its scale": "found['acc'] = 1e308",
    "below its scale": "found['acc'] = -7",
    "ends the process": "raise SystemExit(0)",
    "closes a generator": "raise GeneratorExit",
    "is in another folder and raises": "import os; os.chdir('/'); raise ValueError",
    "changes the doc and raises": "doc.clear(); doc['label']",
}


@pytest.fixture
def recipe(tmp_path: Path, model_folder: Path, reviews: Path) -> Path:
    """Of a stranger's task with a metric of its own."""
    (tmp_path / "t").mkdir()
    (tmp_path / "t/odd.yaml").write_text(TASK)
    path = tmp_path / "adapters/a/recipe.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"model: {{pretrained: {model_folder}}}\ntask: {{name: odd, include_path: t}}\n"
        f"data: {{source: {reviews}}}\neval: {{splits: [test]}}\n"
    )
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_one_item_fails_alone(fault: str, ft: Any, recipe: Path, tmp_path: Path):
    (tmp_path / "t/own.py").write_text(METRIC.format(fault=FAULTS[fault]))
    code, out, err = ft("eval", recipe, "--trust-task-code")
    assert code == 6, err
    assert_three_lines(err, "1 items have no score", "doc 7: the task's metric failed")
    assert "acc" in out
    (evaluation,) = load_records([tmp_path / "results"])
    assert evaluation.record.status == "partial"
    assert {score.metric: score.n for score in evaluation.record.scores}["acc"] == 23
    samples = list(evaluation.samples())
    assert [sample.doc_id for sample in samples if sample.failed] == [7]
    assert samples[7].scores["acc"] is None
    assert len(samples[7].responses) == 2
    # put right, the same command makes the rest of it without the model
    (tmp_path / "t/own.py").write_text(METRIC.format(fault="pass"))
    code, _, err = ft("eval", recipe, "--trust-task-code")
    assert code == 0, err
    whole = [
        each for each in load_records([tmp_path / "results"]) if each.record.status == "complete"
    ]
    assert json.loads(whole[0].record.model_dump_json())["back_end"]["computed"] == 0
    assert whole[0].record.scores[0].n == 24


@pytest.mark.parametrize("fault", ["pass", "import os; os.chdir('/')"])
def test_results_are_where_they_were_asked_for(fault: str, ft: Any, recipe: Path, tmp_path: Path):
    """A metric that runs a program in a folder of its own moves no result there."""
    (tmp_path / "t/own.py").write_text(METRIC.format(fault=fault))
    code, _, err = ft("eval", recipe, "--trust-task-code")
    assert code == 0, err
    assert len(load_records([tmp_path / "results"])) == 1


@pytest.mark.parametrize("change", ["doc['label'] = 99", "doc.clear()", "doc['x'] = object()"])
def test_a_doc_that_a_metric_changes_stays_as_it_was(
    change: str, ft: Any, recipe: Path, tmp_path: Path
):
    (tmp_path / "t/own.py").write_text(METRIC.format(fault=change))
    code, _, err = ft("eval", recipe, "--trust-task-code")
    assert code == 0, err
    (evaluation,) = load_records([tmp_path / "results"])
    assert all(set(sample.doc) >= {"text", "label"} for sample in evaluation.samples())
    assert not any("x" in sample.doc for sample in evaluation.samples())


def in_a_process(words: list[object], folder: Path, limit: float) -> tuple[int, str]:
    """(exit code, messages) of the command in a process of its own, as the process that watches has
    the limits of its start."""
    code = (
        "import sys\nfrom ft_harness import cli\nfrom ft_harness.models import watcher\n"
        f"watcher.NOTICE_SECONDS, watcher.ITEM_SECONDS = 0.5, {limit}\n"
        f"sys.argv = {['ft-harness', *map(str, words)]!r}\ncli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.slow  # two processes, of which one reads lm-eval's own tasks
@pytest.mark.parametrize("command", ["eval", "lm-eval"])
def test_a_metric_that_does_not_end_on_one_item(
    command: str, recipe: Path, stock: list[str], tmp_path: Path
):
    (tmp_path / "t/own.py").write_text(METRIC.format(fault="while True: pass"))
    words = ["eval", recipe, "--trust-task-code"] if command == "eval" else stock
    code, err = in_a_process(words, tmp_path, 3)
    assert code == 6, err
    assert re.search(r"the metric of doc 7 of odd(@test)? has run for", err)  # of a split
    assert_three_lines(err, "doc 7", "OverdueError: it took more than 3 seconds")


@pytest.mark.slow
def test_metrics_that_never_end(recipe: Path, tmp_path: Path):
    """Three docs are waited for; the answers of all are kept."""
    own = (
        "import time\ndef score(doc, results):\n"
        "    if results[0][0] not in (-1.0, -2.0):  # of preflight's mock answers\n"
        "        time.sleep(999)\n"
        "    return {'acc': 1.0}\n"
    )
    (tmp_path / "t/own.py").write_text(own)
    started = time.monotonic()
    code, err = in_a_process(["eval", recipe, "--trust-task-code"], tmp_path, 2)
    assert code == 6, err
    assert time.monotonic() - started < 120
    assert_three_lines(err, "24 items have no score", "doc 0: the task's metric failed (OverdueEr")
    (evaluation,) = load_records([tmp_path / "results"])
    reasons = [sample.failed for sample in evaluation.samples()]
    assert sum("took more than 2 seconds" in reason for reason in reasons) == 3
    assert sum("not tried" in reason for reason in reasons) == 21
    assert all(len(sample.responses) == 2 for sample in evaluation.samples())


@pytest.mark.slow  # a process that imports everything, and waits
def test_a_metric_that_ends_for_no_answer_is_refused(recipe: Path, tmp_path: Path):
    (tmp_path / "t/own.py").write_text(
        "import time\ndef score(doc, results):\n    time.sleep(999)\n"
    )
    code, err = in_a_process(["eval", recipe, "--trust-task-code"], tmp_path, 2)
    assert code == 3, err
    assert_three_lines(err, "process_results fails on the answer", "OverdueError")
    assert not list(tmp_path.rglob("record.json"))


def test_statistics_of_several_lengths(ft: Any, recipe: Path, tmp_path: Path):
    """Those of other metrics than a mean are lists, of one length for all docs."""
    own = METRIC.replace('{{"acc": ', '{{"f1_macro": [0.0, 0.0, 1.0, 1.0, 0.0, 0.0], "acc": ')
    (tmp_path / "t/odd.yaml").write_text(
        TASK.replace(
            "metric_list: [",
            "metric_list: [{metric: f1_macro, higher_is_better: true, "
            "aggregation: !function ft_harness.metrics.aggregate_f1_macro}, ",
        )
    )
    (tmp_path / "t/own.py").write_text(own.format(fault="found['f1_macro'] = [1.0, 0.0]"))
    code, _, err = ft("eval", recipe, "--trust-task-code")
    assert code == 6, err
    assert_three_lines(err, "1 items have no score", "f1_macro", "2 numbers")
    (evaluation,) = load_records([tmp_path / "results"])
    assert {score.n for score in evaluation.record.scores} == {23}


@pytest.fixture
def stock(recipe: Path, reviews: Path) -> list[str]:
    """The command of lm-eval for the task, with all 24 docs."""
    model = recipe.read_text().partition("pretrained: ")[2].partition("}")[0]
    return [
        "lm-eval", "run", "--model", "ft-causal", "--model_args", f"pretrained={model}",
        "--tasks", "odd", "--include_path", "t", "--device", "cpu",
        "--metadata", f'{{"data_source": "{reviews}"}}', "--output_path", "o", "--trust-task-code",
    ]  # fmt: skip


# it knows no scales, and lets a doc have other metrics
UNDER_LM_EVAL = [name for name in FAULTS if not name.endswith(("its scale", "its scores"))]


@pytest.mark.parametrize("fault", [*UNDER_LM_EVAL, "none"])
def test_one_item_fails_alone_under_lm_eval(fault: str, ft: Any, stock: list[str], tmp_path: Path):
    """Its own aggregates are of the docs that have a score, and the doc without says so."""
    (tmp_path / "t/own.py").write_text(METRIC.format(fault=FAULTS.get(fault, "pass")))
    code, out, err = ft(*stock, "--log_samples")
    (results,) = (tmp_path / "o").rglob("results*.json")
    (samples,) = (tmp_path / "o").rglob("samples*.jsonl")
    found = json.loads(results.read_text())
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    right = [
        float((float(line["resps"][1][0][0]) > float(line["resps"][0][0][0])) == bool(label))
        for line in lines
        for label in [line["target"] == "1"]
        if fault == "none" or line["doc_id"] != 7
    ]
    assert f"{found['results']['odd']['acc,none']:.12f}" == f"{sum(right) / len(right):.12f}"
    assert "|acc" in out.replace(" ", "")
    if fault == "none":
        assert code == 0, err
        assert found["n-samples"]["odd"]["effective"] == 24
        assert not any("failed" in line for line in lines)
        return
    assert code == 6, err
    assert_three_lines(err, "1 docs have no score, first doc 7 of odd: the task's metric failed")
    assert found["n-samples"]["odd"] == {"original": 24, "effective": 23}
    assert [line["doc_id"] for line in lines if "failed" in line] == [7]
    assert len(lines[7]["resps"]) == 2


def test_lm_evals_samples_with_a_failed_item_are_read(ft: Any, stock: list[str], tmp_path: Path):
    (tmp_path / "t/own.py").write_text(METRIC.format(fault=FAULTS["raises"]))
    assert ft(*stock, "--log_samples")[0] == 6
    (evaluation,) = load_records([tmp_path / "o"])
    assert evaluation.record.status == "partial"
    assert {score.metric: score.n for score in evaluation.record.scores}["acc"] == 23
    assert [sample.doc_id for sample in evaluation.samples() if sample.failed] == [7]


def test_metrics_that_fail_on_every_item_under_lm_eval(ft: Any, stock: list[str], tmp_path: Path):
    (tmp_path / "t/own.py").write_text("def score(doc, results):\n    raise ValueError('no')\n")
    code, _, err = ft(*stock, "--log_samples")
    assert code == 6, err
    assert_three_lines(err, "24 docs have no score, first doc 0 of odd", "ValueError: no")
    (samples,) = (tmp_path / "o").rglob("samples*.jsonl")
    assert len(samples.read_text().splitlines()) == 24


def test_an_aggregate_that_fails_under_lm_eval(ft: Any, stock: list[str], tmp_path: Path):
    """lm-eval has nothing to show then; the answers are kept."""
    own = METRIC.format(fault="pass") + "def add(items):\n    raise ZeroDivisionError('x / 0')\n"
    (tmp_path / "t/own.py").write_text(own)
    text = TASK.replace("aggregation: mean", "aggregation: !function own.add")
    (tmp_path / "t/odd.yaml").write_text(text)
    code, _, err = ft(*stock)
    assert code == 3, err
    (kept,) = (tmp_path / "o").glob("answers_*.jsonl")
    named = str(kept.relative_to(tmp_path))
    assert_three_lines(err, "lm-eval stopped: ZeroDivisionError: x / 0", "kept in", named)
    answers = [json.loads(line) for line in kept.read_text().splitlines()]
    assert len(answers) == 48
    assert {(each["task"], each["doc_id"]) for each in answers} == {("odd", i) for i in range(24)}
    assert all(len(each["responses"]) == 1 for each in answers)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_score_that_is_no_number_under_lm_eval(
    value: str, ft: Any, recipe: Path, tmp_path: Path, reviews: Path
):
    """Its results are saved as they are, and said to be no numbers."""
    score = f"def score(doc, results):\n    return {{'acc': float('{value}')}}\n"
    (tmp_path / "t/own.py").write_text(score)
    model = recipe.read_text().partition("pretrained: ")[2].partition("}")[0]
    code, out, err = ft(
        "lm-eval", "run", "--model", "ft-causal", "--model_args", f"pretrained={model}",
        "--tasks", "odd", "--include_path", "t", "--device", "cpu", "--limit", "2",
        "--metadata", f'{{"data_source": "{reviews}"}}', "--output_path", "o", "--trust-task-code",
    )  # fmt: skip
    assert code == 8, err
    assert_three_lines(err, f"acc,none of odd is {value}")
    assert "|odd" in out
    assert len(list((tmp_path / "o").rglob("results*.json"))) == 1
