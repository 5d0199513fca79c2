"""Models without an adapter: shots x prompts x decodings, over sampled repeats of one protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from ft_harness import stats
from ft_harness.comparison.primary import find_primary
from ft_harness.errors import InputError
from ft_harness.metrics import find_metric
from ft_harness.records import Evaluation, Frozen, Record
from ft_harness.records.score_table import read_outcomes

# settings that a repeat of one protocol draws anew: the seed, and what it samples
_DRAWN = ("seed", "sample_seed", "data_hash", "fewshot_hash")


class Untuned(Frozen):
    """One model in one protocol: the task's primary metric over the repeats with other seeds."""

    subject: str
    task: str
    split: str
    metric: str
    num_fewshot: int
    prompt: str = Field(default="", description="of the first item of the first repeat")
    settings: dict[str, Any] = Field(description="of the first repeat, its seed left out")
    eval_ids: list[str]
    recipes: list[dict[str, Any] | None] = Field(
        default=[], description="what asked for each repeat; null: not known"
    )
    seeds: list[int | None] = Field(description="eval.seed of each repeat")
    values: list[float | None]
    n: int = Field(description="items of a repeat, the fewest")
    mean: float | None
    low: float | None = Field(
        description="lower end of the 95 % interval: of the score, for one repeat; of the mean, "
        "for other seeds and other items alike, for several on the same items; else null"
    )
    high: float | None
    deviation: float | None = Field(description="standard deviation over the repeats; null: one")


def find_untuned(evaluations: Sequence[Evaluation], metrics: Sequence[str] = ()) -> list[Untuned]:
    """The protocols of these base models, each with its repeats.

    Args:
        metrics: candidates to lead; if none was scored, the primary metric leads.

    Raises:
        InputError: samples can't be read.
    """
    # An evaluation without a score has nothing to show.
    groups: defaultdict[str, list[Evaluation]] = defaultdict(list)
    for evaluation in evaluations:
        if evaluation.record.scores:
            groups[_protocol(evaluation.record)].append(evaluation)
    found = [_summarize(group, metrics) for group in groups.values()]
    return sorted(found, key=lambda each: (each.task, each.split, each.subject, each.num_fewshot))


def _protocol(record: Record) -> str:
    """What repeats have in common."""
    settings = record.settings.model_dump()
    kept = {key: value for key, value in settings.items() if key not in _DRAWN}
    model = record.model
    filtered = record.foreign.filter if record.foreign else None
    whose = record.subject, model.identity, model.dtype, model.quantization
    return repr((whose, filtered, sorted(kept.items())))


def _summarize(group: Sequence[Evaluation], metrics: Sequence[str]) -> Untuned:
    records = [evaluation.record for evaluation in group]
    first = records[0]
    scored = {score.metric: score for score in first.scores}
    outcomes = [read_outcomes(evaluation) for evaluation in group]
    targets = outcomes[0].texts.column("target").to_pylist()
    metric = next((name for name in metrics if name in scored), None) or find_primary(
        list(scored), first.primary_metric, targets
    )
    scores = [
        next((score for score in record.scores if score.metric == metric), None)
        for record in records
    ]
    values = [score.value if score else None for score in scores]
    known = [value for value in values if value is not None]
    own = scored[metric].low, scored[metric].high
    # The interval of the one score is its own; of several it must be of their mean.
    low, high = own if len(group) == 1 else (None, None)
    same_items = len({record.settings.data_hash for record in records}) == 1
    if same_items and len(known) == len(group) > 1:
        low, high = interval_of_mean(metric, values, [each.statistics(metric) for each in outcomes])
        # Repeats that drew other items each have no common units: their deviation is shown, and no
        # interval.
        low, high = own if low == high else (low, high)  # no repeat differs, and no item
    # The seeds are listed by themselves; all other settings are those of every repeat.
    settings = {
        key: value
        for key, value in first.settings.model_dump().items()
        if key not in ("seed", "sample_seed")
    }
    return Untuned(
        subject=first.subject,
        task=first.settings.task,
        split=first.settings.split,
        metric=metric,
        num_fewshot=first.settings.num_fewshot,
        prompt=next((sample.prompt for sample in group[0].samples()), ""),
        settings=settings | {"filter": first.foreign.filter if first.foreign else None},
        eval_ids=[record.eval_id for record in records],
        recipes=[record.recipe for record in records],
        seeds=[record.settings.seed for record in records],
        values=values,
        n=min(score.n if score else 0 for score in scores),
        mean=float(np.mean(known)) if known else None,
        low=low,
        high=high,
        deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
    )


def interval_of_mean(
    metric: str, values: Sequence[float | None], statistics: Sequence[Any]
) -> tuple[float | None, float | None]:
    """The interval of an untuned model's mean over repeats on the same items; undefined if the
    items differ."""
    try:
        aggregate = find_metric(metric).aggregate
    except InputError:  # another program's metric, of which only the value is known
        return None, None
    # An item without a score in one repeat would have to be taken out of all.
    if any(np.isnan(each).any() for each in statistics):
        return None, None
    influences = np.array([stats.influence(each, aggregate) for each in statistics])
    spread = stats.seed_spread(np.array(values, dtype=np.float64), influences)
    return spread.interval if spread and spread.interval else (None, None)
