"""A study as typed rows: what a report shows, before any of it is drawn or worded, and what tells its parts apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from ft_harness import sentences
from ft_harness.amounts import NONE
from ft_harness.cases import CaseSummary, ConfusionPair
from ft_harness.data_report import DataReport
from ft_harness.records import Card, Frozen, HistoryEntry, Record
from ft_harness.repeats import Repeats

TITLES = {
    "model": "Model",
    "task": "Task",
    "adapter": "Adapter",
    "shots": "Shots",
    "decoding": "Decoding",
    "input": "Input",
    "quantization": "Quantisation",
    "limit": "Items",
    "seed": "Training seed",
    "split": "Split",
    "metric": "Metric",
}
_ARROW = " -> "  # from base to tuned, where a study varies it
_ALWAYS = ("task", "split", "metric")
_SETTINGS = tuple(feature for feature in TITLES if feature not in _ALWAYS)  # columns where they vary
Verdict = Literal["improved", "worse", "no evidence"]
MOST_SHOWN = 30  # comparisons in figures, case sheets and confusion matrices; tables and files hold all
_MOST_STATED = 12  # comparisons that get a sentence each


class Row(Frozen):
    """One before/after number: an object of `rows.json`. Full precision; None where undefined."""

    task: str
    split: str
    metric: str
    base_subject: str
    tuned_subject: str | None
    base_settings: dict[str, Any]
    tuned_settings: dict[str, Any] | None
    base: float | None
    tuned: float | None = Field(description="null in the row of the majority class")
    delta: float | None = Field(description="tuned minus base")
    low: float | None = Field(description="lower end of the paired 95 % interval of delta")
    high: float | None
    p: float | None
    p_adjusted: float | None = Field(description="Holm over the primary rows; null for exploratory rows")
    primary: bool
    n: int
    verdict: Verdict | None
    n_clusters: int | None = Field(default=None, description="clusters that the n items make; null: each item alone")
    interval_method: str | None = None
    p_method: str | None = None
    n_items: int | None = Field(default=None, description="items that base or tuned has; null: n")
    footnotes: list[str] = Field(
        default=[], description="declared factors, accepted differences, and what could not be held against each other"
    )


class Comparison(Frozen):
    """One task on one split: base and tuned records, their rows, cases and sentence."""

    base: Record
    tuned: Record
    rows: list[Row] = Field(description="the majority class (classification), then one row a metric")
    detectable: float | None = Field(description="smallest difference of the primary metric found with 80 % power")
    sentence: str = Field(description="the plain sentence of the primary metric")
    cases: CaseSummary
    confusion: ConfusionPair | None = Field(
        default=None, description="gold against predicted labels; null: no classification"
    )
    without: Row | None = Field(
        default=None,
        description="the deciding metric without the items that also stand in the training split, exactly or nearly; "
        "null: there are none, or the adapter has no data report",
    )


class AdapterRun(Frozen):
    """One adapter: what it is made of, how its training went, and what its data is (None: not known)."""

    card: Card
    history: list[HistoryEntry]
    data: DataReport | None = None
    earlier: list[list[HistoryEntry]] = Field(
        default=[], description="histories of the card's lineage, in its order; one made elsewhere is empty"
    )


class Study(Frozen):
    """Everything a report shows."""

    name: str
    comparisons: list[Comparison] = Field(description="sorted by task, then test, validation, train")
    adapters: list[AdapterRun]
    notes: list[str] = Field(description="what a reader must know: overlap, invalid, truncated, mismatches allowed")
    command: str = Field(description="the command that makes this report again")
    repeats: list[Repeats] = Field(default=[], description="one for each recipe that was trained with several seeds")
    unread: list[str] = Field(default=[], description="files that should hold an evaluation and could not be read")

    def rows(self) -> list[Row]:
        """All rows, in the order of `rows.json`; those without overlapping items follow their comparison's."""
        return [
            row
            for comparison in self.comparisons
            for row in [*comparison.rows, *([comparison.without] if comparison.without else [])]
        ]

    def sentences(self) -> list[str]:
        """The sentence of each primary comparison, led by what tells it apart from others of its task; then those of
        recipes that were trained with several seeds.

        Of more comparisons than a reader takes in, first how many came out how, then the sentences of those with a
        verdict, as many as are read.
        """
        primary = [each for each in self.comparisons if any(row.primary for row in each.rows)]
        shown, counted = primary, []
        if len(primary) > _MOST_STATED:
            verdicts = [next(row.verdict for row in each.rows if row.primary) for each in primary]
            counted = [sentences.state_count(verdicts, _MOST_STATED)]
            judged = [e for e, verdict in zip(primary, verdicts, strict=True) if verdict in ("improved", "worse")]
            shown = judged[:_MOST_STATED]
        told = [", ".join(tell_apart(self, each)) for each in shown]
        stated = [f"{name}: {each.sentence}" if name else each.sentence for name, each in zip(told, shown, strict=True)]
        return counted + stated + [sentences.state_repeats(repeats) for repeats in self.repeats]


# --- what tells comparisons apart --------------------------------------------------------------------------------


def features_of(study: Study, comparison: Comparison, row: Row | None = None) -> dict[str, str]:
    """Feature -> value as text, of a comparison; with a row, its split and metric too."""
    record, arguments = comparison.tuned, _varied_arguments(_Same(study))
    after = _varied(record, arguments)
    before = _varied(comparison.base, arguments) if any(each.footnotes for each in comparison.rows) else after
    train: Any = recipe_of(study, comparison).get("train")
    found = {
        **{name: _both(before[name], after[name]) for name in before},
        "adapter": record.subject,
        "limit": "all" if record.settings.limit is None else str(record.settings.limit),
        "seed": str(train["seed"]) if isinstance(train, dict) and "seed" in train else NONE,
        "split": record.settings.split,
    }
    return found | ({"split": row.split, "metric": _metric_name(row)} if row else {})


def recipe_of(study: Study, comparison: Comparison) -> dict[str, Any]:
    """The recipe in the card of the tuned side; empty where it is not known."""
    return _recipes(_Same(study)).get(comparison.tuned.subject, {})


def _varied(record: Record, arguments: Mapping[str, Collection[str]]) -> dict[str, str]:
    """What a study may vary between base and tuned on purpose; `arguments` of generation are those that it varies."""
    settings = record.settings
    return {
        "model": record.model.pretrained,
        "task": settings.task,
        "shots": str(settings.num_fewshot),
        "decoding": _decoding(settings.generation_kwargs, arguments[settings.task]),
        "input": ", ".join(settings.text_fields) if settings.text_fields else "prompt",
        "quantization": record.model.quantization or "none",
    }


def _both(base: str, tuned: str) -> str:
    return tuned if base == tuned else f"{base}{_ARROW}{tuned}"


def _decoding(arguments: dict[str, Any], told: Collection[str]) -> str:
    """The arguments that tell one way of decoding from another; all, where there is but one way."""
    shown = [f"{key}={_show(value)}" for key, value in sorted(arguments.items()) if not told or key in told]
    return ", ".join(shown) or "as the task says"


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _metric_name(row: Row) -> str:
    return f"{row.metric}, majority class" if row.tuned_subject is None else row.metric


class _Same:
    """A study as a key: equal to itself alone, since comparing what is in it would take longer than what is cached."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def __hash__(self) -> int:
        return id(self.study)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.study is self.study


@lru_cache(maxsize=2)
def _recipes(key: _Same) -> dict[str, dict[str, Any]]:
    """Adapter -> the recipe in its card."""
    return {run.card.name: run.card.recipe for run in reversed(key.study.adapters)}


@lru_cache(maxsize=2)
def _varied_arguments(key: _Same) -> dict[str, set[str]]:
    """Task -> the arguments of generation that are not the same in all its evaluations."""
    found: dict[str, list[dict[str, str]]] = {}
    for comparison in key.study.comparisons:
        for settings in (comparison.base.settings, comparison.tuned.settings):
            shown = {name: _show(value) for name, value in settings.generation_kwargs.items()}
            if shown not in (ways := found.setdefault(settings.task, [])):
                ways.append(shown)
    return {
        task: {name for way in ways for name in way if len({each.get(name) for each in ways}) > 1}
        for task, ways in found.items()
    }


@lru_cache(maxsize=2)
def _known_values(key: _Same) -> dict[tuple[str, str, str], set[str]]:
    """(task, split, feature) -> its known values."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for comparison in key.study.comparisons:
        features = features_of(key.study, comparison)
        for name in _SETTINGS:
            values = found.setdefault((features["task"], features["split"], name), set())
            values |= {features[name]} - {NONE}
    return found


def varying(study: Study, task: str | None = None) -> list[str]:
    """The features of which several known values stand on one split of one task, of any task or of this one."""
    found = _known_values(_Same(study))
    several = {name for (of, _, name), values in found.items() if task in (None, of) and len(values) > 1}
    several |= {
        name for (of, _, name), values in found.items() if task in (None, of) and any(_ARROW in each for each in values)
    }
    return [name for name in _SETTINGS if name in several]


def name_of(study: Study, comparison: Comparison) -> str:
    """The task; with what tells its comparisons apart where there are several on one of its splits."""
    return ", ".join([features_of(study, comparison)["task"], *tell_apart(study, comparison)])


def tell_apart(study: Study, comparison: Comparison) -> list[str]:
    """What tells a comparison apart from others of its task, or its base from its tuned side; nothing where all is
    the same."""
    features = features_of(study, comparison)
    words = {"shots": "{}-shot", "limit": "{} items", "seed": "seed {}", "decoding": "decoding {}"}
    words |= {"input": "input {}", "quantization": "quantisation {}"}
    return [words.get(name, "{}").format(features[name]) for name in varying(study, features["task"])]
