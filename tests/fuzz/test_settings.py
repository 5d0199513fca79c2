"""Recipes, task YAMLs, adapter configurations and templates, as anybody may write them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ft_harness.errors import ConfigError
from ft_harness.models.adapters import configuration
from ft_harness.models.chat_templates import prompt_form
from ft_harness.models.lm_eval_private import tasks as lm_eval_private
from ft_harness.recipe import list_fields, load_recipe
from ft_harness.recipe.edits import edit, write_recipe
from ft_harness.recipe.sections import ModelSection, Recipe, TaskSection
from ft_harness.records.adapter_folder import AdapterFolder
from ft_harness.storage.strict_files import parse_yaml, read_yaml
from ft_harness.tasks.definition import TaskDefinition
from ft_harness.tasks.listing import TaskReader
from ft_harness.tasks.loading import load_tasks, task_training_problems
from ft_harness.tasks.rendering import render_field
from ft_harness.tasks.row_checks import check_rows
from tests.builders.tiny import write_jsonl
from tests.fuzz.inputs import changed, characters, damaged, json_bytes, texts, values, yaml_texts
from tests.fuzz.outcome import examples, outcome

pytestmark = pytest.mark.slow  # hundreds of inputs a test


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


# --- recipes --------------------------------------------------------------------------------------

RECIPE: dict[str, Any] = {
    "model": {"pretrained": "bundled", "dtype": "float32", "max_length": 128},
    "task": {"name": "demo_sentiment", "apply_chat_template": False},
    "data": {
        "source": "x.jsonl",
        "train_size": 48,
        "columns": {"text": ["t"]},
        "labels": ["a", "b"],
    },
    "adapter": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"], "rank_pattern": {"x": 2}},
    "train": {"num_train_epochs": 2, "save_steps": 2, "learning_rate": 1e-4, "seed": 1},
    "eval": {"splits": ["test"], "limit": 24, "num_fewshot": [0, 2], "primary_metric": "acc"},
    "sweep": {"train.seed": [0, 1]},
    "controls": {"tasks": ["demo_nli"]},
}


def read_again(recipe: Recipe) -> Recipe:
    return Recipe.model_validate(parse_yaml(write_recipe(recipe.written()))[0])


@examples(500)
@given(text=yaml_texts(RECIPE))
def test_a_recipe(text: str, folder: Path):
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    recipe = outcome(lambda: load_recipe(path))
    if recipe is not None:  # what is read is written so that it is read again
        assert outcome(lambda: read_again(recipe)) == recipe
        assert edit(text, recipe)


@examples(400)
@given(
    name=st.one_of(st.sampled_from([field.name for field in list_fields()]), texts),
    value=st.one_of(
        texts, values.map(str), st.sampled_from(["null", "[", "{a: 1}", "0x" + "f" * 5000])
    ),
)
def test_an_override(name: str, value: str, folder: Path):
    path = folder / "plain.yaml"
    path.write_text("task: {name: demo_sentiment}\n")
    outcome(lambda: load_recipe(path, [f"{name}={value}"]))


@examples(500)
@given(
    content=st.one_of(
        st.binary(max_size=60),
        damaged(b"task: {name: a}\ndata: &x {source: [b, 'c', \"d\"]}\neval: *x\n# end\n"),
        st.lists(
            st.sampled_from(
                [*"[]{}:,?-&*!|>'\"%@` #\n\t~", "a", "<<", "...", "---", "\\x", "!!int "]
            ),
            max_size=30,
        ).map(lambda parts: "".join(parts).encode()),
    )
)
def test_yaml_of_any_bytes(content: bytes, folder: Path):
    path = folder / "any.yaml"
    path.write_bytes(content)
    outcome(lambda: read_yaml(path, ConfigError))


# --- tasks ----------------------------------------------------------------------------------------

TASK: dict[str, Any] = {
    "task": "mine",
    "custom_dataset": "yaml of its own: loader",
    "dataset_kwargs": {"data": {"columns": {"text": [], "label": []}, "labels": ["no", "yes"]}},
    "training_split": "train",
    "validation_split": "validation",
    "test_split": "test",
    "fewshot_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}?",
    "doc_to_target": "label",
    "doc_to_choice": ["no", "yes"],
    "target_delimiter": " ",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "filter_list": [{"name": "f", "filter": [{"function": "regex", "regex_pattern": "(a)"}]}],
    "metadata": {"version": 1.0, "primary_metric": "acc", "cluster": "text"},
    "num_fewshot": 0,
    "description": "d",
}


@pytest.fixture(scope="module")
def rows(folder: Path) -> Path:
    for split, count in (("train", 6), ("validation", 3), ("test", 3)):
        write_jsonl(
            folder / "rows" / f"{split}.jsonl",
            [{"text": f"{split} {i}", "label": i % 2} for i in range(count)],
        )
    return folder / "rows"


@examples(150)
@given(text=yaml_texts(TASK))
def test_a_task(text: str, folder: Path, rows: Path):
    path = folder / "tasks" / "mine.yaml"
    path.parent.mkdir(exist_ok=True)
    loader = "!function ft_harness.data.load_splits"
    path.write_text(
        text.replace('"yaml of its own: loader"', loader), "utf-8", errors="surrogatepass"
    )

    def check() -> None:
        files = TaskReader().follow(path)
        task = TaskDefinition("mine", files, {"data_source": str(rows)})
        assert task.task_hash
        assert task.training_hash
        loaded = load_tasks(task, [split for split in task.splits if split != "train"])
        for each in loaded.values():
            task_training_problems(each)
        check_rows(loaded, privacy=True)

    outcome(check)


# --- templates ------------------------------------------------------------------------------------

_NAMES = ("text", "label", "messages", "messages[0]", "messages[0].content", "loop", "nobody", "x")
_ATOMS = (
    *_NAMES,
    "0",
    "1",
    "-1",
    "9999999",
    "''",
    "'a'",
    "'ab' * 5000000",
    "[]",
    "[text]",
    "{}",
    "none",
)
_FILTERS = (
    *(
        "length",
        "list",
        "join(text)",
        "replace('a', 'b' * 100000)",
        "upper",
        "center(9999999)",
        "int",
    ),
    *("batch(9999999, 1)", "tojson", "string", "sort", "reverse", "first", "round(400)", "float"),
    *(
        "wordwrap(1)",
        "indent(9999)",
        "truncate(-1)",
        "format(1, 2)",
        "attr('__class__')",
        "e",
        "sum",
    ),
    *("map('join')", "groupby(0)", "dictsort", "xmlattr", "urlize", "unique", "tojson(9999999)"),
    *("filesizeformat", "pprint", "slice(9999999)", "default(x)", "random", "abs", "max"),
)
_expressions = st.recursive(
    st.sampled_from(_ATOMS),
    lambda inner: st.one_of(
        st.tuples(
            inner, st.sampled_from(["*", "**", "+", "-", "/", "//", "%", "~", "in", "=="]), inner
        ).map(" ".join),
        st.tuples(inner, st.sampled_from(_FILTERS)).map(lambda pair: f"({pair[0]})|{pair[1]}"),
        st.tuples(
            inner, st.sampled_from(["[0]", "[text]", ".x", "()", ".__class__", "[::-1]", "(text)"])
        ).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.tuples(
            inner,
            st.sampled_from(
                ["join", "replace", "format", "expandtabs", "ljust", "split", "zfill", "encode"]
            ),
            inner,
        ).map(lambda three: f"({three[0]}).{three[1]}({three[2]}, {three[2]})"),
    ),
    max_leaves=5,
).map(lambda text: f"({text})")
_blocks = st.recursive(
    st.one_of(
        _expressions.map(lambda text: "{{ " + text + " }}"),
        _expressions.map(lambda text: "{% set x = " + text + " %}"),
        st.text(characters, max_size=5),
    ),
    lambda inner: st.one_of(
        st.tuples(_expressions, inner).map(lambda two: f"{{% if {two[0]} %}}{two[1]}{{% endif %}}"),
        st.tuples(_expressions, inner).map(
            lambda two: f"{{% for x in {two[0]} %}}{two[1]}{{% endfor %}}"
        ),
        inner.map(lambda text: f"{{% for x in range(99999) %}}{text}{{% endfor %}}"),
        inner.map(
            lambda text: f"{{% macro m(x) %}}{text}{{{{ m(x) }}}}{{% endmacro %}}{{{{ m(1) }}}}"
        ),
        inner.map(lambda text: f"{{% generation %}}{text}{{% endgeneration %}}"),
    ),
    max_leaves=4,
)
templates = st.one_of(
    st.lists(_blocks, min_size=1, max_size=3).map("".join),
    st.lists(
        st.sampled_from(["{{", "}}", "{%", "%}", "{#", "#}", "-", "x", "(", "|", " if ", "'"]),
        max_size=12,
    ).map("".join),
)


@examples(250)
@given(template=templates)
def test_a_template_of_a_task(template: str):
    env = lm_eval_private.utils.env
    doc = {"text": "a text\twith a tab", "label": 1, "messages": [{"content": "c"}]}
    outcome(
        lambda: render_field(
            "doc_to_text", lambda doc, _: env.from_string(template).render(**doc), doc, None
        )
    )


@examples(30)
@given(template=templates)
def test_a_chat_template(template: str, folder: Path, model_folder: Path):
    chat = folder / "chat"
    if not chat.exists():
        chat.mkdir()
        for path in model_folder.iterdir():
            if path.suffix == ".json":
                (chat / path.name).write_bytes(path.read_bytes())
    (chat / "chat_template.jinja").write_text(template, "utf-8", errors="ignore")
    assume((chat / "chat_template.jinja").read_text("utf-8"))
    section = TaskSection(name="x", apply_chat_template=True, system_instruction="s")

    def render() -> None:
        form = prompt_form(section, ModelSection(pretrained=str(chat)))
        assert form.chat_template is not None

    outcome(render)


# --- adapter configurations -----------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "lora_dropout": 0.0,
    "target_modules": ["q_proj", "v_proj"], "base_model_name_or_path": "bundled", "bias": "none",
    "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"v_proj": 4}, "modules_to_save": None,
    "auto_mapping": None, "revision": None, "inference_mode": True, "init_lora_weights": True,
    "layers_to_transform": [0], "layers_pattern": "layers", "use_rslora": False, "peft_version": "0.21",
    "exclude_modules": None, "target_parameters": None, "megatron_config": None, "use_dora": False,
    "loftq_config": {}, "fan_in_fan_out": False, "trainable_token_indices": None,
}  # fmt: skip


@examples(400)
@given(content=st.one_of(changed(CONFIG).map(json_bytes), damaged(json_bytes(CONFIG))))
def test_an_adapter_configuration(content: bytes, folder: Path):
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    (adapter / "adapter_config.json").write_bytes(content)
    (adapter / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")

    def read() -> None:
        found = AdapterFolder(adapter)
        for problem in configuration.problems(found):
            raise problem
        assert found.identity
        assert found.base_name
        configuration.peft_config(found)
        configuration.unread(found)

    outcome(read)
