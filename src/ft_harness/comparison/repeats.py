"""One recipe trained, or one adapter scored, with several seeds: the error that the seed adds to
that of the test set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ft_harness import stats
from ft_harness.records import Frozen, Record

_ITEMS = ("split", "data_hash", "sample_seed")  # settings that say which items were scored
_DRAWN = ("seed", "data_hash", "sample_seed", "fewshot_hash")  # that another eval.seed draws anew
_EXECUTION = ("batch_size", "device")


class Repeats(Frozen):
    """One recipe trained with several seeds, or one adapter scored with several, against the same
    base."""

    varied: Literal["training seed", "eval seed"] = "training seed"
    task: str
    split: str
    metric: str
    subjects: list[str]
    seeds: list[int]
    deltas: list[float] = Field(description="tuned minus base, of each seed")
    mean: float
    low: float | None = Field(
        description="lower end of the 95 % interval for other items and other seeds alike; null "
        "where the seeds were scored on different items"
    )
    high: float | None
    seed_deviation: float = Field(description="standard deviation of the deltas over the seeds")
    test_error: float | None = Field(
        description="standard error of the mean from the choice of test items alone"
    )
    units: int = Field(description="items, or clusters, that the errors rest on")
    elsewhere: list[str] = Field(
        default=[], description="adapters of other seeds that were not scored on this split"
    )


@dataclass(frozen=True, eq=False)
class Trained:
    """Of several seeds: the result of one training in one place.

    Attributes:
        recipe: of its card; None: not known.
        influence: [units], of each item (or cluster) on delta; None: undefined.
    """

    tuned: Record
    recipe: dict[str, Any] | None
    metric: str
    delta: float | None
    influence: NDArray[np.float64] | None


_Seed = Callable[[Trained], int | None]


def find_repeats(trained: Sequence[Trained]) -> list[Repeats]:
    """Group comparisons that differ only in `train.seed` (the scored items may differ), and those
    of one adapter that differ only in `eval.seed`.

    Seeds are put together split by split: test with test, and validation too where more seeds were
    scored there. A group in which a seed occurs twice stays out: its adapters must differ in
    something else.
    """
    measured = [each for each in trained if each.delta is not None and each.influence is not None]
    # A training size that varies changes the train split itself, and nobody asks how seeds differ
    # there.
    measured = [each for each in measured if each.tuned.settings.split != "train"]
    found: list[Repeats] = []
    for group in _group(measured, _training_key, _training_seed):
        by_split: defaultdict[str, list[Trained]] = defaultdict(list)
        for each in group:
            by_split[each.tuned.settings.split].append(each)
        # Test is read first: validation is stated too only where it knows of more seeds than test
        # does.
        most = 1
        for split in ("test", "validation"):
            if len(by_split[split]) > most:
                most = len(by_split[split])
                found += _summarize(by_split[split], group, "training seed")
    for group in _group(measured, _scoring_key, _eval_seed):
        found += _summarize(group, group, "eval seed")
    return found


def count_training_seeds(
    tuned: Record, repeats: Sequence[Repeats], *, has_card: bool
) -> int | None:
    """The number of training seeds with which this adapter's recipe was scored; None: no adapter,
    or one whose seed is not recorded."""
    # The files of another program say nothing of a training; its adapter's card may be found.
    if tuned.adapter is None or (tuned.foreign is not None and not has_card):
        return None
    of_training = (each for each in repeats if each.varied == "training seed")
    return max(
        (len(each.seeds) for each in of_training if tuned.subject in each.subjects), default=1
    )


def _group(
    trained: Sequence[Trained], key_of: Callable[[Trained], str], seed_of: _Seed
) -> list[list[Trained]]:
    groups: defaultdict[str, list[Trained]] = defaultdict(list)
    for each in trained:
        if seed_of(each) is not None:
            groups[key_of(each)].append(each)
    return list(groups.values())


def _training_seed(trained: Trained) -> int | None:
    seed = (trained.recipe or {}).get("train", {}).get("seed")
    return seed if isinstance(seed, int) else None


def _eval_seed(trained: Trained) -> int | None:
    return trained.tuned.settings.seed


def _training_key(trained: Trained) -> str:
    """The recipe without its seed and its scoring, and the protocol without the items."""
    scoring = ("eval", "controls")
    recipe = {key: value for key, value in (trained.recipe or {}).items() if key not in scoring}
    # Neither scoring nor controls make an adapter, so that they do not part the seeds of one
    # recipe.
    train = {key: value for key, value in recipe.get("train", {}).items() if key != "seed"}
    settings = trained.tuned.settings.model_dump(exclude={*_ITEMS, *_EXECUTION})
    if not trained.tuned.settings.num_fewshot:
        settings.pop("seed")  # nothing was drawn but, perhaps, the items
    return repr((settings, recipe | {"train": train}, trained.metric))


def _scoring_key(trained: Trained) -> str:
    settings = trained.tuned.settings.model_dump(exclude={*_DRAWN, *_EXECUTION})
    adapter = trained.tuned.adapter
    return repr((trained.tuned.subject, adapter and adapter.identity, settings, trained.metric))


def _summarize(
    group: Sequence[Trained],
    everywhere: Sequence[Trained],
    varied: Literal["training seed", "eval seed"],
) -> list[Repeats]:
    """One, or none where a seed occurs twice or there is but one."""
    seed_of = _training_seed if varied == "training seed" else _eval_seed
    seeds = [seed for each in group if (seed := seed_of(each)) is not None]
    # A seed that occurs twice means that something unrecorded differs, and a standard deviation
    # over it would be of that.
    if len(set(seeds)) < len(group) or len(group) < 2:
        return []
    deltas = np.array([each.delta for each in group], dtype=np.float64)
    influences = [each.influence for each in group if each.influence is not None]
    settings = group[0].tuned.settings
    same_items = len({each.tuned.settings.data_hash for each in group}) == 1
    # The two-way layout needs the same units in each row; items that one seed could not score
    # shorten its row.
    same_items = same_items and len({len(each) for each in influences}) == 1
    spread = stats.seed_spread(deltas, np.array(influences)) if same_items else None
    low, high = (spread.interval if spread else None) or (None, None)
    subjects = [each.tuned.subject for each in group]
    others = dict.fromkeys(each.tuned.subject for each in everywhere)
    return [
        Repeats(
            varied=varied,
            task=settings.task,
            split=settings.split,
            metric=group[0].metric,
            subjects=subjects,
            seeds=seeds,
            deltas=deltas.tolist(),
            mean=float(deltas.mean()),
            low=low,
            high=high,
            seed_deviation=float(deltas.std(ddof=1)),
            test_error=spread.test_error if spread else None,
            units=min(map(len, influences)),
            elsewhere=[name for name in others if name not in subjects],
        )
    ]
