"""Which rows make which split: sizes, classes and groups worked out by hand; disjoint, in the order
of the source."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from ft_harness.data.files import SPLITS
from ft_harness.data.options import DataOptions
from ft_harness.data.sampling import Pool, largest_remainder, sample_splits
from ft_harness.errors import InputError


def pool_of(
    train: int, validation: int = 0, test: int = 0, *, labels=None, names=(), groups=None
) -> Pool:
    """Row numbers go on from split to split."""
    ends = np.cumsum([0, train, validation, test])
    rows = {
        split: np.arange(ends[i], ends[i + 1])
        for i, split in enumerate(SPLITS)
        if ends[i] < ends[i + 1]
    }
    return Pool(
        rows,
        None if labels is None else np.array(labels, dtype=np.int64),
        names,
        None if groups is None else np.array(groups, dtype=np.int64),
    )


def sample(pool: Pool, **options) -> dict[str, list[int]]:
    return {
        split: rows.tolist() for split, rows in sample_splits(pool, DataOptions(**options)).items()
    }


def sizes(splits: dict[str, list[int]]) -> tuple[int, ...]:
    return tuple(len(splits[split]) for split in SPLITS)


def refused(expected: str, pool: Pool, **options) -> InputError:
    with pytest.raises(InputError) as caught:
        sample(pool, **options)
    assert expected in caught.value.what
    return caught.value


def two_classes(count: int, ones: int) -> dict:
    """Labels of `count` rows, `ones` of them 1, spread evenly."""
    return {
        "labels": [int((i + 1) * ones // count > i * ones // count) for i in range(count)],
        "names": ("no", "yes"),
    }


@pytest.mark.parametrize(
    ("split", "total", "counts"),
    [
        ("80/20", 100, (80, 0, 20)),
        ("70/10/20", 100, (70, 10, 20)),
        ("80/20", 67_349, (53_879, 0, 13_470)),  # SST-2's train file: 53,879.2 and 13,469.8
        ("70/10/20", 25_000, (17_500, 2_500, 5_000)),  # IMDB's
        (
            "70/10/20",
            33,
            (23, 3, 7),
        ),  # 23.1, 3.3, 6.6: the row left over goes to the largest remainder
        ("34/33/33", 10, (4, 3, 3)),  # 3.4, 3.3, 3.3
    ],
)
def test_shares_of_one_pool(split: str, total: int, counts: tuple[int, ...]):
    found = sample(pool_of(total), split=split)
    assert sizes(found) == counts
    assert sorted(found["train"] + found["validation"] + found["test"]) == list(range(total))
    assert all(rows == sorted(rows) for rows in found.values())
    assert found == sample(pool_of(total), split=split)
    assert found != sample(pool_of(total), split=split, seed=1)


def test_a_share_that_rounds_to_no_row_is_refused():
    refused(
        "the split test is empty", pool_of(50), split="99/1"
    )  # 49.5 and 0.5: the tie goes to the earlier split


def test_a_pool_is_the_train_file_and_other_files_are_not_used():
    assert (
        sample(pool_of(10, 5, 5), split="80/20")["test"]
        == sample(pool_of(10), split="80/20")["test"]
    )
    assert sizes(sample(pool_of(0, 10, 5), split="80/20")) == (
        8,
        0,
        2,
    )  # no train file: the first there is


def test_sizes_sample_from_each_derived_split():
    whole = sample(pool_of(1000), split="70/10/20")
    some = sample(
        pool_of(1000), split="70/10/20", train_size=100, validation_size=0.5, test_size=20
    )
    assert sizes(some) == (100, 50, 20)
    assert all(set(some[split]) < set(whole[split]) for split in SPLITS)
    refused(
        "data.test_size is 201, which asks for 201 rows of 200",
        pool_of(1000),
        split="70/10/20",
        test_size=201,
    )


def test_derived_shares_keep_the_labels_shares():
    pool = pool_of(100, **two_classes(100, 30))
    found = sample(pool, split="70/10/20", stratified=True)
    assert pool.labels is not None
    ones = {split: int(pool.labels[rows].sum()) for split, rows in found.items()}
    assert ones == {"train": 21, "validation": 3, "test": 6}  # 30 % of 70, 10 and 20


def test_the_write_ups_sizes():
    assert sizes(sample(pool_of(550_152, 10_000, 10_000), train_size=1000, validation_size=100, test_size=100)) == (
        1000, 100, 100,
    )  # fmt: skip
    pool = pool_of(25_000, 0, 25_000, **two_classes(50_000, 25_000))
    found = sample(pool, train_size=900, validation_size=100, test_size=2500, balanced=True)
    assert pool.labels is not None
    assert {split: int(pool.labels[rows].sum()) for split, rows in found.items()} == {
        "train": 450, "validation": 50, "test": 1250,
    }  # fmt: skip
    assert sizes(found) == (900, 100, 2500)
    assert not set(found["train"]) & set(found["validation"])
    assert max(found["validation"]) < 25_000 <= min(found["test"])


def test_first_rows_are_the_first_and_derived_splits_come_behind_them():
    assert sample(pool_of(20), first=True, train_size=5) == {
        "train": [0, 1, 2, 3, 4], "validation": [16, 17], "test": [18, 19],
    }  # fmt: skip
    assert sample(pool_of(10), first=True, split="70/10/20") == {
        "train": [0, 1, 2, 3, 4, 5, 6], "validation": [7], "test": [8, 9],
    }  # fmt: skip
    assert sample(pool_of(6, 4, 4), first=True, train_size=2, validation_size=0.5, test_size=3) == {
        "train": [0, 1], "validation": [6, 7], "test": [10, 11, 12],
    }  # fmt: skip
    assert sample(pool_of(10), first=True, validation_size=2, test_size=3, seed=1) == {
        "train": [0, 1, 2, 3, 4], "validation": [5, 6], "test": [7, 8, 9],
    }  # fmt: skip


def test_a_train_split_that_the_source_lacks_comes_first_too():
    assert sample(pool_of(0, 10, 2), first=True, validation_size=3) == {
        "train": [0, 1, 2, 3, 4, 5, 6], "validation": [7, 8, 9], "test": [10, 11],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "labels", "counts"),
    [
        (6, [0] * 8 + [1] * 4, {0: 3, 1: 3}),
        (8, [0] * 8 + [1] * 4, {0: 4, 1: 4}),
        (None, [0] * 8 + [1] * 4, {0: 4, 1: 4}),  # the largest there is
        (
            0.5,
            [0] * 8 + [1] * 5 + [0],
            {0: 3, 1: 3},
        ),  # half of 14 is 7: rounded down to a multiple of two
        (0.1, [0] * 20, None),
    ],
)
def test_balanced_samples_hold_equally_many(size, labels: list[int], counts: dict | None):
    pool = pool_of(len(labels), 4, 4, labels=[*labels, 0, 1, 0, 1, 0, 1, 0, 1], names=("no", "yes"))
    if counts is None:
        refused(
            "train needs 1 rows of each label, but yes has 0", pool, train_size=size, balanced=True
        )
        return
    found = sample(pool, train_size=size, balanced=True)
    assert pool.labels is not None
    assert Counter(pool.labels[found["train"]].tolist()) == counts
    assert found["train"] == sorted(found["train"])
    assert sizes(found)[1:] == (4, 4)


def test_a_class_that_is_too_small_is_named_with_its_rows():
    pool = pool_of(
        9, 3, 3, labels=[0, 0, 0, 0, 0, 1, 1, 2, 2, 0, 1, 2, 0, 1, 2], names=("a", "b", "c")
    )
    error = refused(
        "data.balanced: train needs 3 rows of each label, but b has 2, c has 2",
        pool,
        train_size=9,
        balanced=True,
    )
    assert error.expected == "at most 6 rows"
    error = refused(
        "asks for 7 rows, which 3 labels can't share equally", pool, train_size=7, balanced=True
    )
    assert error.expected == "a multiple of 3, like 6 or 9"
    refused("asks for 1 rows, which 3 labels", pool, train_size=0.1, balanced=True)


def test_a_class_without_rows_is_named_whatever_the_size():
    pool = pool_of(4, 2, 2, labels=[0] * 8, names=("no", "yes"))
    refused("train needs 1 rows of each label, but yes has 0", pool, balanced=True)


def test_a_balanced_split_of_a_given_size_is_derived_balanced():
    """10 of 100 rows are 1: a validation split of 10 takes 5 of them, and leaves 5 for train."""
    pool = pool_of(
        100, 0, 10, labels=[i % 10 == 0 for i in range(100)] + [0, 1] * 5, names=("no", "yes")
    )
    found = sample(pool, balanced=True, validation_size=10, train_size=10)
    assert pool.labels is not None
    assert [Counter(pool.labels[found[split]].tolist()) for split in SPLITS] == [{0: 5, 1: 5}] * 3
    assert sizes(sample(pool, balanced=True, validation_size=0.1, train_size=10)) == (10, 10, 10)


def test_a_number_that_the_other_splits_do_not_leave_is_refused():
    error = refused(
        "data.train_size is 9, but the other splits leave 8 of 10 rows",
        pool_of(10),
        train_size=9,
    )
    assert error.expected == "at most 8 rows"
    refused(
        "data.train_size is 0.9, but the other splits leave 8 of 10 rows",
        pool_of(10),
        train_size=0.9,
    )
    assert sizes(sample(pool_of(10), train_size=0.8)) == (8, 1, 1)


def test_a_balanced_split_can_be_derived_from_unequal_classes():
    """90 and 10 rows: the derived tenths hold 9 and 1, of which 1 and 1 make the largest balanced
    sample."""
    pool = pool_of(100, **two_classes(100, 10))
    found = sample(pool, balanced=True)
    assert pool.labels is not None
    counts = {split: Counter(pool.labels[rows].tolist()) for split, rows in found.items()}
    assert counts == {"train": {0: 8, 1: 8}, "validation": {0: 1, 1: 1}, "test": {0: 1, 1: 1}}


def test_whole_groups_make_the_share_where_they_can():
    groups = [0] * 50 + [1] * 30 + [2] * 20  # 20 % is group 2, whatever is drawn first
    found = sample(pool_of(100, groups=groups), split="80/20", group_by="title")
    assert found["test"] == list(range(80, 100))
    found = sample(pool_of(100, groups=groups), split="50/30/20", group_by="title", seed=7)
    assert sizes(found) == (50, 30, 20)


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_cut_and_the_share_is_missed_by_less_than_a_group(seed: int):
    draw = np.random.default_rng(seed)
    groups = draw.permutation(np.repeat(np.arange(40), draw.integers(1, 60, 40)))  # interleaved
    total = len(groups)
    found = sample(pool_of(total, groups=groups), split="70/10/20", group_by="title", seed=seed)
    parts = [set(groups[found[split]].tolist()) for split in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 40
    assert sorted(found["train"] + found["validation"] + found["test"]) == list(range(total))
    for split, share in zip(SPLITS, (0.7, 0.1, 0.2), strict=True):
        assert abs(len(found[split]) - share * total) <= 3
    assert found == sample(
        pool_of(total, groups=groups), split="70/10/20", group_by="title", seed=seed
    )


@pytest.mark.parametrize(
    ("asked", "test"),
    [
        (12, 10),  # groups of 10, 10 and 10: one is closer to 12 than two
        (16, 20),  # two are closer to 16
        (1, 10),  # never none
    ],
)
def test_a_size_is_met_as_closely_as_whole_groups_allow(asked: int, test: int):
    pool = pool_of(30, 4, groups=[0] * 10 + [1] * 10 + [2] * 10 + [3] * 4)
    assert len(sample(pool, test_size=asked, group_by="title")["test"]) == test


def test_groups_in_file_order_with_first():
    groups = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert sample(pool_of(10, groups=groups), first=True, split="60/20/20", group_by="title") == {
        "train": [0, 1, 2, 3, 4], "validation": [5, 6, 7], "test": [8, 9],
    }  # fmt: skip


def test_sizes_of_a_grouped_split_sample_rows_and_a_balanced_one_is_balanced():
    labels = [0, 1, 1] * 30
    pool = pool_of(90, groups=[i // 9 for i in range(90)], labels=labels, names=("no", "yes"))
    found = sample(pool, split="80/20", group_by="title", train_size=10, balanced=True)
    assert pool.labels is not None
    assert [Counter(pool.labels[found[split]].tolist()) for split in ("train", "test")] == [
        {0: 5, 1: 5},
        {0: 6, 1: 6},
    ]
    found = sample(pool, test_size=18, group_by="title", balanced=True)
    assert Counter(pool.labels[found["test"]].tolist()) == {0: 6, 1: 6}


def test_too_few_groups_leave_a_split_empty():
    error = refused(
        "the split train is empty", pool_of(10, groups=[0] * 10), split="80/20", group_by="title"
    )
    assert "data.group_by" in error.action


def test_a_draw_depends_on_its_own_pool_only():
    """Another size of one split leaves the rows of the others where they are, where nothing is
    carved out of it."""
    first = sample(pool_of(100, 50, 50), train_size=10, validation_size=5, test_size=5)
    second = sample(pool_of(100, 50, 50), train_size=20, validation_size=5, test_size=5)
    assert (first["validation"], first["test"]) == (second["validation"], second["test"])
    assert set(first["train"]) < set(second["train"])


@pytest.mark.parametrize(
    ("groups", "count", "shares"),
    [((80, 20), 7, [6, 1]), ((70, 10, 20), 9, [6, 1, 2]), ((1, 1), 3, [2, 1]), ((0, 5), 5, [0, 5])],
)
def test_largest_remainder(groups: tuple[int, ...], count: int, shares: list[int]):
    assert largest_remainder(groups, count) == shares  # 5.6 1.4 | 6.3 0.9 1.8 | 1.5 1.5 | 0 5


def test_training_sizes_are_nested_and_stratified_alike():
    """200 in 400 in 800 of three classes of 60, 30 and 10 %, and validation is the same for all."""
    labels = [0] * 600 + [1] * 300 + [2] * 100
    pool = pool_of(1000, 50, labels=[*labels, *[0] * 50], names=("a", "b", "c"))
    drawn = {
        size: sample(pool, train_size=size, stratified=True, seed=3)
        for size in (100, 200, 400, 800)
    }
    for smaller, larger in ((100, 200), (200, 400), (400, 800)):
        assert set(drawn[smaller]["train"]) < set(drawn[larger]["train"])
        assert drawn[smaller]["validation"] == drawn[larger]["validation"]
        assert drawn[smaller]["test"] == drawn[larger]["test"]
    for size, splits in drawn.items():
        counts = Counter(labels[row] for row in splits["train"])
        shares = [counts[label] / size for label in range(3)]
        assert shares == pytest.approx([0.6, 0.3, 0.1], abs=2 / size)
