"""Inputs that once raised something else than our errors, or took memory without end."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ft_harness.data import load_splits
from ft_harness.data.files import read_file
from ft_harness.errors import FtHarnessError
from ft_harness.models.adapters.configuration import peft_config
from ft_harness.models.base_model import load_tokenizer
from ft_harness.models.chat_templates import prompt_form
from ft_harness.models.heads import drawn_labels
from ft_harness.models.lm_eval_private import tasks as lm_eval_private
from ft_harness.publish import readme
from ft_harness.recipe import folders, load_recipe
from ft_harness.recipe.sections import ModelSection, TaskSection
from ft_harness.records import SAMPLES_FILE, SCORES_FILE, read_evaluation
from ft_harness.records.adapter_files import CARD_FILE, HISTORY_FILE, read_card, read_history
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.records.lm_eval.files import read_results
from ft_harness.records.score_table import check_whole, read_outcomes, write_scores
from ft_harness.storage.safetensors_file import read_header
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.mock_answers import _misfits
from ft_harness.tasks.row_checks import cluster_problems
from ft_harness.tasks.task_yaml import key_problems
from ft_harness.training import checkpoints, progress
from tests.builders.command import assert_three_lines
from tests.builders.records import label_samples, make_card, make_record, write_evaluation
from tests.builders.tiny import write_jsonl
from tests.fuzz.outcome import bounded

HUGE = "0x" + "f" * 5000  # Python refuses to write it in decimals


def refused(act: Callable[[], Any], *words: str) -> None:
    with bounded(), pytest.raises(FtHarnessError) as found:
        act()
    for word in words:
        assert word in str(found.value)


# --- recipes --------------------------------------------------------------------------------------


def test_a_number_that_cannot_be_written(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"task: {{name: a}}\neval: {{limit: {HUGE}}}\n")
    refused(lambda: load_recipe(path), "recipe.yaml:2", "thousand digits")


@pytest.mark.parametrize(
    "value",
    ["[!!int x]", "[" * 2000, "[2026-13-99]", f"[{HUGE}]", "{a: 1, a: 2}", "[!!python/x 1]"],
)
def test_an_override_that_is_no_yaml(value: str, tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text("task: {name: a}\n")
    refused(lambda: load_recipe(path, [f"eval.splits={value}"]), "eval.splits")


@pytest.mark.parametrize(
    "value",
    ["!!map [a]", "!!int ", "!!int x", "!!float x", "!!omap 1", "!!timestamp x", "!!set [a]"],
)
def test_a_value_that_its_tag_does_not_suit(value: str, tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"task: {value}\n")
    refused(lambda: load_recipe(path), "recipe.yaml")


def test_a_list_of_choices_of_other_types(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text("task: mine\ndoc_to_choice: [[no, no], -2, {a: b}]\n")
    files = TaskReader().follow(path)
    (problem, *_) = key_problems(files[-1])
    assert "mine.yaml:2: doc_to_choice" in problem.what


@pytest.mark.parametrize("key", ["metadata", "metric_list"])
@pytest.mark.parametrize("value", [".nan", "{note: .nan}", "{note: !!binary aGk=}", "!!set {a}"])
def test_a_task_with_a_value_that_json_lacks(key: str, value: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"task: mine\n{key}: {value}\n")
    task = TaskDefinition("mine", TaskReader().follow(path))
    refused(lambda: task.task_hash, "mine.yaml")


def test_a_cluster_that_is_a_list():
    task = SimpleNamespace(
        config=SimpleNamespace(task="mine", metadata={"cluster": ["a"]}), eval_docs=[{"a": 1}]
    )
    (problem,) = cluster_problems(task)
    assert "metadata.cluster is ['a']" in problem.what


# --- data -----------------------------------------------------------------------------------------

PARAGRAPH = {"context": "c", "qas": [{"id": "1", "question": "q", "answers": [{"text": "a"}]}]}
QUESTIONS: dict[str, Any] = {
    "questions are a text": {"context": "c", "qas": "abc"},
    "a question is a number": {"context": "c", "qas": [1]},
    "an answer is a list": {
        "context": "c",
        "qas": [{"id": "1", "question": "q", "answers": [{"text": [["a"]]}]}],
    },
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_squad_file_of_another_shape(name: str, tmp_path: Path):
    path = tmp_path / "squad.json"
    articles = [{"title": "t", "paragraphs": [PARAGRAPH, QUESTIONS[name]]}]
    path.write_text(json.dumps({"data": articles}))
    refused(lambda: list(read_file(path)), "squad.json, article t, paragraph 2")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
        pa.array([2**62], pa.timestamp("ms")),
        pa.array([2**31 - 1], pa.date32()),
        pa.array([b"\xff"], pa.binary()).view(pa.string()),
    ],
    ids=["a key twice", "a time beyond the year 9999", "a day beyond it", "no UTF-8"],
)
def test_a_parquet_value_that_python_has_no_type_for(column: Any, tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": column}), path)
    refused(lambda: list(read_file(path)), "t.parquet")


def test_a_column_with_nul_in_its_name(tmp_path: Path):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"a\0b": "x", "c": n}) + "\n" for n in range(20)))
    refused(lambda: load_splits({"source": str(path)}), "NUL")


@pytest.mark.parametrize("encoding", ["x", "utf-32", "shift_jis"])
def test_xml_in_an_encoding_that_the_parser_does_not_know(encoding: str, tmp_path: Path):
    path = tmp_path / "t.xml"
    path.write_text(f"<?xml version='1.0' encoding='{encoding}'?><a><b>c</b></a>")
    refused(lambda: list(read_file(path)), "t.xml:1")


@pytest.mark.parametrize("encoding", ["idna", "punycode"])
def test_an_encoding_whose_faults_are_of_another_type(encoding: str, tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_bytes("xn--\u00e4.\u00fc-\u2028".encode())
    refused(lambda: load_splits({"source": str(path), "encoding": encoding}), "encoding")
    path = tmp_path / "t.csv"
    path.write_bytes(b"")
    refused(lambda: load_splits({"source": str(path), "encoding": encoding}))


@pytest.mark.parametrize("options", [{"\ud800": 1}, {"columns": {"text": [], "\ud800": None}}])
def test_half_a_character_in_the_name_of_an_option(options: Any, tmp_path: Path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a"}\n')
    refused(lambda: load_splits({"source": str(path), **options}), "data option")


MANY = [f"word {number}" for number in range(100_000)]


@pytest.mark.parametrize("name", ["names of columns", "keys of an object", "labels"])
def test_a_hundred_thousand_names_of_which_the_last_is_there_twice(name: str, tmp_path: Path):
    """Counting each among all takes minutes."""
    names = [*MANY, MANY[-1]]
    path = tmp_path / ("t.csv" if name == "names of columns" else "t.jsonl")
    path.write_text(
        {
            "names of columns": f"{','.join(names)}\n",
            "keys of an object": "{" + ", ".join(f'"{each}": 1' for each in names) + "}\n",
        }.get(name, '{"text": "a", "label": 1}\n')
    )
    data = {"source": str(path), **({"labels": names} if name == "labels" else {})}
    refused(lambda: load_splits(data), "word 99999")


def test_results_of_lm_eval_with_half_a_character(tmp_path: Path):
    path = tmp_path / "results_x.json"
    path.write_text(json.dumps({"results": {"\ud800": None}}))
    with pytest.raises(ValueError, match="half a character"):
        read_results(path)
    path.write_text(json.dumps({"results": {"\U0001f600": None}}))
    assert [*read_results(path)["results"]] == ["\U0001f600"]


def test_a_metric_without_an_aggregation():
    task = SimpleNamespace(aggregation=dict, config=SimpleNamespace(task="mine@test"))
    (fault,) = _misfits(task, "acc", {"acc": [1.0]})  # type: ignore[arg-type]  # all it asks for
    assert "no aggregation" in str(fault)


@pytest.mark.parametrize("names", [1, True, {"a": 1}, "ab", 0.5, None])
def test_names_of_labels_that_are_no_list_of_texts(names: Any, tmp_path: Path):
    path = tmp_path / "t.parquet"
    features = {"label": {"names": names, "_type": "ClassLabel"}, "text": {"dtype": "string"}}
    table = pa.table({"text": ["a", "b"] * 20, "label": [0, 1] * 20})
    note = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(note), path)
    data = {"source": str(path), "columns": {"text": [], "label": []}, "labels": ["no", "yes"]}
    assert len(load_splits(data)["train"]) > 0


@pytest.mark.parametrize("delimiter", ['"', "\n", "\r"])
def test_a_delimiter_that_no_reader_of_tables_takes(delimiter: str, tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    refused(lambda: load_splits({"source": str(path), "delimiter": delimiter}), "delimiter")


def test_a_quoted_cell_longer_than_any_line_may_be(tmp_path: Path):
    path = tmp_path / "t.csv"
    with path.open("w") as file:
        file.write('a,b\n"')
        file.writelines("x" * 999_999 + "\n" for _ in range(11))
    refused(lambda: list(read_file(path)), "t.csv:2")


# --- records and adapters -------------------------------------------------------------------------


@pytest.mark.slow  # unpacks until it is stopped
def test_a_line_that_unpacks_to_gigabytes(tmp_path: Path):
    folder = tmp_path / "small"
    write_evaluation(folder, make_record(None), label_samples([0, 1], [0, 0]))
    with gzip.open(folder / SAMPLES_FILE, "wb", 1) as file:
        for _ in range(3 << 10):
            file.write(b" " * (1 << 20))
    refused(lambda: check_whole(read_evaluation(folder)), SAMPLES_FILE)


PIPES: dict[str, Callable[[Path], Any]] = {
    "recipe.yaml": lambda path: load_recipe(path),
    "record.json": lambda path: read_evaluation(path.parent),
    CARD_FILE: lambda path: read_card(path.parent),
}


@pytest.mark.parametrize("name", PIPES)
def test_a_pipe_in_place_of_a_file(name: str, tmp_path: Path):
    os.mkfifo(tmp_path / name)
    refused(lambda: PIPES[name](tmp_path / name), name)


@pytest.mark.parametrize("metrics", [b"{", b"[]", b'{"acc": "nobody"}', b'{"acc": [1]}'])
def test_scores_whose_metadata_are_damaged(metrics: bytes, tmp_path: Path):
    """The samples are enough."""
    folder = tmp_path / "small"
    write_evaluation(folder, make_record(None), label_samples([0, 1], [0, 0]))
    evaluation = read_evaluation(folder)
    write_scores(evaluation)
    table = pq.read_table(folder / SCORES_FILE)
    known = {**table.schema.metadata, b"metrics": metrics}
    pq.write_table(table.replace_schema_metadata(known), folder / SCORES_FILE)
    with bounded():
        assert read_outcomes(evaluation).statistics("acc").shape[0] == 2


def test_a_pipe_in_place_of_samples(tmp_path: Path):
    folder = tmp_path / "small"
    write_evaluation(folder, make_record(None), label_samples([0, 1], [0, 0]))
    (folder / SAMPLES_FILE).unlink()
    os.mkfifo(folder / SAMPLES_FILE)
    refused(lambda: check_whole(read_evaluation(folder)), SAMPLES_FILE)


def test_a_pipe_in_place_of_a_history_is_none(tmp_path: Path):
    os.mkfifo(tmp_path / HISTORY_FILE)
    with bounded():
        assert read_history(tmp_path) == []


def test_a_card_whose_recipe_has_values_for_sections(tmp_path: Path):
    card = json.loads(make_card("a").model_dump_json()) | {"recipe": {"adapter": 1}}
    (tmp_path / CARD_FILE).write_text(json.dumps(card))
    refused(lambda: AdapterFolder(tmp_path).is_whole, CARD_FILE)


def test_a_list_of_several_types_in_an_adapters_configuration(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text('{"layers_to_transform": [0, "a"]}')
    (tmp_path / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    assert AdapterFolder(tmp_path).identity


@pytest.mark.parametrize("labels", ["{", "[1]", "3", "[" * 9999])
def test_labels_of_a_drawn_head_that_are_none(labels: str, tmp_path: Path):
    path = tmp_path / "head_init.safetensors"
    path.write_bytes(save({}, {"labels": labels}))
    refused(lambda: drawn_labels(path), path.name)


def test_settings_kept_in_a_recipe_that_are_too_deep(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(f"{folders._SET}{'[' * 99999}\n")
    with bounded():
        assert folders.kept_settings(tmp_path) == []


def test_a_model_card_whose_front_matter_is_no_yaml(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("---\na: !!map [a]\n---\ntext\n")
    refused(lambda: readme._read(path), "README.md")


def test_a_configuration_that_peft_refuses(tmp_path: Path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "task_type": "LORA"}')
    refused(lambda: peft_config(AdapterFolder(tmp_path)), "adapter_config.json", "task type")


@pytest.mark.parametrize(
    "content",
    [
        b'\xff\xfe{"step": 1}\n',
        b'{"step": 1, "setting": "micro_batch", "before": 8, "after": [[1]]}',
        b'{"step": 1, "setting": "micro_batch", "before": 8, "after": 0}',
    ],
)
def test_changes_of_a_training_that_are_none(content: bytes, tmp_path: Path):
    (tmp_path / progress.CHANGES_FILE).write_bytes(content)
    refused(lambda: progress.read_changes(tmp_path), progress.CHANGES_FILE)


def test_a_plan_of_a_training_that_is_none(tmp_path: Path):
    (tmp_path / checkpoints.PLAN_FILE).write_text('{"identity": {}, "execution": [1]}')
    with bounded():
        assert checkpoints._changes_since(tmp_path, {"processes": 2}, 1) == []


def test_metadata_of_tensors_that_are_no_texts(tmp_path: Path):
    """safetensors itself refuses them, when the weights are loaded."""
    text = b'{"__metadata__":{"a":0}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    refused(lambda: read_header(path), "__metadata__")


TENSOR = '"dtype": "F32", "shape": [1], "data_offsets": [0, 4]'
HEADERS: dict[str, str | bytes] = {
    "half a character in a field": f'{{"a": {{{TENSOR}, "\\ud800": null}}}}',
    "half a character in a name": f'{{"\\ud800": {{{TENSOR}}}}}',
    "half a character in metadata": f'{{"__metadata__": {{"a": "\\ud800"}}, "a": {{{TENSOR}}}}}',
    "half a character in its bytes": f'{{"\ud800": {{{TENSOR}}}}}'.encode(errors="surrogatepass"),
    "UTF-16": f'{{"a": {{{TENSOR}}}}}'.encode("utf-16"),
    "a byte order mark": f'\ufeff{{"a": {{{TENSOR}}}}}',
    "NaN": f'{{"a": {{{TENSOR}, "x": NaN}}}}',
    "a number without end": f'{{"a": {{{TENSOR}, "x": 1e400}}}}',
    "a list without end": f'{{"a": {{{TENSOR}, "x": {"[" * 200}{"]" * 200}}}}}',
    "-0": '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-0, 4]}}',
    "a text for a shape": '{"a": {"dtype": "F32", "shape": "", "data_offsets": [0, 4]}}',
    "an object for a shape": '{"a": {"dtype": "F32", "shape": {}, "data_offsets": [0, 4]}}',
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_safetensors_refuses(name: str, tmp_path: Path):
    header = HEADERS[name]
    content = header if isinstance(header, bytes) else header.encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content + bytes(4))
    with pytest.raises(SafetensorError), safe_open(path, "pt"):
        pass
    refused(lambda: read_header(path), path.name)


def test_a_configuration_in_another_encoding(tmp_path: Path):
    """PEFT reads UTF-8 alone."""
    path = tmp_path / "adapter_config.json"
    path.write_text('{"peft_type": "LORA"}', encoding="utf-16")
    refused(lambda: AdapterFolder(tmp_path).config, path.name)


@pytest.mark.parametrize("key", ["description", "gen_prefix"])
@pytest.mark.usefixtures("small_index")
def test_a_template_around_the_prompt_that_names_a_missing_field(key: str, ft: Any, tmp_path: Path):
    rows = [{"text": f"t {n}", "a": f"a{n}"} for n in range(20)]
    write_jsonl(tmp_path / "d.jsonl", rows)
    (tmp_path / "t").mkdir()
    (tmp_path / "t/mine.yaml").write_text(
        "task: mine\ncustom_dataset: !function ft_harness.data.load_splits\n"
        "dataset_kwargs: {data: {source: d.jsonl}}\ntraining_split: train\n"
        "validation_split: validation\ntest_split: test\noutput_type: generate_until\n"
        f'doc_to_text: text\ndoc_to_target: a\n{key}: "{{{{ nobody.x }}}}"\n'
        "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
    )
    code, _, err = ft("check", "mine", "--include-path", "t")
    assert code == 3, err
    assert_three_lines(err, "mine@train, row 0", key, "nobody")


def test_a_tokenizer_with_a_text_for_a_length(tmp_path: Path, model_folder: Path):
    for path in model_folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": "x"}))
    refused(lambda: load_tokenizer(ModelSection(pretrained=str(tmp_path))), str(tmp_path))


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "template",
    [
        "{% set a = 'a' * 200000 %}{{ (a|replace('a', a))|length }}",
        "{% set a = 'a' * 9000000 %}{{ [a] * 9000 }}",
        "{% set a = 'a' * 9000000 %}{{ ([a] * 9000)|join }}",
        "{% set a = '\\t' * 9000000 %}{{ a.expandtabs(9000)|length }}",
    ],
)
def test_a_template_that_makes_much_of_many(template: str):
    refused(lambda: lm_eval_private.utils.env.from_string(template).render(), "MemoryError")


@pytest.mark.parametrize("template", ["{{ 1 / 0 }}", "{{ [1] + 'a' }}", "{{ messages|sum }}"])
def test_a_chat_template_that_raises_what_python_does(
    template: str, tmp_path: Path, model_folder: Path
):
    for path in model_folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(template)
    section = TaskSection(name="x", apply_chat_template=True)
    refused(lambda: prompt_form(section, ModelSection(pretrained=str(tmp_path))), "chat template")
