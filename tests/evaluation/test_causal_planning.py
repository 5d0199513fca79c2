"""Rows, shared prefixes and batches of queries: every token once, every answer read from the right
places."""

from __future__ import annotations

import random

import pytest

from ft_harness.evaluation.backends.memory import Budget
from ft_harness.evaluation.backends.planning import (
    MIN_GROUP,
    ROOM,
    Limits,
    Query,
    Row,
    Size,
    cut_left,
    make_batches,
    make_rows,
    shared_prefixes,
)

TREES, CHAINS = Limits(branches=True), Limits(branches=False)


def rows_of(queries: list[Query], limits: Limits = TREES, skip: int = 0) -> list[Row]:
    return make_rows(list(enumerate(queries)), skip, limits)


def read(row: Row, node: int) -> tuple[int, ...]:
    """The tokens from a row's start to a node."""
    path: list[int] = []
    while node >= 0:
        path.append(row.tokens[node])
        node = row.parents[node]
    return tuple(reversed(path))


def chain(length: int, prompts: int = 1, first: int = 0) -> Row:
    row = Row(stems={(i,) for i in range(prompts)})
    row.reads.append((0, [row.grow(range(first, first + length))[-1]]))
    return row


def test_a_query_is_cut_from_the_left_to_one_token_more_than_the_context():
    # the last 5 of 1..8 are kept, the model reads the 4 before the last
    query = cut_left([1, 2, 3, 4, 5, 6], [7, 8], 4)
    assert query == Query((4, 5, 6), (7, 8))
    assert query.inputs == (4, 5, 6, 7)
    assert cut_left([1, 2], [3, 4, 5, 6], 4) == Query((2,), (3, 4, 5, 6))
    assert cut_left([1], [2], 4) == Query((1,), (2,))


def test_answers_of_a_prompt_share_its_tokens_and_those_with_which_they_begin():
    (row,) = rows_of([Query((1, 2, 3), answer) for answer in ((4,), (5, 6), (5, 7, 8), (9, 5))])
    # sequences 123, 1235, 12357 and 1239: seven nodes less the shared ones
    assert row.tokens == [1, 2, 3, 9, 5, 7]
    assert row.parents == [-1, 0, 1, 2, 2, 4]
    assert row.depths() == [0, 1, 2, 3, 3, 4]
    assert sorted(row.reads) == [(0, [2]), (1, [2, 4]), (2, [2, 4, 5]), (3, [2, 3])]
    assert row.kept == [2, 3, 4, 5]
    assert row.stems == {(1, 2, 3)}
    assert not row.is_chain


def test_without_branches_only_beginnings_share_a_row():
    rows = rows_of([Query((1, 2), answer) for answer in ((3, 4), (5, 6), (7,), (3, 4, 8))], CHAINS)
    assert [row.tokens for row in rows] == [[1, 2, 5], [1, 2, 3, 4]]
    assert all(row.is_chain for row in rows)
    # the one-token answer reads from the row that ends with it, whichever that is
    assert sorted(number for row in rows for number, _ in row.reads) == [0, 1, 2, 3]


def test_prompts_with_a_long_common_beginning_share_a_row():
    eight, seven = tuple(range(8)), tuple(range(7))
    assert len(rows_of([Query((*eight, 20), (1,)), Query((*eight, 30), (1,))])) == 1
    assert len(rows_of([Query((*seven, 20), (1,)), Query((*seven, 30), (1,))])) == 2
    assert (
        len(rows_of([Query((*eight, 20), (1,)), Query((*eight, 30), (1,))], Limits(True, most=1)))
        == 2
    )
    # eight tokens of which two are cached save six
    assert len(rows_of([Query((*eight, 20), (1,)), Query((*eight, 30), (1,))], skip=2)) == 2


def test_a_row_has_room_for_so_many_tokens_and_no_more():
    answers = [(100 + i, *range(9), 1) for i in range(40)]  # ten inputs each after a prompt of six
    rows = rows_of([Query(tuple(range(6)), answer) for answer in answers])
    assert [len(row) for row in rows] == [6 + 250, 6 + 150]
    assert ROOM == 256
    narrow = rows_of(
        [Query(tuple(range(6)), answer) for answer in answers], Limits(True, window=36)
    )
    assert {len(row) for row in narrow} == {36, 16}
    # three times the longest sequence, 3 x 301 = 903, where that is more: 200 + 6 x 101 fit, 200 +
    # 7 x 101 don't
    long = rows_of([Query(tuple(range(200)), (300 + i, *range(100), 1)) for i in range(7)])
    assert [len(row) for row in long] == [200 + 6 * 101, 301]


@pytest.mark.parametrize("limits", [TREES, CHAINS, Limits(True, window=14), Limits(True, most=2)])
@pytest.mark.parametrize("seed", range(5))
def test_each_query_is_read_once_and_from_its_own_tokens(limits: Limits, seed: int):
    rng = random.Random(seed)
    stems = [tuple(rng.choices(range(3), k=rng.randint(1, 12))) for _ in range(30)]
    queries = [
        Query(rng.choice(stems), tuple(rng.choices(range(3), k=rng.randint(1, 4))))
        for _ in range(150)
    ]
    rows = rows_of(queries, limits)
    reads = sorted(
        ((number, row, nodes) for row in rows for number, nodes in row.reads),
        key=lambda item: item[0],
    )
    assert [number for number, _, _ in reads] == list(range(150))
    for number, row, nodes in reads:
        stem, answer = queries[number]
        assert [read(row, node) for node in nodes] == [
            (*stem, *answer[:i]) for i in range(len(answer))
        ]
    assert all(len({read(row, node) for node in range(len(row))}) == len(row) for row in rows)
    assert limits.branches or all(row.is_chain for row in rows)
    assert all(row.stems == {queries[number].stem for number, _ in row.reads} for row in rows)
    if limits.window:
        assert all(len(row) <= limits.window or row.is_chain for row in rows)


def test_a_prefix_is_cached_for_many_prompts_only():
    common = tuple(range(10, 19))
    many = [(*common, i) for i in range(MIN_GROUP)]
    assert shared_prefixes(many) == dict.fromkeys(many, common)
    assert shared_prefixes(many[1:]) == dict.fromkeys(many[1:], ())
    assert shared_prefixes([(1, i) for i in range(20)]) == {(1, i): () for i in range(20)}
    assert shared_prefixes([]) == {}


def test_every_prompt_keeps_a_token_behind_its_prefix():
    common = tuple(range(10, 22))
    prompts = [common, *((*common, i) for i in range(MIN_GROUP))]
    assert set(shared_prefixes(prompts).values()) == {common[:11]}


def test_two_tasks_have_two_prefixes_where_that_saves_more():
    common = tuple(range(10, 19))
    first, second = (*common, *range(20, 31)), (*common, *range(40, 51))
    prompts = [(*start, 90 + i) for start in (first, second) for i in range(MIN_GROUP)]
    # one prefix for all saves 15 x 9 tokens, two save 2 x 7 x 20
    assert set(shared_prefixes(prompts).values()) == {first, second}


def test_batches_hold_the_longest_rows_first_and_what_fits():
    rows = [chain(length) for length in (3, 9, 5, 4)]
    sizes: list[Size] = []

    def fits(size: Size) -> bool:
        sizes.append(size)
        return size.rows * size.width <= 18

    batches = make_batches((7, 8), rows, fits)
    assert [[len(row) for row in batch.rows] for batch in batches] == [[9, 5], [4, 3]]
    assert [batch.width for batch in batches] == [9, 4]
    assert sizes == [Size(2, 9, 2, 2), Size(3, 9, 2, 3), Size(2, 4, 2, 2)]
    alone = make_batches((), rows, lambda size: False)
    assert [len(batch.rows) for batch in alone] == [1, 1, 1, 1]


def test_a_batch_has_at_most_so_many_prompts():
    rows = [chain(4, prompts=2), chain(3), chain(3), chain(2)]
    batches = make_batches((), rows, lambda size: True, most=3)
    assert [[len(row.stems) for row in batch.rows] for batch in batches] == [[2, 1], [1, 1]]


def test_what_a_batch_needs_is_a_formula():
    budget = Budget(free=1000, token=5, key=3, score=1, logits=50, layers=2)
    # 2 rows x 4 tokens x 5 = 40; keys 2 x (4 + 6) x 3 = 60; mask 2 x 4 x 10 = 80; logits 3 x 50
    assert budget.needs(Size(rows=2, width=4, prefix=6, kept=3)) == 40 + 60 + 80 + 150
    assert budget.needs_whole(Size(2, 4, 6, 1)) == 180 + 400  # all 8 positions through the head
    # generation keeps the keys of both layers: 40 + 24 + 32 + 100 = 196, and 2 x 2 x 4 x 3 = 48
    # more
    assert budget.needs_generation(Size(2, 4, 0, 2)) == 196 + 48
    # both layers keep what is read once: 24 more
    assert budget.needs_reading(Size(2, 4, 0, 2)) == 196 + 24
    # slots of 7 columns: 2 x 2 x 7 x 3 / 2 = 42, four tokens each 2 x 4 x 5, logits 2 x 4 x 50
    assert budget.needs_slots(2, 7, 4) == 42 + 40 + 400
