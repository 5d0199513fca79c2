"""Faults of tasks found before a model is loaded, each with its exit code; strangers' code never
runs by default."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from ft_harness.errors import ConfigError, InputError, PolicyError, ProblemsError
from ft_harness.paths import is_installed, task_yamls_dir
from ft_harness.pipeline.checks import CheckOptions, check_all
from ft_harness.tasks.checks import code_problems, metric_problems
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.listing import TaskReader, list_tasks, merge_includes
from ft_harness.tasks.loading import load_tasks
from ft_harness.tasks.mock_answers import mock_problems
from tests.builders.command import assert_three_lines
from tests.builders.tiny import review_rows, write_jsonl

pytestmark = pytest.mark.usefixtures("no_model")
DEMO = task_yamls_dir() / "demo" / "demo_sentiment.yaml"
METRICS = "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
MINE = (
    """task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs:
  data:
    columns: {text: [], label: []}
    labels: [negative, positive]
training_split: train
validation_split: validation
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}} It was"
doc_to_target: label
doc_to_choice: [bad, good]
"""
    + METRICS
    + "metadata: {version: 1.0}\n"
)
GENERATED = MINE.replace("multiple_choice", "generate_until").replace("doc_to_choice: [bad, good]\n", "").replace(
    "doc_to_target: label", "doc_to_target: \"{{['bad', 'good'][label]}}\""
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of tasks with data beside it."""
    write_jsonl(tmp_path / "data" / "train.jsonl", review_rows(8))
    write_jsonl(tmp_path / "data" / "test.jsonl", review_rows(4, start=100))
    write_jsonl(tmp_path / "data" / "validation.jsonl", review_rows(4, start=200))
    (tmp_path / "tasks").mkdir()
    return tmp_path / "tasks"


def put(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def load(folder: Path, text: str, *, trust_code: bool = False):
    put(folder, text)
    source = {"data_source": str(folder.parent / "data")}
    return load_tasks(find_task("mine", str(folder), source, trust_code), ["test"])["test"]


def check(ft, folder: Path, *names: str, extra: tuple[str, ...] = ()) -> tuple[int, str, str]:
    return ft(
        "check",
        *(names or ("mine",)),
        "--include-path",
        folder,
        "--set",
        f"data.source={folder.parent / 'data'}",
        *extra,
    )


# check TASK


def test_a_sound_task_is_checked_and_counted(ft, folder: Path):
    put(folder, MINE)
    code, out, err = check(ft, folder)
    assert code == 0, err
    first, *lines = out.splitlines()
    assert first == f"no fault, no warning, {len(lines)} things checked"
    assert len(lines) >= 3
    assert "train 8 docs, validation 4 docs, test 4 docs" in out
    assert "1 metrics, on mock answers too" in out


def test_a_recipe_and_tasks_in_one_call(ft, folder: Path, tmp_path: Path):
    put(folder, MINE)
    assert ft("init", "my", "--task", "mine", "--include-path", folder)[0] == 0
    code, out, err = ft(
        "check", "adapters/my", "demo_sentiment", "--set", f"data.source={tmp_path / 'data'}"
    )
    assert code == 0, err
    assert "adapters/my: model bundled" in out
    assert "demo_sentiment: train 8 docs" in out


def test_options_of_the_data_apply_to_tasks(ft, folder: Path):
    put(folder, MINE)
    code, out, err = check(ft, folder, extra=("--set", "data.train_size=5"))
    assert code == 0, err
    assert "train 5 docs" in out
    code, _, err = check(ft, folder, extra=("--set", "data.train_sise=5"))
    assert code == 2
    assert_three_lines(err, "did you mean train_size?")


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ("labels=[positive, negative]", "another order than"),
        ("labels=[negative, neutral, positive]", "doc_to_choice has 2 answers, data.labels 3"),
        ("label_words=[awful, great]", "the task mine has answers of its own"),
    ],
)
def test_options_that_the_choices_do_not_follow_are_refused(
    ft, folder: Path, given: str, word: str
):
    put(folder, MINE)
    code, _, err = check(ft, folder, extra=("--set", f"data.{given}"))
    assert code == 3
    assert_three_lines(err, word)


def test_options_that_the_choices_follow_are_taken(ft, folder: Path):
    put(folder, MINE.replace("[bad, good]", '"{{label_words}}"'))
    given = (
        "--set",
        "data.labels=[positive, negative]",
        "--set",
        "data.label_words=[great, awful]",
    )
    code, out, err = check(ft, folder, extra=given)
    assert code == 0, err
    assert "answers awful 4, great 4" in out


def test_one_bad_task_in_a_list_of_three_is_found_before_any_work(ft, folder: Path):
    put(folder, MINE)
    put(
        folder,
        MINE.replace("task: mine", "task: other").replace("{{text}}", "{{txt}}"),
        "other.yaml",
    )
    code, out, err = check(ft, folder, "mine", "other", "demo_nl")
    assert code == 2  # the smallest of 3 (a template) and 2 (no such task)
    assert out.startswith("2 faults, no warning, ")
    assert_three_lines(err, "'txt' is undefined", "no task demo_nl; did you mean demo_nli?")


def test_nothing_checked_is_a_fault():
    with pytest.raises(ConfigError, match="nothing was checked"):
        check_all([], CheckOptions())


def test_a_missing_recipe_is_named_as_a_file(ft):
    code, _, err = ft("check", "adapters/nowhere")
    assert code == 2
    assert_three_lines(err, "adapters/nowhere: can't be read")


BOMB = ["a: &a [x, x, x, x, x, x, x, x, x]"]
BOMB += [
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
]
FAULTS = {
    "unknown metric": (MINE.replace("metric: acc", "metric: acuracy"), 3, "unknown metric acuracy"),
    "a field that is missing": (MINE.replace("{{text}}", "{{txt}}"), 3, "'txt' is undefined"),
    "a target that is missing": (
        GENERATED.replace("['bad', 'good'][label]", "labl"),
        3,
        "'labl' is undefined",
    ),
    "a key twice": (
        MINE + "task: mine\n",
        3,
        "mine.yaml:16: not valid YAML (the key 'task' is listed twice)",
    ),
    "an unknown key": (
        MINE + "doc_to_txt: x\n",
        3,
        "mine.yaml:16: unknown key doc_to_txt; did you mean doc_to_text?",
    ),
    "an unknown option": (
        MINE.replace("    labels:", "    seeed: 1\n    labels:"),
        3,
        "mine.yaml:6: unknown key dataset_kwargs.data.seeed; did you mean seed?",
    ),
    "a wrong argument": (
        MINE.replace("  data:", "  dta: 1\n  data:"),
        3,
        "unknown key dataset_kwargs.dta",
    ),
    "aliases": ("task: mine\n" + "\n".join(BOMB), 3, "more than 10000 values"),
    "depth": ("task: mine\na: " + "[" * 100_000, 3, "more than 50 levels deep"),
    "white space": (MINE.replace("It was", "It was "), 3, "a prompt ends in white space"),
    "choices alike": (
        MINE.replace("[bad, good]", "[bad, bad]"),
        3,
        "equal choices in 8 of 8 rows (rows 0, 1, 2, 3, 4, ..., counted from 0)",
    ),
    "an empty choice": (
        MINE.replace("[bad, good]", '[bad, " "]'),
        3,
        "an empty choice in 8 of 8 rows",
    ),
    "two blanks": (MINE.replace("[bad, good]", '[" bad", " good"]'), 3, "begins with a blank"),
    "a choice too few": (
        MINE.replace("[bad, good]", "[bad]"),
        3,
        "doc_to_choice has 1 answers, data.labels 2",
    ),
    "a label outside": (
        MINE.replace("[negative, positive]", "[negative, neutral]"),
        3,
        "label 'positive'",
    ),
    "the wrong direction": (
        MINE.replace("better: true", "better: false"),
        3,
        "acc has the wrong direction",
    ),
    "no split": (
        MINE.replace("_split:", "_splt:"),
        3,
        "unknown key test_splt; did you mean test_split?",
    ),
    "an endless template": (
        MINE.replace("{{text}}", "{% for i in range(10**9) %}x{% endfor %}"),
        3,
        "Range too big",
    ),
    "no output": (
        MINE.replace("multiple_choice", "many_choices"),
        3,
        "output_type is 'many_choices'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_task_is_found_at_once_and_named(ft, folder: Path, fault: str):
    text, expected, word = FAULTS[fault]
    put(folder, text)
    started = time.monotonic()
    code, _, err = check(ft, folder)
    assert time.monotonic() - started < 6  # the first call loads libraries
    assert code == expected, err
    assert_three_lines(err, word)


def test_100_megabytes_are_refused_unread(ft, folder: Path):
    with (folder / "mine.yaml").open("wb") as file:
        file.truncate(100_000_000)
    started = time.monotonic()
    code, _, err = check(ft, folder)
    assert time.monotonic() - started < 2
    assert code == 3
    assert_three_lines(err, "100000000 bytes")


def test_all_faults_are_reported_at_once(ft, folder: Path):
    put(folder, MINE.replace("metric: acc", "metric: acuracy") + "doc_to_txt: x\nnonsense: 1\n")
    code, _, err = check(ft, folder)
    assert code == 3
    assert err.count("error: ") == 3


@pytest.mark.parametrize("limit", ["0", "-3", "0.5"])
def test_a_limit_outside_its_range_is_refused(ft, folder: Path, limit: str):
    put(folder, MINE)
    assert ft("init", "my", "--task", "mine", "--include-path", folder)[0] == 0
    code, _, err = ft("check", "adapters/my", "--set", f"eval.limit={limit}")
    assert code == 2
    assert_three_lines(err, "eval.limit")


# metrics on mock answers

SCORES = {
    "a word": ("'good'", "gives acc as 'good' (str)"),
    "not a number": ("float('nan')", "gives acc as nan"),
    "nothing at all": ("[]", "gives acc as []"),
    "a mapping": ("{'a': 1}", "gives acc as {'a': 1} (dict)"),
    "too large a number": ("10 ** 400", "gives acc as 1000"),
    "a number beyond its scale": ("7", "gives acc as 7 (int)"),
    "an object without a number": ("type('F', (), {'__float__': lambda s: 1 / 0})()", "(F)"),
    "an object without a text": ("type('F', (), {'__repr__': lambda s: 1 / 0})()", "an object (F)"),
    "changing lengths": (
        "[1.0] * (1 + int(results[0][0] < -1))",
        "gives acc in a form that can't be aggregated",
    ),
}


@pytest.mark.parametrize("kind", SCORES)
def test_a_metric_of_the_wrong_type_is_found_on_mock_answers(ft, folder: Path, kind: str):
    value, word = SCORES[kind]
    put(folder, f"def score(doc, results):\n    return {{'acc': {value}}}\n", "score.py")
    put(folder, MINE + "process_results: !function score.score\n")
    code, _, err = check(ft, folder, extra=("--trust-task-code",))
    assert code == 3
    assert_three_lines(err, word)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("return {'acc': 1.0, 'mcc': 1.0}", "gives what metric_list leaves out: mcc"),
        ("return {}", "never gives what metric_list names: acc"),
        ("return [1.0]", "gives list, not a mapping of metrics"),
        ("return {3: 1.0}", "gives 3, which is no metric's name"),
        ("raise type('E', (Exception,), {'__str__': lambda s: 1 / 0})()", "(E: E)"),
        ("raise ValueError('x' * 10**6)", "(ValueError: xxx"),
        ("return {'acc': doc['nowhere']}", "(KeyError: 'nowhere')"),
        ("return {'acc': 1.0 / (results[0] != '')}", "fails on the answer [''] (ZeroDivisionError"),
    ],
)
def test_a_scoring_function_that_fails_is_found_on_mock_answers(folder: Path, body: str, word: str):
    put(folder, f"def score(doc, results):\n    {body}\n", "score.py")
    with pytest.raises(InputError) as caught:
        load(folder, GENERATED + "process_results: !function score.score\n", trust_code=True)
    assert word in caught.value.what
    assert len(caught.value.what) < 1000
    assert caught.value.what.startswith("mine: process_results")


def test_an_aggregation_that_fails_is_found_on_mock_answers(folder: Path):
    put(
        folder,
        "def score(doc, results):\n    return {'acc': None}\ndef total(items):\n    return sum(items)\n",
        "score.py",
    )
    text = MINE.replace("aggregation: mean", "aggregation: !function score.total")
    with pytest.raises(InputError, match="acc in a form that can't be aggregated"):
        load(folder, text + "process_results: !function score.score\n", trust_code=True)


def test_mock_answers_are_those_of_three_classes(folder: Path):
    """Each right answer of the first three classes is shown to the function, and wrong, empty and
    odd ones."""
    body = "    SEEN.append((doc['label'], results[0]))\n    return {'acc': 1.0}\n"
    put(folder, f"SEEN = []\ndef score(doc, results):\n{body}", "score.py")
    rows = [{"text": f"t {i}", "label": "abcd"[i % 4]} for i in range(12)]
    for split in ("train", "validation", "test"):
        write_jsonl(folder.parent / "data" / f"{split}.jsonl", rows)
    text = GENERATED.replace("[negative, positive]", "[a, b, c, d]").replace(
        "['bad', 'good']", "['A', 'B', 'C', 'D']"
    )
    task = load(folder, text + "process_results: !function score.score\n", trust_code=True)
    seen = sys.modules[task.config.process_results.__module__].SEEN
    assert {gold for gold, _ in seen} == {0, 1, 2}
    assert {answer for gold, answer in seen if gold == 1} == {
        "B",
        "a wrong answer",
        "",
        "\x00 ?? 。\n",
    }
    assert mock_problems(task) == []


# code of strangers

CODE = {
    "a program of the system": (
        MINE + "process_docs: !function subprocess.check_output\n",
        "subprocess.check_output",
    ),
    "a module beside it": (
        MINE + "process_results: !function score.score\n",
        "!function score.score",
    ),
    "a part of ours": (
        MINE.replace("data.load_splits", "storage.write_text"),
        "ft_harness.storage.write_text",
    ),
    "a way through ours": (
        MINE.replace("data.load_splits", "data.load_splits.__globals__"),
        "__globals__",
    ),
    "in a list": (
        MINE.replace("aggregation: mean", "aggregation: !function os.abort"),
        "!function os.abort",
    ),
    "a loading script": ("task: mine\ndataset_path: evil.py\n", "dataset_path: evil.py"),
    "remote code": (
        "task: mine\ndataset_path: a/b\ndataset_kwargs: {trust_remote_code: true}\n",
        "trust_remote_code",
    ),
    "a metric of the hub": (
        MINE.replace("{metric: acc", "{metric: acc, hf_evaluate: true"),
        "hf_evaluate of acc",
    ),
}


@pytest.fixture
def marker(folder: Path) -> Path:
    """A module beside the task that leaves a file behind when it is imported."""
    target = folder.parent / "it-ran"
    code = "def score(doc, results):\n    return {'acc': 1.0}\n"
    put(folder, f"from pathlib import Path\nPath({str(target)!r}).touch()\n{code}", "score.py")
    return target


@pytest.mark.parametrize("case", CODE)
def test_code_of_a_stranger_is_refused_and_not_run(ft, folder: Path, case: str, marker: Path):
    text, word = CODE[case]
    put(folder, text)
    code, _, err = check(ft, folder)
    assert code == 4, err
    assert_three_lines(err, word, "mine.yaml", "--trust-task-code")
    assert not marker.exists()


@pytest.mark.parametrize("command", ["run", "train", "eval", "check"])
def test_every_command_refuses_it_and_names_the_flag(ft, folder: Path, command: str, marker: Path):
    put(folder, CODE["a module beside it"][0])
    assert ft("init", "my", "--task", "mine", "--include-path", folder)[0] == 0
    code, _, err = ft(command, "adapters/my", "--set", f"data.source={folder.parent / 'data'}")
    assert code == 4, err
    assert_three_lines(err, "--trust-task-code")
    assert not marker.exists()
    assert ft("tasks", "show", "mine", "--include-path", folder)[0] == 4
    assert not marker.exists()


def test_the_flag_allows_it(ft, folder: Path, marker: Path):
    put(folder, CODE["a module beside it"][0])
    code, _, err = check(ft, folder, extra=("--trust-task-code",))
    assert code == 0, err
    assert marker.exists()
    assert ft("init", "my", "--task", "mine", "--include-path", folder)[0] == 0
    source = f"data.source={folder.parent / 'data'}"
    assert ft("check", "adapters/my", "--set", source, "--trust-task-code")[0] == 0


def test_a_module_named_like_ours_beside_the_task_is_refused(folder: Path):
    """lm-eval prefers a file beside the YAML to the installed module."""
    (folder / "ft_harness").mkdir()
    put(folder / "ft_harness", "def load_splits(**_): raise SystemExit('it ran')\n", "data.py")
    with pytest.raises(PolicyError, match="would run code of its own"):
        load(folder, MINE)


@pytest.mark.parametrize(
    "template", ["{{ cycler.__init__.__globals__.os.getcwd() }}", "{{ ''.__class__.__mro__ }}"]
)
@pytest.mark.parametrize("trust", [False, True])
def test_a_template_that_reaches_into_python_is_refused(folder: Path, template: str, trust: bool):
    with pytest.raises(PolicyError, match="a template reaches into Python"):
        load(folder, MINE.replace("{{text}}", template), trust_code=trust)


def test_an_include_outside_the_folder_is_refused_unread(ft, folder: Path):
    put(folder.parent, "secret: a word\n", "outside.yml")
    path = put(folder, "include: ../outside.yml\n" + MINE)
    code, _, err = check(ft, folder)
    assert code == 4
    assert_three_lines(err, "lies outside its folder", "--trust-task-code")
    assert "a word" not in err
    (folder / "link.yml").symlink_to(folder.parent / "outside.yml")
    with pytest.raises(PolicyError, match="outside its folder"):
        TaskReader().follow(put(folder, "include: link.yml\n" + MINE))
    assert [entry["task"] for entry in list_tasks(str(folder)) if entry["task"] == "mine"] == [
        "mine"
    ]
    put(folder, "include: ../outside.yml\n" + MINE)
    assert merge_includes(TaskReader().follow(path, trust_code=True))["secret"] == "a word"


def test_includes_below_the_folder_and_of_ours_are_fine(folder: Path):
    (folder / "lists").mkdir()
    put(folder / "lists", METRICS, "acc.yml")
    text = MINE.replace(METRICS, "")
    assert load(folder, "include: lists/acc.yml\n" + text).higher_is_better() == {"acc": True}
    ours = task_yamls_dir() / "metric_lists" / "negative_positive.yml"
    assert len(load(folder, f"include: {json.dumps(str(ours))}\n" + text).higher_is_better()) == 20
    put(folder / "lists", METRICS.replace("mean", "!function os.abort"), "acc.yml")
    with pytest.raises(PolicyError, match=r"os\.abort"):
        load(folder, "include: lists/acc.yml\n" + text)


def test_a_later_include_wins_and_the_task_wins_over_all(folder: Path):
    put(folder, "doc_to_text: one\nversion: 1\nmetadata: {a: 1}\n", "one.yml")
    put(folder, "include: one.yml\nversion: 2\n", "two.yml")
    path = put(folder, "include: [two.yml, one.yml]\nmetadata: {b: 2}\n")
    assert merge_includes(TaskReader().follow(path)) == {
        "doc_to_text": "one",
        "version": 1,
        "metadata": {"b": 2},
    }


def test_ours_and_lm_evals_own_are_trusted(folder: Path):
    import lm_eval

    built_in = Path(lm_eval.__file__).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
    assert built_in.is_file()
    assert is_installed(DEMO)
    assert is_installed(built_in)
    assert not is_installed(put(folder, MINE))
    assert code_problems(find_task("demo_sentiment")) == []


def test_metrics_are_checked_in_name_and_direction(folder: Path):
    text = METRICS.replace("acc,", "brier,")
    put(folder, "task: mine\n" + text)
    (problem,) = metric_problems(find_task("mine", str(folder)))
    assert "brier has the wrong direction" in problem.what
    assert problem.expected == "higher_is_better: false"
    put(folder, "task: mine\n" + text.replace("true", "false"))
    assert metric_problems(find_task("mine", str(folder))) == []


def test_several_refusals_come_together(folder: Path):
    put(folder, CODE["a module beside it"][0] + "process_docs: !function os.abort\n")
    with pytest.raises(ProblemsError) as caught:
        load_tasks(find_task("mine", str(folder)), ["test"])
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == 4


def test_a_cluster_field_that_the_docs_lack(ft, folder: Path):
    put(folder, MINE.replace("version: 1.0}", "version: 1.0, cluster: txt}"))
    code, _, err = check(ft, folder)
    assert code == 3
    assert_three_lines(err, "metadata.cluster is 'txt'", "did you mean text?")
