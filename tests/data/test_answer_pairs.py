"""Pairs of answers in the forms that data sets have them, and what is wrong with a pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ft_harness.data import load_splits, row_losses
from ft_harness.data.answer_pairs import read_pair
from ft_harness.errors import InputError
from tests.builders.tiny import write_jsonl

OPTIONS = {
    "columns": {"prompt": ["prompt", "question"], "chosen": [], "rejected": []},
    "optional": ["prompt"],
    "pairs": True,
    "group_by": "prompt",
}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


ASKED, GOOD, BAD = "Where is it?", "At the zoo.", "Who knows?"
BE_KIND = {"role": "system", "content": "Be kind."}
KIND = f"System: Be kind.\n\nUser: {ASKED}\n\nAssistant:"
DIALOGUE = "User: Hi\n\nAssistant: Hello\n\nUser: Where is it?\n\nAssistant:"


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "expected"),
    [
        (ASKED, f" {GOOD}\n", BAD, ASKED),
        (f"{ASKED} ", f"{ASKED} {GOOD}", f"{ASKED} {BAD}", ASKED),
        ("", f"\n\nHuman: {ASKED}\n\nAssistant: {GOOD}", f"\n\nHuman: {ASKED}\n\nAssistant: {BAD}",
         f"Human: {ASKED}\n\nAssistant:"),
        ("", f"### Instruction:\n{ASKED}\n### Response: {GOOD}",
         f"### Instruction:\n{ASKED}\n### Response: {BAD}",
         f"### Instruction:\n{ASKED}\n### Response:"),
        ([user(ASKED)], [assistant(GOOD)], [assistant(BAD)], ASKED),
        (ASKED, [assistant(GOOD)], [assistant(BAD)], ASKED),
        (ASKED, [user(ASKED), assistant(GOOD)], [user(ASKED), assistant(BAD)], ASKED),
        ("", [user(ASKED), assistant(GOOD)], [user(ASKED), assistant(BAD)], ASKED),
        ([user("Hi"), assistant("Hello"), user(ASKED)], assistant(GOOD), assistant(BAD), DIALOGUE),
        ("", [user("Hi"), assistant("Hello"), user(ASKED), assistant(GOOD)],
         [user("Hi"), assistant("Hello"), user(ASKED), assistant(BAD)], DIALOGUE),
        (f"{ASKED}\n", f"{ASKED} {GOOD}", f"{ASKED} {BAD}", ASKED),
        (ASKED, f"Human: {ASKED}\n\nAssistant: {GOOD}", f"Human: {ASKED}\n\nAssistant: {BAD}",
         f"Human: {ASKED}\n\nAssistant:"),
        (f"{ASKED}\n", [user(ASKED), assistant(GOOD)], [user(ASKED), assistant(BAD)], ASKED),
        (ASKED, [BE_KIND, user(ASKED), assistant(GOOD)], [BE_KIND, user(ASKED), assistant(BAD)],
         KIND),
        ([BE_KIND, user(ASKED)], [user(ASKED), assistant(GOOD)], [user(ASKED), assistant(BAD)],
         KIND),
        (ASKED, json.dumps([user(ASKED), assistant(GOOD)]),
         json.dumps([user(ASKED), assistant(BAD)]), ASKED),
    ],
)  # fmt: skip
def test_the_forms_of_a_pair(prompt, chosen, rejected, expected: str):
    doc = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    assert read_pair(doc) == ""
    assert doc == {"prompt": expected, "chosen": GOOD, "rejected": BAD}


def test_answers_that_begin_alike_keep_their_beginning():
    """What both say after the last turn is none of the prompt."""
    texts = [f"\n\nHuman: {ASKED}\n\nAssistant: It is {place}." for place in ("here", "there")]
    doc = {"prompt": "", "chosen": texts[0], "rejected": texts[1]}
    assert read_pair(doc) == ""
    assert (doc["chosen"], doc["rejected"]) == ("It is here.", "It is there.")


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected"),
    [
        ("Hi", "Hi there", "High five"),
        ("Hello", "Hello! How are you?", "Hello, what?"),
        ("你好", "你好！有什麼事？", "你好，走開。"),
        ("A", "First A.\nAnswer: 5", "First A.\nAnswer: 6"),
    ],
)
def test_an_answer_that_only_begins_like_its_prompt_stays_whole(prompt, chosen, rejected):
    doc = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    whole = dict(doc)
    assert read_pair(doc) == ""
    assert doc == whole


def test_messages_in_another_notation_than_json_are_a_fault():
    doc = {"prompt": ASKED, "chosen": str([assistant(GOOD)]), "rejected": str([assistant(BAD)])}
    assert read_pair(doc) == "the field chosen holds messages as a text that is not JSON"


def test_a_conversation_that_goes_on_is_written_out():
    turns = [user(ASKED), assistant(GOOD), user("Thanks"), assistant("Welcome")]
    doc = {"prompt": "", "chosen": turns, "rejected": [user(ASKED), assistant(BAD)]}
    assert read_pair(doc) == ""
    assert doc["chosen"] == f"{GOOD}\n\nUser: Thanks\n\nAssistant: Welcome"


@pytest.mark.parametrize(
    ("chosen", "rejected", "fault"),
    [
        (GOOD, f"{GOOD} ", "the fields chosen and rejected are equal"),
        ([assistant(" ")], [assistant(BAD)], "the field chosen is empty"),
        ([], [assistant(BAD)], "the field chosen is empty"),
        (5, BAD, "the field chosen is neither a text nor a list of role and content"),
        (
            [{"role": "user"}],
            BAD,
            "the field chosen is neither a text nor a list of role and content",
        ),
        (
            [user(ASKED)],
            [assistant(BAD)],
            "chosen and rejected don't part at an answer of the assistant",
        ),
    ],
)
def test_what_is_no_pair(chosen, rejected, fault: str):
    assert read_pair({"prompt": "Q?", "chosen": chosen, "rejected": rejected}) == fault


def test_a_pair_without_a_prompt_is_none():
    assert read_pair({"prompt": "", "chosen": GOOD, "rejected": BAD}).startswith(
        "there is no prompt"
    )


def test_bad_pairs_are_named_with_their_place_and_can_be_left_out(tmp_path: Path):
    rows = [{"question": f"Q{i}?", "chosen": GOOD, "rejected": BAD, "score": i} for i in range(12)]
    rows[3] |= {"rejected": GOOD}
    rows[5] |= {"chosen": None}
    path = write_jsonl(tmp_path / "pairs.jsonl", rows)
    with pytest.raises(
        InputError, match=r"pairs.jsonl:4: the fields chosen and rejected are equal \(2 rows"
    ):
        load_splits({**OPTIONS, "source": str(path)})
    splits = load_splits({**OPTIONS, "source": str(path), "skip_bad_rows": True})
    assert [(loss.rows, loss.bad) for loss in row_losses(splits)] == [(12, 2)]
    docs = [doc for split in splits.values() for doc in split]
    assert {tuple(doc) for doc in docs} == {("prompt", "chosen", "rejected")}
    assert len(docs) == 10


def test_pairs_of_one_prompt_stay_in_one_split(tmp_path: Path):
    rows = [
        {"chosen": [user(f"Q{i // 4}?"), assistant(f"yes {i}")],
         "rejected": [user(f"Q{i // 4}?"), assistant(f"no {i}")]}
        for i in range(80)
    ]  # fmt: skip
    splits = load_splits({**OPTIONS, "source": str(write_jsonl(tmp_path / "pairs.jsonl", rows))})
    prompts = [{doc["prompt"] for doc in split} for split in splits.values()]
    assert all(prompts)
    assert sum(map(len, prompts)) == 20


@pytest.mark.parametrize("columns", [{"columns": {"text": [], "label": []}}, {}])
def test_pairs_of_rows_that_hold_none_are_refused(columns: dict, tmp_path: Path):
    rows = [{"text": f"a film {i}", "label": "good"} for i in range(30)]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    with pytest.raises(InputError) as caught:
        load_splits({"source": str(path), **columns}, data_pairs=True)
    assert caught.value.what == f"{path}: no column for the field chosen (columns: text, label)"
    assert caught.value.action.startswith("leave data.pairs out unless rows are pairs of answers")


def test_a_mapping_of_one_answer_leaves_the_other_its_own_column(tmp_path: Path):
    rows = [{"prompt": f"p{i}", "good": "yes", "rejected": "no"} for i in range(30)]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    given = {"source": str(path), "pairs": True, "optional": ["prompt"]}
    docs = load_splits(given, test_all=True, data_columns={"chosen": ["good"]})["test"]
    assert docs[0] == {"chosen": "yes", "prompt": "p0", "rejected": "no"}
