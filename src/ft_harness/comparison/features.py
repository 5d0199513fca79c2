"""What distinguishes the comparisons of a study: the columns of its tables, the names in its
sentences."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ft_harness.comparison.amounts import NONE
from ft_harness.comparison.comparability import filter_of
from ft_harness.comparison.study import Comparison, Row, Study
from ft_harness.comparison.sweep_study import name_values
from ft_harness.records import Record

TITLES = {
    "model": "Model",
    "task": "Task",
    "adapter": "Adapter",
    "shots": "Shots",
    "decoding": "Decoding",
    "input": "Input",
    "quantization": "Quantisation",
    "limit": "Items",
    "filter": "Filter",
    "seed": "Training seed",
    "eval_seed": "Eval seed",
    "evaluation": "Evaluation",
    "split": "Split",
    "metric": "Metric",
}
_ARROW = " -> "  # from base to tuned, where a study varies it
_ALWAYS = ("task", "split", "metric")
# shown as columns where they vary
_SETTINGS = tuple(feature for feature in TITLES if feature not in _ALWAYS)
_WORDS = {
    "filter": "filter {}",
    "eval_seed": "eval seed {}",
    "shots": "{}-shot",
    "limit": "{} items",
    "seed": "seed {}",
    "decoding": "decoding {}",
    "input": "input {}",
    "quantization": "quantisation {}",
}
_SEEDS = {"train.seed": "seed", "eval.seed": "eval seed"}
_LAST_RESORT = "evaluation"  # shown only where nothing else distinguishes two comparisons


def features_of(study: Study, comparison: Comparison, row: Row | None = None) -> Mapping[str, str]:
    """Feature -> value as text for a comparison; with a row, also its split and metric."""
    found = _known_features(study).get(id(comparison)) or _find_features(study, comparison)
    return found | {"split": row.split, "metric": _metric_name(row)} if row else found


@lru_cache(maxsize=2)
def _known_features(study: Study) -> dict[int, dict[str, str]]:
    """The features of each comparison that the study holds, by its id: every table asks for
    them."""
    return {id(each): _find_features(study, each) for each in study.comparisons}


def _find_features(study: Study, comparison: Comparison) -> dict[str, str]:
    record, arguments = comparison.tuned, _varied_arguments(study)
    after = _varied(record, arguments)
    # A declared factor is footnoted in the rows; without any both sides have the same values.
    before = (
        _varied(comparison.base, arguments)
        if any(each.footnotes for each in comparison.rows)
        else after
    )
    train: Any = recipe_of(study, comparison).get("train")
    return {
        **{name: _both(before[name], after[name]) for name in before},
        **_chosen(record),
        "adapter": record.subject,
        "seed": str(train["seed"]) if isinstance(train, dict) and "seed" in train else NONE,
        "evaluation": record.eval_id,
        "split": record.settings.split,
    }


def recipe_of(study: Study, comparison: Comparison) -> dict[str, Any]:
    """The recipe whose fields are features: that in the card of the tuned side; empty where it is
    not known."""
    return _recipes(study).get(comparison.tuned.subject, {})


def _varied(record: Record, arguments: Mapping[str, Collection[str]]) -> dict[str, str]:
    """What a study may vary between base and tuned on purpose; `arguments` of generation are those
    that it varies."""
    settings = record.settings
    return {
        "model": record.model.pretrained,
        "task": settings.task,
        "shots": str(settings.num_fewshot),
        "decoding": _decoding(settings.generation_kwargs, arguments[settings.task]),
        "input": ", ".join(settings.text_fields) if settings.text_fields else "prompt",
        "quantization": record.model.quantization or "none",
    }


def _chosen(record: Record) -> dict[str, str]:
    """Settings that choose items, and answers among several."""
    return {
        "limit": "all" if record.settings.limit is None else str(record.settings.limit),
        "filter": filter_of(record) or "none",
        "eval_seed": NONE if record.settings.seed is None else str(record.settings.seed),
    }


def _both(base: str, tuned: str) -> str:
    return tuned if base == tuned else f"{base}{_ARROW}{tuned}"


def _decoding(arguments: dict[str, Any], varied: Collection[str]) -> str:
    """The arguments that distinguish ways of decoding; all, where there is only one way."""
    shown = [
        f"{key}={_show(value)}"
        for key, value in sorted(arguments.items())
        if not varied or key in varied
    ]
    return ", ".join(shown) or "as the task says"


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _metric_name(row: Row) -> str:
    return f"{row.metric}, {row.base_subject}" if row.tuned_subject is None else row.metric


@lru_cache(maxsize=2)
def _recipes(study: Study) -> dict[str, dict[str, Any]]:
    """Adapter -> the recipe in its card."""
    return {run.card.name: run.card.recipe for run in reversed(study.adapters)}


@lru_cache(maxsize=2)
def _varied_arguments(study: Study) -> dict[str, set[str]]:
    """Task -> the arguments of generation that are not the same in all its evaluations."""
    found: dict[str, list[dict[str, str]]] = {}
    for comparison in study.comparisons:
        for settings in (comparison.base.settings, comparison.tuned.settings):
            shown = {name: _show(value) for name, value in settings.generation_kwargs.items()}
            if shown not in (ways := found.setdefault(settings.task, [])):
                ways.append(shown)
    return {
        task: {name for way in ways for name in way if len({each.get(name) for each in ways}) > 1}
        for task, ways in found.items()
    }


@lru_cache(maxsize=2)
def _known_values(study: Study) -> dict[tuple[str, str, str], set[str]]:
    """(task, split, feature) -> its known values."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for comparison in study.comparisons:
        features = features_of(study, comparison)
        for name in _SETTINGS:
            values = found.setdefault((features["task"], features["split"], name), set())
            values |= {features[name]} - {NONE}
    return found


@lru_cache(maxsize=256)  # of the tasks of a big study
def varying(study: Study, task: str | None = None) -> Sequence[str]:
    """The features with several known values on one split of any task, or of this one. Together
    they tell all comparisons apart; where nothing else does, the evaluations' names are among
    them."""
    found = _known_values(study)
    # A value that is not known is no value of its own.
    several = {
        name
        for (of, _, name), values in found.items()
        if task in (None, of) and (len(values) > 1 or any(_ARROW in each for each in values))
    }
    # An evaluation's id says nothing to a reader, so that it is shown only where two lines would
    # else have the same name.
    shown = [name for name in _SETTINGS if name in several and name != _LAST_RESORT]
    # Two lines of one name would look like a repetition.
    twins = _have_twins(study, tuple(shown), task)
    return [*shown, _LAST_RESORT] if twins else shown


@lru_cache(maxsize=64)
def _have_twins(study: Study, shown: tuple[str, ...], task: str | None) -> bool:
    """Whether two comparisons of one task and split have equal values of the features shown."""
    keys = [
        tuple(features[name] for name in ("task", "split", *shown))
        for features in (features_of(study, each) for each in study.comparisons)
        if task in (None, features["task"])
    ]
    return len(set(keys)) < len(keys)


def name_of(study: Study, comparison: Comparison) -> str:
    """The task, and what distinguishes the comparison if its split has several."""
    return ", ".join([features_of(study, comparison)["task"], *tell_apart(study, comparison)])


def tell_apart(study: Study, comparison: Comparison) -> list[str]:
    """What distinguishes a comparison from others of its task, or its base from its tuned side;
    empty if nothing does."""
    named = _name_point(study, comparison)
    return [*named, *_words(study, comparison, within_adapter=bool(named))]


def name_protocol(study: Study, comparison: Comparison) -> list[str]:
    """What distinguishes a comparison from others of its adapter, task and split."""
    return _words(study, comparison, within_adapter=True)


def _words(study: Study, comparison: Comparison, *, within_adapter: bool) -> list[str]:
    features = features_of(study, comparison)
    vary = _varying_within_adapter if within_adapter else varying
    return [_word(name, features[name]) for name in vary(study, features["task"])]


@lru_cache(maxsize=256)
def _varying_within_adapter(study: Study, task: str) -> Sequence[str]:
    """The features that have several values on one split for one adapter."""
    found: dict[tuple[str, str, str], set[str]] = {}
    shown = varying(study, task)
    for comparison in study.comparisons:
        features = features_of(study, comparison)
        if features["task"] == task:
            for name in shown:
                key = comparison.tuned.subject, features["split"], name
                found.setdefault(key, set()).add(features[name])
    several = {name for (*_, name), values in found.items() if len(values) > 1}
    return [name for name in shown if name in several]


def name_tuned(study: Study, comparison: Comparison) -> str:
    """Name the tuned side: of a sweep by its setting and seeds, else by its subject."""
    return ", ".join(_name_point(study, comparison)) or comparison.tuned.subject


def _name_point(study: Study, comparison: Comparison) -> list[str]:
    """The setting and the seeds of the point that made an adapter; empty where that is not one."""
    points = study.sweep.points if study.sweep else ()
    found = [each for each in points if each.adapter == comparison.tuned.subject]
    if len(found) != 1:
        return []
    (point,) = found
    setting = [name_values(point.values)] if point.values else []
    return [*setting, *(f"{_SEEDS.get(name, name)} {seed}" for name, seed in point.seeds.items())]


def name_side(study: Study, record: Record) -> str:
    """Name an evaluation by its subject and by the features that vary in the study."""
    task = record.settings.task
    features = _varied(record, _varied_arguments(study)) | _chosen(record)
    shown = [_word(name, features[name]) for name in varying(study, task) if name in features]
    return ", ".join([record.subject, *shown])


def _word(name: str, value: str) -> str:
    """A value of a feature, with the feature's name where the value doesn't say it."""
    return _WORDS.get(name, "{}").format(value)
