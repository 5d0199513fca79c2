"""The entry points for lm-eval: nobody reads them in lm-eval 0.4.13; a later release does, which is
stood in for here by putting them into its registries as that release does."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import lm_eval
import pytest
from datasets import Dataset
from lm_eval import simple_evaluate
from lm_eval.api import registry
from lm_eval.tasks import TaskManager

from ft_harness.data import load_splits
from ft_harness.errors import InputError

REPOSITORY = Path(__file__).parents[2]
REGISTRIES = {
    "lm_eval.models": registry.model_registry,
    "lm_eval.filters": registry.filter_registry,
    "lm_eval.metrics": registry.metric_registry,
    "lm_eval.aggregations": registry.aggregation_registry,
}


def declared() -> list[EntryPoint]:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    groups = tomllib.loads(text)["project"]["entry-points"]
    return [
        EntryPoint(name, value, group)
        for group, entries in groups.items()
        for name, value in entries.items()
    ]


@pytest.fixture
def loader() -> Iterator[None]:
    """The registries as a release leaves them that has read the entry points: placeholders, which
    are imported when they are asked for."""
    before = {name: dict(each._objs) for name, each in REGISTRIES.items()}
    for entry in declared():
        held = REGISTRIES[entry.group]
        held._objs.pop(entry.name, None)
        held.register(entry.name, target=entry)
    yield
    for name, each in REGISTRIES.items():
        each._objs.clear()
        each._objs.update(before[name])


def test_all_four_groups_are_declared_and_lead_to_something():
    entries = declared()
    assert {entry.group for entry in entries} == REGISTRIES.keys()
    for entry in entries:
        assert callable(entry.load()), entry


def test_the_installed_lm_eval_reads_none():
    source = Path(lm_eval.__file__).parent / "api" / "registry.py"
    assert "entry_points(" not in source.read_text(encoding="utf-8"), "say so in docs/scoring.md"


def test_names_of_lm_evals_own_are_left_alone():
    for entry in declared():
        held = REGISTRIES[entry.group]
        assert entry.name not in held or held.get(entry.name).__module__.startswith("ft_harness")


def test_a_yaml_of_anybodys_uses_them(loader: None, model_folder: Path):
    docs = [{"q": "Is it good?", "a": "the film was good"}, {"q": "Is it bad?", "a": "x"}]
    task = {
        "task": "anybodys",
        "custom_dataset": lambda **_: {"test": Dataset.from_list(docs)},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "{{q}}",
        "doc_to_target": "{{a}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 4},
        "filter_list": [{"name": "cut", "filter": [{"function": "ft_cut_run_on"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "ft_token_f1", "aggregation": "ft_mean", "higher_is_better": True}],
    }  # fmt: skip
    found = simple_evaluate(
        model="ft-causal",
        model_args={"pretrained": str(model_folder)},
        device="cpu",
        tasks=[task],
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    value = found["results"]["anybodys"]["ft_token_f1,cut"]
    scores = [sample["ft_token_f1"] for sample in found["samples"]["anybodys"]]
    assert value == sum(scores) / 2
    assert 0 <= value <= 1


def test_the_filter_and_the_metric_do_what_they_say():
    by_name = {entry.name: entry.load() for entry in declared()}
    cut = by_name["ft_cut_run_on"]()
    assert cut.apply([["four\nQuestion: next"], ["five"]], [{}, {}]) == [["four"], ["five"]]
    # "the two cats" against "two dogs": one of two words each, F1 0.5; articles don't count
    assert by_name["ft_token_f1"](references=["two dogs"], predictions=["the two cats"]) == 0.5
    assert by_name["ft_mean"]([1.0, 0.0, 0.5, 0.5]) == 0.5


def test_an_error_names_the_option_of_whoever_asked(tmp_path: Path):
    (tmp_path / "test.csv").write_text("film,mood\ngood film,positive\n", encoding="utf-8")
    options = {
        "columns": {"text": ["text"], "label": ["label"]},
        "labels": ["negative", "positive"],
    }
    asked = {"data_source": str(tmp_path)}
    with pytest.raises(InputError) as ours:
        load_splits(options, test_all=True, **asked)
    assert "--metadata" not in ours.value.action
    with pytest.raises(InputError) as stock:  # lm-eval's own call has the model's arguments in it
        load_splits(options, test_all=True, pretrained="x", **asked)
    assert stock.value.action.endswith(
        "(lm_eval: --metadata data_columns=... data_column_names=...)"
    )
