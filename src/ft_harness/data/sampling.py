"""Which rows make train, validation and test: pure functions of (sizes, labels, groups, options) on
row numbers.

Splits are disjoint by construction and the same in every process: a draw depends on `data.seed`,
the split's name and the rows it draws from, and on nothing else. A sample keeps the order of the
source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ft_harness.data.files import SPLITS, Split
from ft_harness.data.options import DataOptions, Size
from ft_harness.errors import InputError

DERIVED_SHARE = 0.1
_GROUP_DRAWS = 100
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """What sampling knows of the rows from which splits are made.

    Attributes:
        rows: row numbers of each split of the source, ascending; a split it lacks is absent or
            empty.
        labels: label code of each row [N]; needed by `stratified` and `balanced` only.
        label_names: the label of each code.
        groups: group code of each row [N]; needed by `group_by` only.
    """

    rows: Mapping[Split, Indices]
    labels: Indices | None = None
    label_names: Sequence[Any] = ()
    groups: Indices | None = None


def sample_splits(pool: Pool, options: DataOptions) -> dict[Split, Indices]:
    """Row numbers of train, validation and test, ascending; disjoint.

    `options.split` divides one pool (the source's train split, else its first) by percentages;
    without it, splits that the source lacks are carved out of its first one. The sizes then sample
    from each split.

    Raises:
        InputError: impossible sizes, a class too small for a balanced sample, or an empty
            split.
    """
    donor = next(split for split in SPLITS if len(pool.rows.get(split, ())))
    if options.split:
        pools, whole = _divide(pool, pool.rows[donor], options), set[Split]()
    else:
        pools, whole = _derive_missing(pool, donor, options)
    sampled: dict[Split, Indices] = {}
    for split, rows in pools.items():
        if options.split and not options.shares()[split]:
            sampled[split] = rows
            continue
        total = (
            len(rows) if options.split else len(pool.rows.get(split, ())) or len(pool.rows[donor])
        )
        size = None if split in whole else options.size(split)
        sampled[split] = _sample(pool, rows, (size, total), split, options)
        if not len(sampled[split]):
            raise InputError(
                f"the split {split} is empty",
                "at least one row in each split",
                "check data.*_size, data.split and data.group_by",
            )
    return sampled


def _divide(pool: Pool, rows: Indices, options: DataOptions) -> dict[Split, Indices]:
    """The splits of `options.split`: percentages of one pool, test and validation taken first,
    train the rest."""
    shares = options.shares()
    counts = dict(
        zip(SPLITS, largest_remainder([shares[split] for split in SPLITS], len(rows)), strict=True)
    )
    pools: dict[Split, Indices] = {}
    for split in ("test", "validation"):
        pools[split] = (
            _take_out(pool, rows, counts[split], split, options) if shares[split] else rows[:0]
        )
        rows = _without(rows, pools[split])
    return {"train": rows, "validation": pools["validation"], "test": pools["test"]}


def _derive_missing(
    pool: Pool, donor: Split, options: DataOptions
) -> tuple[dict[Split, Indices], set[Split]]:
    """Carve each missing split out of the donor; a missing train split receives what the donor
    leaves.

    Also gives the splits that are made of whole groups, whose sizes are met as closely as those
    allow.
    """
    pools = {split: pool.rows.get(split, np.empty(0, np.int64)) for split in SPLITS}
    total = len(pools[donor])
    whole: set[Split] = set()

    def carve(split: Split) -> Indices:
        size = DERIVED_SHARE if options.size(split) is None else options.size(split)
        taken = _take_out(pool, pools[donor], _count(size, total, split), split, options)
        pools[donor] = _without(pools[donor], taken)
        whole.update([split] if options.group_by else [])
        return taken

    for split in ("test", "validation"):
        if not len(pools[split]):
            pools[split] = carve(split)
    if not len(pools["train"]):
        kept = carve(donor)
        pools["train"], pools[donor] = pools[donor], kept
    return pools, whole


def _take_out(pool: Pool, rows: Indices, count: int, split: Split, options: DataOptions) -> Indices:
    """The rows of a derived split: the last ones with `first` (train comes first), whole groups
    with `group_by`."""
    if pool.groups is not None:
        return _whole_groups(pool.groups, rows, count, split, options)
    if options.first:
        return rows[max(len(rows) - count, 0) :]
    sized = options.size(split) is not None and not options.split
    if options.balanced and sized:
        return _balanced(
            pool, rows, _multiple(options.size(split), count, pool, split), split, options
        )
    return _draw(pool, rows, count, split, options)


def _sample(
    pool: Pool, rows: Indices, asked: tuple[Size, int], split: Split, options: DataOptions
) -> Indices:
    """The sample of one split that its size asks for; a share is a share of the total."""
    size, total = asked
    count = _count(size, total, split)
    if count > len(rows) and size is not None:
        raise InputError(
            f"data.{split}_size is {size}, but the other splits leave {len(rows)} of {total} rows",
            f"at most {len(rows)} rows",
            f"lower data.{split}_size or the sizes of the other splits",
        )
    if options.balanced:
        wanted = (
            _largest_balanced(pool, rows) if size is None else _multiple(size, count, pool, split)
        )
        return _balanced(pool, rows, wanted, split, options)
    return rows[:count] if options.first else _draw(pool, rows, count, split, options)


def _count(size: Size, total: int, split: Split) -> int:
    """Rows that a size asks for: a share of the total below 1, else a number."""
    if size is None:
        return total
    count = round(size * total) if isinstance(size, float) and size <= 1 else int(size)
    if not 0 < count <= total:
        raise InputError(
            f"data.{split}_size is {size}, which asks for {count} rows of {total}",
            f"1 to {total} rows, or a share below 1",
            f"change data.{split}_size",
        )
    return count


def _draw(pool: Pool, rows: Indices, count: int, split: Split, options: DataOptions) -> Indices:
    """A sample without replacement, or all; a pure function of (seed, split, rows)."""
    if count >= len(rows):
        return rows
    rng = _generator(split, options)
    if pool.labels is None:
        return np.sort(rng.permutation(rows)[:count])
    # Labels by their first row, so that the draw does not depend on how they are spelt.
    strata = _strata(pool.labels, rows)
    shares = largest_remainder([len(part) for part in strata], count)
    return np.sort(
        np.concatenate([rng.permutation(part)[:n] for part, n in zip(strata, shares, strict=True)])
    )


def _generator(split: Split, options: DataOptions) -> np.random.Generator:
    return np.random.default_rng((options.seed, SPLITS.index(split)))


def _without(rows: Indices, taken: Indices) -> Indices:
    gone = np.zeros(rows.max(initial=-1) + 1, dtype=bool)
    gone[taken] = True
    return rows[~gone[rows]]


def _strata(codes: Indices, rows: Indices) -> list[Indices]:
    """The rows of each code, in the order in which the codes appear first."""
    of_rows = codes[rows]
    by_code = np.argsort(of_rows, kind="stable")
    starts = np.flatnonzero(np.diff(of_rows[by_code])) + 1
    parts = np.split(by_code, starts)
    return (
        [rows[part] for part in sorted(parts, key=lambda part: int(part[0]))] if len(rows) else []
    )


def _class_sizes(pool: Pool, rows: Indices) -> Indices:
    """Rows of each label, in the order of `label_names`."""
    assert pool.labels is not None
    return np.bincount(pool.labels[rows], minlength=len(pool.label_names))


def _largest_balanced(pool: Pool, rows: Indices) -> int:
    """Rows of the largest sample with equally many of each label; at least one of each is asked
    for."""
    return max(1, int(_class_sizes(pool, rows).min())) * len(pool.label_names)


def _multiple(size: Size, count: int, pool: Pool, split: Split) -> int:
    """The count, if every label can have the same number of rows; a share is rounded down to such a
    count."""
    classes = len(pool.label_names)
    below = count - count % classes
    if isinstance(size, float) and below:
        return below
    if count % classes:
        raise InputError(
            f"data.{split}_size asks for {count} rows, "
            f"which {classes} labels can't share equally (data.balanced)",
            f"a multiple of {classes}, like {below or classes} or {below + classes}",
            f"change data.{split}_size",
        )
    return count


def _balanced(pool: Pool, rows: Indices, count: int, split: Split, options: DataOptions) -> Indices:
    """A seeded sample with equally many rows of each label."""
    assert pool.labels is not None
    each = count // len(pool.label_names)
    sizes = _class_sizes(pool, rows)
    short = [f"{name} has {n}" for name, n in zip(pool.label_names, sizes, strict=True) if n < each]
    if short:
        raise InputError(
            f"data.balanced: {split} needs {each} rows of each label, but {', '.join(short)}",
            f"at most {int(sizes.min()) * len(sizes)} rows",
            f"lower data.{split}_size, or leave data.balanced out",
        )
    rng = _generator(split, options)
    picks = [rng.permutation(part)[:each] for part in _strata(pool.labels, rows)]
    return np.sort(np.concatenate(picks))


def _whole_groups(
    groups: Indices, rows: Indices, count: int, split: Split, options: DataOptions
) -> Indices:
    """Whole groups with about `count` rows: the closest of 100 seeded draws (file order from the
    end with `first`).

    A draw goes through the groups in its order and takes each one that fits; the first that does
    not fit is added where that comes closer to the count.
    """
    parts = _strata(groups, rows)
    sizes = np.array([len(part) for part in parts])
    rng = _generator(split, options)
    best: tuple[int, list[int]] | None = None
    for _ in range(1 if options.first else _GROUP_DRAWS):
        order = np.arange(len(parts))[::-1] if options.first else rng.permutation(len(parts))
        chosen = _fill(sizes, order.tolist(), count, ordered=options.first)
        miss = abs(int(sizes[chosen].sum()) - count)
        if best is None or miss < best[0]:
            best = miss, chosen
        if not miss:
            break
    assert best is not None
    return np.sort(np.concatenate([parts[i] for i in best[1]])) if best[1] else rows[:0]


def _fill(sizes: Indices, order: Sequence[int], count: int, *, ordered: bool) -> list[int]:
    """Groups in this order that fit the count, at least one; `ordered` stops at the first that does
    not fit."""
    chosen: list[int] = []
    spare: int | None = None
    room = count
    for i in order:
        if sizes[i] <= room:
            chosen.append(i)
            room -= int(sizes[i])
        elif spare is None or (not ordered and sizes[i] < sizes[spare]):
            spare = i
        if not room or (ordered and spare is not None):
            break
    if room and spare is not None and (sizes[spare] - room < room or not chosen):
        chosen.append(spare)
    return chosen


def largest_remainder(groups: Sequence[int], count: int) -> list[int]:
    """Share out `count` rows: whole numbers proportional to the group sizes; ties go to the earlier
    group."""
    exact = [count * size / sum(groups) for size in groups]
    shares = [int(value) for value in exact]
    order = sorted(range(len(groups)), key=lambda i: exact[i] - shares[i], reverse=True)
    for i in order[: count - sum(shares)]:
        shares[i] += 1
    return shares
