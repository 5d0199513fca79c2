"""Tasks: every shipped YAML is sound, faults name file and line, and the stock command's loading
works too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ft_harness.errors import ConfigError, InputError, ProblemsError
from ft_harness.metrics import find_metric, registry
from ft_harness.paths import task_yamls_dir
from ft_harness.tasks import definition
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.finding import find_task
from ft_harness.tasks.listing import TaskReader, list_tasks, task_files
from ft_harness.tasks.loading import load_tasks, task_training_problems
from tests.builders.command import assert_three_lines

SHIPPED = sorted(task_yamls_dir().rglob("*.yaml"))
NAMES = [path.stem for path in SHIPPED]
MINE = """task: mine
custom_dataset: !function ft_harness.data.load_splits
dataset_kwargs: {data: {columns: {text: [], label: []}, labels: ["no", "yes"]}}
training_split: train
validation_split: validation
test_split: test
output_type: multiple_choice
doc_to_text: "{{text}}?"
doc_to_target: label
doc_to_choice: ["no", "yes"]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0, dataset: a word of its own}
"""


def write_data(folder: Path) -> Path:
    """Splits of 6, 3 and 2 rows; each text names its split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 6), ("validation", 3), ("test", 2)):
        rows = [
            {"text": f"{split} {i}", "sentence": f"{split} {i}", "label": i % 2}
            for i in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_data(tmp_path_factory.mktemp("data")))


@pytest.fixture
def tasks_folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(MINE)
    return tmp_path


def load_mine(folder: Path, source: str, text: str = MINE, *, trust_code: bool = False):
    (folder / "mine.yaml").write_text(text)
    return load_tasks(
        find_task("mine", str(folder), {"data_source": source}, trust_code), ["test"]
    )["test"]


def test_the_docs_of_a_split_are_scored_under_its_name(source: str):
    loaded = load_tasks(
        find_task("sst2_custom", metadata={"data_source": source}), ["validation", "train"]
    )
    assert list(loaded) == ["validation", "train"]
    assert list(loaded["validation"].eval_docs["sentence"]) == [
        "validation 0",
        "validation 1",
        "validation 2",
    ]
    assert loaded["train"].eval_docs[5]["sentence"] == "train 5"
    assert (
        loaded["train"].doc_to_text(loaded["train"].eval_docs[0]) == "Review: train 0\nSentiment:"
    )
    assert loaded["train"].doc_to_choice(loaded["train"].eval_docs[0]) == ["bad", "good"]
    assert loaded["train"].dataset is loaded["validation"].dataset  # read once


@pytest.mark.parametrize("splits", [["train", "validation", "test"], ["validation"]])
def test_a_split_without_rows_is_named(splits: list[str], tmp_path: Path):
    (tmp_path / "all.csv").write_text(
        "sentence,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(20))
    )
    spec = find_task(
        "sst2_custom", metadata={"data_source": str(tmp_path / "all.csv"), "data_split": "80/20"}
    )
    with pytest.raises(InputError, match="sst2_custom@validation: the split has no rows") as caught:
        load_tasks(spec, splits)
    assert "eval.splits" in caught.value.action
    assert [len(task.eval_docs) for task in load_tasks(spec, ["train", "test"]).values()] == [16, 4]


def test_test_all_under_a_task(source: str):
    spec = find_task("sst2_custom", metadata={"data_source": source, "test_all": True})
    assert len(load_tasks(spec, ["test"])["test"].eval_docs) == 11
    with pytest.raises(InputError, match="sst2_custom"):
        load_tasks(spec, ["train"])


def test_stock_lm_eval_loads_our_tasks(source: str):
    from lm_eval.tasks import TaskManager

    metadata = {
        "data_source": source,
        "data_train_size": 4,
        "pretrained": "x",
        "peft": "y",
        "dtype": "float32",
    }
    manager = TaskManager(
        include_path=str(task_yamls_dir()), include_defaults=False, metadata=metadata
    )
    loaded = manager.load(["sst2_custom", "sst2_stories_custom"])["tasks"]
    assert sorted(loaded) == ["sst2_custom", "sst2_stories_custom"]
    assert len(loaded["sst2_custom"].training_docs()) == 4
    assert list(loaded["sst2_custom"].eval_docs["sentence"]) == ["test 0", "test 1"]


# tasks of lm-eval's own: its index of 14,000 files is read once, which takes some seconds


@pytest.fixture(scope="module")
def built_in(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("tsv")
    for split, count in (("train", 4), ("dev", 2), ("test", 2)):
        rows = "".join(f"{split} film {i}\t{i % 2}\n" for i in range(count))
        (folder / f"{split}.tsv").write_text(f"sentence\tlabel\n{rows}")
    spec = find_task(
        "sst2", metadata={"data_source": str(folder), "data_labels": ["negative", "positive"]}
    )
    return load_tasks(spec, ["train", "validation", "test"])


def test_a_built_in_task_takes_local_data(built_in):
    task = built_in["train"]
    doc = task.eval_docs[1]
    assert task.config.task == "sst2@train"
    assert (
        task.doc_to_text(doc)
        == "train film 1\nQuestion: Is this sentence positive or negative?\nAnswer:"
    )
    assert task.doc_to_choice(doc)[task.doc_to_target(doc)] == "positive"
    assert [doc["sentence"] for doc in built_in["validation"].eval_docs] == [
        "dev film 0",
        "dev film 1",
    ]
    assert [doc["sentence"] for doc in built_in["test"].eval_docs] == ["test film 0", "test film 1"]
    assert task_training_problems(task) == []


def test_a_built_in_task_is_scored_with_examples_of_the_local_train_split(built_in):
    assert [doc["sentence"] for doc in built_in["test"].fewshot_docs()] == [
        f"train film {i}" for i in range(4)
    ]


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize(
    ("name", "meant"),
    [("sst2_custm", "sst2_custom"), ("demo_sentimant", "demo_sentiment"), ("gsm8l", "gsm8k")],
)
def test_an_unknown_task_is_refused_with_a_suggestion(name: str, meant: str):
    with pytest.raises(ConfigError) as caught:
        find_task(name)
    assert caught.value.what == f"no task {name}; did you mean {meant}?"
    assert "snli_custom" in caught.value.expected
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize(("name", "kind"), [("glue", "tag"), ("mmlu", "group")])
def test_a_group_or_tag_is_no_task(name: str, kind: str):
    with pytest.raises(InputError, match=f"{name} is a {kind} of lm-eval"):
        find_task(name)


@pytest.mark.usefixtures("built_in")
def test_data_options_of_a_built_in_task_need_a_source():
    with pytest.raises(InputError, match="sst2 has its own data"):
        load_tasks(find_task("sst2", metadata={"data_train_size": 4}), ["train"])


# the user's own tasks and their faults


def test_a_task_of_the_users_folder(tasks_folder: Path, source: str):
    assert task_files(str(tasks_folder))["mine"] == tasks_folder / "mine.yaml"
    assert load_mine(tasks_folder, source).doc_to_text({"text": "so"}) == "so?"


def test_a_word_of_the_tasks_metadata_is_never_taken_for_its_data(
    tasks_folder: Path, source: str, caplog: pytest.LogCaptureFixture
):
    loaded = load_tasks(
        find_task("mine", str(tasks_folder), {"data_source": source}), ["train", "test"]
    )
    assert len(loaded["test"].eval_docs) == 2
    assert "did you mean" not in caplog.text


def test_examples_come_from_the_local_train_split_whatever_the_tasks_own_is_called(
    tasks_folder: Path, source: str
):
    loader = MINE[MINE.index("custom_dataset") : MINE.index("training_split")]
    text = MINE.replace(loader, "dataset_path: org/name\nfewshot_split: dev\n").replace(
        "test_split: test\n", ""
    )
    docs = load_mine(tasks_folder, source, text).fewshot_docs()
    assert [doc["text"] for doc in docs] == [f"train {i}" for i in range(6)]


def test_a_missing_folder_of_tasks(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        task_files(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["mine", "sst2_custom"])
def test_a_name_that_stands_twice(name: str, tasks_folder: Path):
    (tasks_folder / "deeper").mkdir()
    (tasks_folder / "deeper" / "other.yaml").write_text(f"task: {name}\n")
    with pytest.raises(InputError, match=f"the task {name} is also in "):
        task_files(str(tasks_folder))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("task: mine\ndoc_to_text: {{text}}\n", 2),
        ("task: mine\n- x\n", 2),
        (MINE + "task: b\n", 13),
    ],
)
def test_a_broken_yaml_is_named_with_its_line(text: str, line: int, tmp_path: Path):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        find_task(find_task("sst2_custom", str(tmp_path)))
    assert caught.value.what.startswith(f"{tmp_path / 'broken.yaml'}:{line}: not valid YAML")
    assert caught.value.exit_code == 3


def test_unknown_keys_are_named_with_line_and_suggestion(tasks_folder: Path, source: str):
    with pytest.raises(ProblemsError) as caught:
        load_mine(tasks_folder, source, MINE + "doc_to_txt: x\n7: y\n")
    assert [problem.what for problem in caught.value.problems] == [
        f"{tasks_folder / 'mine.yaml'}:13: unknown key doc_to_txt; did you mean doc_to_text?",
        f"{tasks_folder / 'mine.yaml'}:14: unknown key 7",
    ]


def test_an_unknown_metric_is_named_before_lm_eval_asks_the_hub(tasks_folder: Path, source: str):
    with pytest.raises(InputError, match="unknown metric acuracy") as caught:
        load_mine(tasks_folder, source, MINE.replace("metric: acc", "metric: acuracy"))
    assert "acc" in caught.value.expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "{{text}}?",
            "{{txt}}?",
            "a template names a field that the data lacks ('txt' is undefined)",
        ),
        ("{{text}}?", "{{text", "row 0 (counted from 0): doc_to_text can't be rendered"),
        ("label\ndoc_to_choice", "'{{labl}}'\ndoc_to_choice", "'labl' is undefined"),
        ("multiple_choice", "many_choices", "output_type is 'many_choices'"),
        ("ft_harness.data.load_splits", "ft_harness.data.load_everything", "can't be loaded"),
        ("ft_harness.data.load_splits", "no_such_package.load", "can't be loaded"),
        ("test_split: test\n", "", "mine has no test split"),
        ("task: mine", "include: nowhere.yaml\ntask: mine", "nowhere.yaml: can't be read"),
        ("task: mine", "include: mine.yaml\ntask: mine", "mine.yaml: includes itself"),
    ],
)
def test_a_faulty_task_is_an_input_error(
    old: str, new: str, expected: str, tasks_folder: Path, source: str
):
    assert old in MINE
    with pytest.raises(InputError) as caught:
        load_mine(tasks_folder, source, MINE.replace(old, new), trust_code=True)
    assert expected in caught.value.what
    assert caught.value.exit_code == 3


def test_a_broken_include_is_named_with_its_line(tasks_folder: Path, source: str):
    (tasks_folder / "base.yml").write_text("a: 1\nb: [\n")
    with pytest.raises(InputError, match=r"base\.yml:3: not valid YAML"):
        load_mine(tasks_folder, source, MINE.replace("task: mine", "include: base.yml\ntask: mine"))


def test_faults_of_the_data_come_through(tasks_folder: Path, tmp_path: Path):
    (tmp_path / "broken.jsonl").write_text('{"text": "t", "label": 1}\n{"text": \n')
    with pytest.raises(InputError, match=r"broken\.jsonl:2: not JSON"):
        load_mine(tasks_folder, str(tmp_path / "broken.jsonl"))


def test_whole_prompts_as_choices_and_rolling_text_are_not_trained_on(
    tasks_folder: Path, source: str
):
    prompts = MINE.replace('"{{text}}?"', "label").replace(
        "doc_to_target: label", "doc_to_target: text"
    )
    (problem,) = task_training_problems(load_mine(tasks_folder, source, prompts))
    assert "its choices are whole prompts" in problem.what
    rolling = MINE.replace("multiple_choice", "loglikelihood_rolling").replace(
        "doc_to_target: label", "doc_to_target: text"
    )
    rolling = rolling.replace(
        'doc_to_choice: ["no", "yes"]\n',
        "process_results: !function ft_harness.metrics.score_text_ppl\n",
    )
    lines = ", ".join(
        f"{{metric: {name}, aggregation: !function ft_harness.metrics.aggregate_{name}, higher_is_better: false}}"
        for name in ("token_ppl", "byte_ppl", "char_ppl")
    )
    rolling = rolling.replace("metric: acc, aggregation: mean, higher_is_better: true", lines[1:-1])
    (problem,) = task_training_problems(load_mine(tasks_folder, source, rolling))
    assert "its output_type is loglikelihood_rolling" in problem.what


def of_file(path: Path) -> TaskDefinition:
    return TaskDefinition(path.stem, TaskReader().follow(path))


def test_the_hash_follows_includes_and_forgets_comments(tmp_path: Path):
    base, task = tmp_path / "base.yml", tmp_path / "mine.yaml"
    base.write_text("doc_to_text: a\n")
    task.write_text("include: base.yml\ntask: mine\n")
    before = of_file(task).task_hash
    task.write_text("# a comment\ntask: mine\ninclude: [base.yml]\n")
    assert of_file(task).task_hash == before
    base.write_text("doc_to_text: b\n")
    assert of_file(task).task_hash != before


def test_the_hash_follows_the_code_of_the_tasks_functions(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("task: mine\nprocess_results: !function score.score\n")
    (tmp_path / "score.py").write_text("def score(doc, results): return {'acc': 1.0}\n")
    before = of_file(tmp_path / "mine.yaml").task_hash
    (tmp_path / "score.py").write_text("def score(doc, results): return {'acc': 0.0}\n")
    assert of_file(tmp_path / "mine.yaml").task_hash != before


def write_scored(folder: Path, metric: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(
        "task: mine\ncustom_dataset: !function ft_harness.data.load_splits\ndoc_to_text: a\n"
        f"metric_list: [{{metric: {metric}}}]\n"
    )
    return path


def test_metrics_are_part_of_a_scores_identity_and_not_of_an_adapters(tmp_path: Path):
    path = write_scored(tmp_path, "exact_match")
    scored, trained = of_file(path).task_hash, of_file(path).training_hash
    write_scored(tmp_path, "token_f1")
    assert of_file(path).task_hash != scored
    assert of_file(path).training_hash == trained
    path.write_text(path.read_text().replace("doc_to_text: a", "doc_to_text: b"))
    assert of_file(path).training_hash != trained


def test_a_metrics_version_is_part_of_a_scores_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_scored(tmp_path, "exact_match")
    scored, trained = of_file(path).task_hash, of_file(path).training_hash
    monkeypatch.setitem(
        registry._METRICS, "exact_match", replace(find_metric("exact_match"), version=99)
    )
    assert of_file(path).task_hash != scored
    assert of_file(path).training_hash == trained


def test_the_loaders_version_is_part_of_both_identities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = write_scored(tmp_path, "exact_match")
    scored, trained = of_file(path).task_hash, of_file(path).training_hash
    monkeypatch.setattr(definition, "LOADER_VERSION", 99)
    assert of_file(path).task_hash != scored
    assert of_file(path).training_hash != trained


def test_our_own_source_is_no_part_of_an_identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_scored(tmp_path, "exact_match")
    hashed: list[Path] = []
    monkeypatch.setattr(definition, "sha256_file", lambda file: hashed.append(file) or "0")
    assert of_file(path).task_hash != of_file(path).training_hash
    assert hashed == []


def test_metrics_that_score_label_gives_must_be_listed(tasks_folder: Path, source: str):
    text = MINE + "process_results: !function ft_harness.metrics.score_label\n"
    with pytest.raises(
        InputError, match=r"leaves out: .*precision_no, recall_no, f1_no, precision_yes"
    ):
        load_mine(tasks_folder, source, text)


def test_the_list_of_tasks_follows_includes(tasks_folder: Path):
    listed = {entry["task"]: entry for entry in list_tasks(str(tasks_folder))}
    assert set(listed) == {*NAMES, "mine"}
    assert listed["sst2_stories_custom"] == {
        "task": "sst2_stories_custom",
        "output": "multiple_choice",
        "data": "stanfordnlp/sst2",
        "file": "sst2_stories_custom.yaml",
    }
    assert listed["mine"]["data"] == "-"


@pytest.mark.parametrize(
    ("include", "code", "words"),
    [
        ("5", 3, "include is 5"),
        ("{a: b}", 3, "include is"),
        ("[[a.inc]]", 3, "include is"),
        (r'"a\0b"', 3, "include is"),
        ("x0.inc", 3, "more than 200 includes"),
    ],
)
def test_includes_of_other_kinds(
    include: str, code: int, words: str, ft: Any, tmp_path: Path, small_index: None
):
    """The last one doubles at each level: a few lines would be read a million times."""
    folder = tmp_path / "t"
    folder.mkdir()
    for level in range(20):
        (folder / f"x{level}.inc").write_text(f"include: [x{level + 1}.inc, x{level + 1}.inc]\n")
    (folder / "x20.inc").write_text("metadata: {a: 1}\n")
    (folder / "a.yaml").write_text(f"task: a\ninclude: {include}\n")
    found, _, err = ft("check", "a", "--include-path", "t")
    assert found == code, err
    assert_three_lines(err, words)


@pytest.mark.parametrize("number", [0, 1, 99999])
def test_a_number_as_prompt(number: int, ft: Any, tmp_path: Path, small_index: None, reviews: Path):
    folder = tmp_path / "t"
    folder.mkdir()
    (folder / "a.yaml").write_text(
        f"task: a\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {reviews}/test.jsonl}}}}\n"
        "test_split: test\noutput_type: multiple_choice\ndoc_to_target: label\n"
        f"doc_to_choice: [positive, negative]\ndoc_to_text: '{{{{ {number} }}}}'\n"
    )
    code, _, err = ft("check", "a", "--include-path", "t")
    assert code == 3, err
    assert_three_lines(err, "doc_to_text gives a number")
