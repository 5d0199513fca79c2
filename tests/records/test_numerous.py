"""Parts that occur a hundred thousand times: copies are right, and carry nothing of their own."""

from __future__ import annotations

import copy

from ft_harness.comparison.cases import Case, Choice


def make_case() -> Case:
    choice = Choice(name="yes", base=-1.0, tuned=None)
    texts = {"question": "why"}
    return Case(
        item_key="a", prompt="p", gold="g", base_answer="b", tuned_answer=None,
        choices=[choice], texts=texts,
    )  # fmt: skip


def test_a_changed_copy_leaves_the_first_as_it_was():
    case = make_case()
    changed = case.model_copy(update={"why": "because", "tags": ["short"]})
    assert (changed.why, changed.tags, case.why, case.tags) == ("because", ["short"], None, [])
    assert changed.choices is case.choices
    assert changed.model_dump() == case.model_dump() | {"why": "because", "tags": ["short"]}
    assert changed != case
    assert case.model_copy() == case


def test_a_deep_copy_shares_nothing_that_changes():
    case = make_case()
    deep = case.model_copy(deep=True, update={"gold": "other"})
    assert deep.texts == case.texts
    assert deep.texts is not case.texts
    assert (deep.gold, case.gold) == ("other", "g")


def test_no_part_remembers_which_fields_were_given():
    case = make_case()
    parts = [case, case.model_copy(update={"why": "x"}), copy.copy(case), make_case()]
    parts.append(Case.model_validate_json(case.model_dump_json()))
    assert [part.model_fields_set for part in parts] == [set()] * len(parts)
    assert len({id(part.model_fields_set) for part in (parts[0], parts[1], parts[3])}) == 1
